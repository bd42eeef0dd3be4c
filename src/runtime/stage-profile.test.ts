import { expect, it } from 'vitest'

import type { OmniModel, StageSequence } from '../models/stages.ts'
import type { SpeechPipeline } from '../models/speech.ts'
import { type RequestMetrics, Stopwatch } from './request-metrics.ts'
import { type ProfiledTask, StageProfile } from './stage-profile.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

const counts = {
  id: 'x',
  outcome: 'stop',
  promptTokens: 0,
  reusedTokens: 0,
  reasoningTokens: 0,
  textTokens: 0,
  audioFrames: 0,
} as const

/** A model whose calls take so many milliseconds of a clock that nothing else moves. */
class Workshop {
  now = 0
  readonly profile = new StageProfile()
  readonly tasks: Mutable<ProfiledTask>[] = []
  /** What happens in the middle of a talker's run. */
  beside: () => void = () => undefined

  readonly model = this.profile.instrument({
    architecture: 'fake',
    reads: [],
    thinker: { forward: async () => this.#pass(7, []) },
    audioEncoder: {
      encode: async (_mel: Float32Array, frames: number, options: { pause: () => Promise<void> }) => {
        this.#pass(frames, undefined)
        await options.pause()
        return this.#pass(frames, new Float32Array())
      },
    },
    speech: {
      advance: async (_turns, { onStep }) => {
        this.#pass(1, undefined)
        onStep?.('code-predictor')
        this.#pass(20, undefined)
        onStep?.(undefined)
        this.#pass(2, undefined)
        onStep?.('talker')
        this.#pass(5, undefined)
        this.beside()
        this.#pass(5, undefined)
        onStep?.(undefined)
      },
    } satisfies Pick<SpeechPipeline, 'advance'>,
  } as unknown as OmniModel)

  #pass<T>(milliseconds: number, result: T): T {
    this.now += milliseconds
    return result
  }

  task(phase: string): Mutable<ProfiledTask> {
    const task: Mutable<ProfiledTask> = {
      stopwatch: new Stopwatch(() => this.now),
      phase,
      sequence: {} as StageSequence,
      signal: new AbortController().signal,
      queue: { full: false },
      canEncode: false,
      speech: undefined,
    }
    this.profile.add(task)
    this.tasks.push(task)
    return task
  }

  async think(...tasks: readonly ProfiledTask[]): Promise<void> {
    const inputs = tasks.map(({ sequence }) => ({ sequence: sequence! }))
    await this.model.thinker.forward(inputs as unknown as Parameters<OmniModel['thinker']['forward']>[0])
  }

  async speak(...tasks: readonly ProfiledTask[]): Promise<void> {
    const turns = tasks.map(({ speech }) => speech!)
    await this.model.speech!.advance(turns, { prefillRows: 0, signal: new AbortController().signal })
  }

  /** Time in which the loop waits. */
  wait(milliseconds: number): void {
    this.profile.refresh()
    this.now += milliseconds
    this.profile.refresh()
  }
}

function report(task: ProfiledTask): RequestMetrics {
  const metrics = task.stopwatch.report(counts, 24_000)
  const sum = Object.values(metrics.stages).reduce((all, milliseconds) => all + milliseconds, 0)
  expect(sum).toBe(metrics.totalMs)
  return metrics
}

it('gives each request the stage that was at work for it', async () => {
  const work = new Workshop()
  const first = work.task('waiting')
  work.wait(3)
  first.phase = 'preparing'
  work.wait(11)
  first.phase = 'prefill'
  const second = work.task('waiting')
  await work.think(first)
  // Choosing a token.
  work.now += 2
  work.profile.refresh()
  first.phase = 'decode'
  second.phase = 'prefill'
  await work.think(first, second)
  work.profile.refresh()
  await work.think(first)
  work.wait(1)
  first.queue = { full: true }
  work.wait(100)
  expect(report(first).stages).toEqual({
    queue: 3,
    media: 11,
    prefill: 7,
    sampling: 2,
    decode: 14,
    idle: 1,
    reader: 100,
  })
  expect(report(second).stages).toEqual({ queue: 9, prefill: 7, others: 7, idle: 101 })
})

it('tells the networks of a speech step apart, and the vocoder beside them', async () => {
  const work = new Workshop()
  const [speaking, silent] = [work.task('generated'), work.task('decode')]
  const speech = { decoding: undefined as Promise<void> | undefined }
  speaking.speech = speech as ProfiledTask['speech']
  work.profile.refresh()
  work.beside = () => {
    speech.decoding = Promise.resolve()
    work.profile.refresh()
  }
  await work.speak(speaking)
  // Others take their turn while its audio is made, and then nobody does.
  await work.think(silent)
  work.wait(30)
  speech.decoding = undefined
  work.wait(4)
  const { stages, vocoderMs } = report(speaking)
  expect(stages).toEqual({ speech: 3, 'code-predictor': 20, talker: 10, vocoder: 37, idle: 4 })
  expect(vocoderMs).toBe(5 + 7 + 30)
  expect(report(silent)).toMatchObject({ stages: { others: 33, decode: 7, idle: 34 }, vocoderMs: 0 })
})

it('leaves out the pauses of an encoder, in which others have their turn', async () => {
  const work = new Workshop()
  const listening = work.task('encoding')
  work.wait(6)
  listening.canEncode = true
  const other = work.task('decode')
  const pause = async (): Promise<void> => {
    await work.think(other)
    work.now += 1
  }
  await work.model.audioEncoder!.encode(new Float32Array(), 50, { signal: listening.signal, pause })
  expect(report(listening).stages).toEqual({ media: 6, encode: 100, others: 7, idle: 1 })
})

it('forgets who is over', () => {
  const work = new Workshop()
  const task = work.task('decode')
  work.wait(5)
  work.profile.remove(task)
  task.phase = 'over'
  work.wait(50)
  expect(report(task).stages).toEqual({ idle: 55 })
})
