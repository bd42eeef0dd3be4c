/**
 * Attributes each request's time to stages.
 *
 * In: calls of the model's stages, and the live requests. Out: each request is in exactly one {@link Stage} at any
 * time, so its stages sum to its total time. The vocoder runs in parallel: it is a request's stage only while no step
 * works for that request.
 */

import type { EncodeOptions, OmniModel, StageSequence } from '../models/stages.ts'
import type { SpeechStep, SpeechBatchMember } from '../models/speech.ts'
import type { Stage, Stopwatch } from './request-metrics.ts'

/** The part of a request that a profile reads. */
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
  /** Requests in the current or last stage call, and their stage. */
  #participants: ReadonlyMap<ProfiledTask, Stage> = new Map()
  #busy = false

  /** Profiles a request until {@link remove}. */
  add(task: ProfiledTask): void {
    this.#tasks.add(task)
  }

  remove(task: ProfiledTask): void {
    this.#tasks.delete(task)
  }

  /** Call when requests may have changed state outside of stage calls. */
  refresh(): void {
    if (!this.#busy) this.#participants = new Map()
    for (const task of this.#tasks) task.stopwatch.enter(this.#stageOf(task), task.speech?.decoding !== undefined)
  }

  /** The same model, with instrumented stages. */
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
            // Sampling follows directly after the stage call.
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

  /** Encodes a medium. Time in its pauses belongs to other stages. */
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
    // After the end of the text, the vocoder is the stage even while steps run for other requests.
    if (task.speech?.decoding && (task.phase === 'generated' || !this.#busy)) return 'vocoder'
    return this.#busy ? 'others' : 'idle'
  }
}

/** `target` with some members replaced. Other methods are bound to the target, whose private fields they access. */
function delegate<T extends object>(target: T, replaced: Partial<T>): T {
  return new Proxy(target, {
    get(_, key) {
      if (key in replaced) return Reflect.get(replaced, key)
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
