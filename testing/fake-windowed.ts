/**
 * Speech of the fake model in Qwen2.5-Omni's way: 50 frames a second of one code, no code predictor, every row an id
 * and a hidden state (prompt and generated tokens alike), a start only with some text available, and a vocoder that is
 * conditioned on voice and seed and looks ahead.
 *
 * Rows are recorded as the id they stand for; `positions` holds the hidden state of each (-1 for none).
 */

import type {
  AdvanceOptions,
  SpeechPipeline,
  SpeechReply,
  SpeechStart,
  SpeechBatchMember,
  SpokenToken,
  VocoderStream,
} from '../src/models/speech.ts'
import { createRandom } from '../src/sampling/random.ts'
import { createSampler, type Sampler } from '../src/sampling/sampler.ts'
import { type FakeHarness, type FakeSequence, hash, ramp } from './fake-harness.ts'
import { fakeHidden, fakeIds } from './fake-ids.ts'
import type { FakeModelOptions, FakeSpeech, FakeSpeechMaker } from './fake-model.ts'

const samplesPerFrame = 480
const codecVocabulary = 64
const codecEnd = 60
/** Tokens of text before a reply begins. */
const minTextTokens = 8
/** Frames that the vocoder holds back until it has the following ones. */
const lookAhead = 4
const speakers = ['chelsie', 'ethan']

interface Row {
  readonly id: number
  readonly hidden: number
}

class WindowedReply implements SpeechReply {
  readonly vocoder: VocoderStream
  readonly sequence: FakeSequence
  readonly sampler: Sampler
  readonly number: number
  readonly promptIds: Int32Array
  /** First value of each row's hidden state, in order of rows. */
  readonly hidden: number[] = []
  readonly text: SpokenToken[] = []
  textEnded = false
  endRead = false
  prefilled = 0
  opened = false
  ended = false
  frames = 0
  /** Rows after the end of the text. */
  tail = 0
  logits: Float32Array | undefined

  constructor(start: SpeechStart, sequence: FakeSequence, vocoder: VocoderStream, sampled: boolean, number: number) {
    this.promptIds = start.prompt.tokenIds
    this.sequence = sequence
    this.vocoder = vocoder
    this.number = number
    const settings = { temperature: sampled ? 1 : 0, topP: 1, suppressed: [61, 62, 63] }
    this.sampler = createSampler(settings, createRandom(start.seed, 2))
  }

  /** Two frames a token: usage counts in tokens of 40 ms. */
  get audioTokens(): number {
    return Math.ceil(this.frames / 2)
  }

  needsHidden(): boolean {
    return !this.textEnded
  }

  reserve(): Promise<void> {
    return Promise.resolve()
  }

  readonly cacheBytes = 0

  preempt(): boolean {
    return false
  }

  takeHidden(from: number, hidden: Float32Array): void {
    if (from !== this.hidden.length) throw new Error(`Hidden states of row ${from} came after ${this.hidden.length}.`)
    for (let at = 0; at < hidden.length; at += fakeHidden) this.hidden.push(hidden[at]!)
  }

  addText(tokens: readonly SpokenToken[]): void {
    this.text.push(...tokens)
  }

  endText(): void {
    this.textEnded = true
  }

  canAdvance(frame: boolean): boolean {
    if (this.ended) return false
    return this.opened ? frame && this.hasRow : this.text.length > 0 && this.hidden.length >= this.promptIds.length
  }

  /** Whether the next text row can be used: its token has been run, or never will be. */
  get hasRow(): boolean {
    const next = this.text[0]
    if (!next) return this.textEnded
    return next.row === undefined || next.row < this.hidden.length || this.textEnded
  }

  nextRow(): Row {
    const token = this.text.shift()
    if (token) return { id: token.id, hidden: token.row === undefined ? -1 : (this.hidden[token.row] ?? -1) }
    const id = this.endRead ? fakeIds.ttsPad : fakeIds.ttsEnd
    this.endRead = true
    return { id, hidden: -1 }
  }

  [Symbol.dispose](): void {
    this.ended = true
    this.sequence[Symbol.dispose]()
  }
}

interface Step {
  readonly member: SpeechBatchMember
  readonly reply: WindowedReply
  readonly rows: readonly Row[]
  readonly last: boolean
}

export const windowedSpeech: FakeSpeechMaker = (harness, options) => {
  const record = { batches: [] as number[][], rows: [] as number[][], positions: [] as number[][] }
  return { pipeline: createPipeline(harness, options, record), samplesPerFrame, ...record }
}

