/**
 * Where the time of each request goes, stage by stage.
 *
 * In: the model's stages, watched as they are called, and the live requests. Out: at every moment each request is in
 * one {@link Stage}, so that its stages sum to its time. The vocoder runs beside the steps: it is a request's stage
 * when nothing else is done for that request.
 */

import type { EncodeOptions, OmniModel, StageSequence } from '../models/stages.ts'
import type { SpeechStep, SpeechBatchMember } from '../models/speech.ts'
import type { Stage, Stopwatch } from './request-metrics.ts'

/** What a profile reads of a request. */
export interface ProfiledTask {
  readonly stopwatch: Stopwatch
  readonly phase: string
  readonly sequence: StageSequence | undefined
  readonly signal: AbortSignal
  readonly queue: { readonly full: boolean }
  readonly canEncode: boolean
  readonly speech: (SpeechBatchMember & { readonly decoding: Promise<void> | undefined }) | undefined
}

export class StageProfile {
  readonly #tasks = new Set<ProfiledTask>()
  /** Who takes part in the call that runs, or has just run, and what it is for them. */
  #participants: ReadonlyMap<ProfiledTask, Stage> = new Map()
  #busy = false

  /** From now on until {@link remove}. */
  add(task: ProfiledTask): void {
    this.#tasks.add(task)
  }

  remove(task: ProfiledTask): void {
    this.#tasks.delete(task)
  }

  /** To be called when requests may have changed what they wait for, outside of stage calls. */
  refresh(): void {
    if (!this.#busy) this.#participants = new Map()
    for (const task of this.#tasks) task.stopwatch.enter(this.#stageOf(task), task.speech?.decoding !== undefined)
  }

  /** The same model, its calls noticed. */
  instrument(model: OmniModel): OmniModel {
    const { thinker, audioEncoder, visionEncoder, speech } = model
    return delegate(model, {
      thinker: delegate(thinker, {
        forward: async (inputs, signal) => {
          const participants = new Map<ProfiledTask, Stage>()
          for (const { sequence } of inputs) {
            const task = this.#find((candidate) => candidate.sequence === sequence)
            if (task) participants.set(task, task.phase === 'prefill' ? 'prefill' : 'decode')
          }
          try {
            return await this.#during(participants, () => thinker.forward(inputs, signal))
          } finally {
            // Tokens are chosen, and their text written, before the loop does anything else.
            this.#enter(new Map(Array.from(participants, ([task]) => [task, 'sampling'])), false)
          }
        },
      }),
      ...(audioEncoder && {
        audioEncoder: delegate(audioEncoder, {
          encode: (mel, frames, options) =>
            this.#encoding(options, (given) => audioEncoder.encode(mel, frames, { ...options, ...given })),
        }),
      }),
      ...(visionEncoder && {
        visionEncoder: delegate(visionEncoder, {
          encode: (patches, grid, options) =>
            this.#encoding(options, (given) => visionEncoder.encode(patches, grid, given)),
        }),
      }),
      ...(speech && {
        speech: delegate(speech, {
          advance: (turns, options) => {
            const all = (stage: Stage): Map<ProfiledTask, Stage> =>
              new Map(
                turns.flatMap((turn) => {
                  const task = this.#find((candidate) => candidate.speech === turn)
                  return task ? [[task, stage] as const] : []
                }),
              )
            const onStep = (step: SpeechStep | undefined): void => this.#enter(all(step ?? 'speech'), true)
            return this.#during(all('speech'), () => speech.advance(turns, { ...options, onStep }))
          },
        }),
      }),
    })
  }

  /** A medium's encoding, which gives way to others at its pauses. */
  #encoding<T>(options: EncodeOptions | undefined, encode: (options: EncodeOptions) => Promise<T>): Promise<T> {
    const task = this.#find(({ signal }) => signal === options?.signal)
    const participants = new Map<ProfiledTask, Stage>(task ? [[task, 'encode']] : [])
    const pause = options?.pause
    return this.#during(participants, () =>
      encode({
        ...options,
        ...(pause && {
          pause: async () => {
            this.#enter(new Map(), false)
            await pause()
            this.#enter(participants, true)
          },
        }),
      }),
    )
  }

  async #during<T>(participants: ReadonlyMap<ProfiledTask, Stage>, work: () => Promise<T>): Promise<T> {
    this.#enter(participants, true)
    try {
      return await work()
    } finally {
      this.#enter(new Map(), false)
    }
  }

  #enter(participants: ReadonlyMap<ProfiledTask, Stage>, busy: boolean): void {
    this.#participants = participants
    this.#busy = busy
    for (const task of this.#tasks) task.stopwatch.enter(this.#stageOf(task), task.speech?.decoding !== undefined)
  }

  #find(wanted: (task: ProfiledTask) => boolean): ProfiledTask | undefined {
    for (const task of this.#tasks) if (wanted(task)) return task
    return undefined
  }

  #stageOf(task: ProfiledTask): Stage {
    const own = this.#participants.get(task)
    if (own !== undefined) return own
    switch (task.phase) {
      case 'waiting':
      case 'prepared':
        return 'queue'
      case 'preparing':
        return 'media'
      case 'encoding':
        if (!task.canEncode) return 'media'
    }
    if (task.queue.full) return 'reader'
    // Its text is complete: only frames and their audio are still to come.
    if (task.speech?.decoding && (task.phase === 'generated' || !this.#busy)) return 'vocoder'
    return this.#busy ? 'others' : 'idle'
  }
}

/** `target` with some members replaced; all others run on the target itself, whose private fields they need. */
function delegate<T extends object>(target: T, replaced: Partial<T>): T {
  return new Proxy(target, {
    get(_, key) {
      if (key in replaced) return Reflect.get(replaced, key)
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