function createPipeline(
  harness: FakeHarness,
  options: FakeModelOptions,
  record: Pick<FakeSpeech, 'batches' | 'rows' | 'positions'>,
): SpeechPipeline {
  function read({ reply, rows, last }: Step): void {
    for (const { id, hidden } of rows) {
      reply.sequence.add(hash([id, hidden]))
      record.rows[reply.number]!.push(id)
      record.positions[reply.number]!.push(hidden)
    }
    reply.opened ||= last
    if (!last) return
    if (reply.endRead) reply.tail += 1
    const seed = hash(reply.sequence.ids)
    const logits = Float32Array.from({ length: codecVocabulary }, (_, id) => (hash([seed, id]) % 1000) / 100)
    logits[codecEnd] = reply.tail > (options.tailFrames ?? 2) + 1 ? 1000 : -1000
    reply.logits = logits
  }

  /** A reply's input in this step: its prompt's rows, then the opening, then a row of text for each code. */
  function nextStep(member: SpeechBatchMember, budget: number): Step | undefined {
    const reply = member.reply as WindowedReply
    if (member.inactive || !reply.canAdvance(member.canMakeFrame)) return undefined
    if (reply.opened) {
      const code = reply.sampler(reply.logits!)
      if (code === codecEnd) {
        reply.ended = true
        member.endFrames()
        return undefined
      }
      reply.frames += 1
      member.addFrame(Int32Array.of(code))
      return { member, reply, rows: [reply.nextRow()], last: true }
    }
    const from = reply.prefilled
    const until = Math.min(reply.promptIds.length, from + Math.max(1, budget))
    reply.prefilled = until
    const rows: Row[] = []
    for (let row = from; row < until; row += 1) rows.push({ id: reply.promptIds[row]!, hidden: reply.hidden[row]! })
    const last = until === reply.promptIds.length
    if (last) rows.push({ id: fakeIds.ttsBegin, hidden: -1 }, reply.nextRow())
    return { member, reply, rows, last }
  }

  return {
    speakers,
    sampleRate: 24_000,
    frameRate: 50,
    hiddenRows: 'all',
    minTextTokens,
    maxPendingFrames: 24,
    chunkFrames: (chunk) => (chunk === 0 ? 12 : 8),
    newReply(start) {
      const sequence = harness.newSequence(start.prompt.tokenIds.length + 4096)
      const number = record.rows.push([]) - 1
      record.positions.push([])
      return new WindowedReply(
        start,
        sequence,
        newVocoder(harness, options, start),
        options.sampledSpeech ?? false,
        number,
      )
    },
    async advance(members: readonly SpeechBatchMember[], { prefillRows, signal }: AdvanceOptions) {
      const steps: Step[] = []
      let budget = prefillRows
      for (const member of members) {
        const step = nextStep(member, budget)
        if (!step) continue
        steps.push(step)
        if (step.rows.length > 1) budget -= step.rows.length
      }
      if (steps.length === 0) return
      record.batches.push(steps.map(({ rows }) => rows.length))
      const total = steps.reduce((sum, { rows }) => sum + rows.length, 0)
      try {
        for (const { reply, rows } of steps) await reply.sequence.reserve(reply.sequence.length + rows.length)
        await harness.stage('talker', options.talkerDelay?.(total) ?? 0, signal, () => steps.forEach(read))
      } catch (error) {
        for (const { member } of steps) member.fail(error)
      }
    },
  }
}

function newVocoder(harness: FakeHarness, options: FakeModelOptions, { speaker, seed }: SpeechStart): VocoderStream {
  harness.streams += 1
  const noise = createRandom(seed, 3)() + speakers.indexOf(speaker)
  const held: number[] = []
  let disposed = false
  const vocode = <T>(signal: AbortSignal | undefined, work: () => T): Promise<T> =>
    harness.stage('vocoder', options.vocoderDelay ?? 0, signal, work, stream)
  const wave = (codes: readonly number[]): Float32Array => {
    const samples = new Float32Array(codes.length * samplesPerFrame)
    codes.forEach((code, frame) => samples.set(ramp((code + noise) / 100, samplesPerFrame), frame * samplesPerFrame))
    return samples
  }
  const stream: VocoderStream = {
    push(codes, { signal, useAllThreads } = {}) {
      harness.decoded.push({ frames: codes.length, usedAllThreads: useAllThreads?.() ?? false })
      return vocode(signal, () => {
        if (disposed) throw new Error('A disposed stream was used.')
        held.push(...codes)
        return wave(held.splice(0, Math.max(0, held.length - lookAhead)))
      })
    },
    finish: ({ signal } = {}) => vocode(signal, () => wave(held.splice(0))),
    [Symbol.dispose]() {
      if (disposed) return
      if (harness.isBusy(stream)) throw new Error('A stream was disposed while it ran.')
      disposed = true
      harness.streams -= 1
    },
  }
  return stream
}
