/**
 * A tiny stand-in for a loaded checkpoint: exact, fast stages that obey the `OmniModel` contract and record what they were given. It
 * speaks by Qwen3-Omni's own pipeline over stages that stand in for its networks; `fake-family.ts` speaks in another way.
 *
 * Text is bytes (ids 0-255) plus special ids. The thinker writes what its script says; the talker's rows carry the text id they stand
 * for, so tests can read back what was spoken; the vocoder holds back its last samples until `finish`, as the real one does.
 * Every stage refuses to run while another runs, and counts what is alive.
 */

import { EngineError } from '../src/contract/index.ts'
import { MemoryBudget } from '../src/models/memory-budget.ts'
import { Qwen3Speech } from '../src/models/qwen3-omni/speech/pipeline.ts'
import { defaultSpeech, exactSpeech, type SpeechSettings } from '../src/models/qwen3-omni/speech/settings.ts'
import type { SpeechConfig, SpeechStages, TalkerInput } from '../src/models/qwen3-omni/speech/stages.ts'
import type { VocoderStream } from '../src/models/speech.ts'
import type { OmniModel, StageSequence, ThinkerInput } from '../src/models/stages.ts'
import type { PreparedPrompt, PromptFeature } from '../src/prompt/prepared-prompt.ts'
import type { RuntimeTokenizer } from '../src/runtime/reply-reader.ts'
import type { GenerationRequest } from '../src/contract/index.ts'

/** Special ids of the fake vocabulary. */
export const fakeIds = {
  imStart: 256,
  imEnd: 257,
  user: 258,
  assistant: 259,
  system: 260,
  thinkOpen: 261,
  thinkClose: 262,
  ttsBegin: 263,
  ttsEnd: 264,
  ttsPad: 265,
  media: 266,
} as const

const fakeVocabulary = 300
const hidden = 4
const codecVocabulary = 64
const codecEnd = 60
const codeGroups = 3
const heldSamples = 555
const samplesPerFrame = 1920
/** Frames (one a second here) that the audio encoder works on at a time. */
const soundPiece = 10

export interface FakeModelOptions {
  /** The next id, given all ids so far; by default hashed letters, then the end token after a hashed count. */
  readonly script?: (ids: readonly number[]) => number
  /** How far the scripted id stands above the rest; small values let sampling choose others. */
  readonly sharpness?: number
  /** Milliseconds a thinker step takes, given its tokens. */
  readonly thinkerDelay?: (tokens: number) => number
  /** Milliseconds that the encoder takes for ten seconds of sound, which are one piece of its work. */
  readonly encoderDelay?: number
  readonly talkerDelay?: (tokens: number) => number
  /** Milliseconds that the vocoder takes for a piece. */
  readonly vocoderDelay?: number
  /** Tokens of cache that all thinker sequences share, taken in blocks of {@link fakeBlock}. */
  readonly memoryTokens?: number
  /** In place of `memoryTokens`: a budget of tokens that the test holds, too. */
  readonly budget?: MemoryBudget
  readonly contextLength?: number
  readonly speech?: boolean
  /** How codes are sampled; greedy and as long as they like by default. */
  readonly speechSettings?: Partial<SpeechSettings>
  /** Frames spoken after the text has ended. */
  readonly tailFrames?: number
  /** Throws inside the named stage. */
  readonly failIn?: { stage: 'thinker' | 'talker' | 'codePredictor' | 'code2wav' | 'audioEncoder'; after?: number }
}

export interface FakeModel extends OmniModel {
  /** Special ids of its speech. */
  readonly config: SpeechConfig
  /** Sequences and vocoder streams not disposed. */
  readonly alive: () => { sequences: number; streams: number }
  /** Tokens of every thinker call, one list per call. */
  readonly thinkerBatches: readonly number[][]
  readonly talkerBatches: readonly number[][]
  /** Text ids that each talker sequence has read, prefix included, by order of creation. -1 is a row without text. */
  readonly talkerRows: readonly number[][]
  /** Positions that each talker sequence was given. */
  readonly talkerPositions: readonly number[][]
  readonly calls: Map<string, number>
  /** What the audio encoder was asked for. */
  readonly sounds: readonly { frames: number; longestFrames: number }[]
  /** Encoder calls that have not ended. */
  readonly encoding: () => number
  /** Frames of each piece that the vocoder was given, and whether nothing else was said to go on meanwhile. */
  readonly decoded: readonly { frames: number; alone: boolean }[]
}

/** Tokens that a fake cache grows by. */
export const fakeBlock = 16

class FakeSequence implements StageSequence {
  ids: number[] = []
  readonly capacity: number
  readonly budget: MemoryBudget | undefined
  readonly onDispose: () => void
  room = 0
  disposed = false
  constructor(capacity: number, budget: MemoryBudget | undefined, onDispose: () => void) {
    this.capacity = capacity
    this.budget = budget
    this.onDispose = onDispose
  }
  get length(): number {
    return this.ids.length
  }
  get bytes(): number {
    return this.room
  }
  async reserve(tokens: number): Promise<void> {
    await Promise.resolve()
    if (this.disposed) throw new Error('A disposed sequence was given room.')
    if (tokens > this.capacity) throw new Error('A sequence outgrew its capacity.')
    if (tokens <= this.room) return
    const room = Math.min(this.capacity, Math.ceil(tokens / fakeBlock) * fakeBlock)
    if (this.budget && !this.budget.take(room - this.room)) throw new EngineError('overloaded', 'No cache left.')
    this.room = room
  }
  truncate(length: number): void {
    if (length > this.ids.length) throw new Error('A sequence was cut to more than it has.')
    this.ids.length = length
  }
  async copyFrom(source: StageSequence, length: number): Promise<void> {
    await this.reserve(length)
    this.ids = (source as FakeSequence).ids.slice(0, length)
  }
  add(id: number): void {
    if (this.disposed) throw new Error('A disposed sequence was used.')
    if (this.ids.length >= this.room) throw new Error('A sequence was written beyond its room.')
    this.ids.push(id)
  }
  [Symbol.dispose](): void {
    if (this.disposed) return
    this.disposed = true
    this.budget?.give(this.room)
    this.onDispose()
  }
}

export function createFakeModel(options: FakeModelOptions = {}): FakeModel {
  let sequences = 0
  let streams = 0
  const busy = new Map<object, string>()
  /** Whatever is done one at a time. The vocoder works beside the others, on one piece of a reply at a time. */
  const inTurn = {}
  const budget =
    options.budget ?? (options.memoryTokens === undefined ? undefined : new MemoryBudget(options.memoryTokens))
  const thinkerBatches: number[][] = []
  const talkerBatches: number[][] = []
  const talkerRows: number[][] = []
  const talkerPositions: number[][] = []
  const calls = new Map<string, number>()
  const sounds: { frames: number; longestFrames: number }[] = []
  const decoded: { frames: number; alone: boolean }[] = []
  let encoders = 0
  const script = options.script ?? hashedScript
  const talkers = new Map<StageSequence, number>()

  /** Runs a stage alone, after its delay; the delay ends early when aborted. */
  async function stage<T>(
    name: string,
    delay: number,
    signal: AbortSignal | undefined,
    work: () => T,
    place: object = inTurn,
  ): Promise<T> {
    const other = busy.get(place)
    if (other !== undefined) throw new Error(`${name} was called while ${other} ran.`)
    busy.set(place, name)
    try {
      const count = (calls.get(name) ?? 0) + 1
      calls.set(name, count)
      await wait(delay, signal)
      signal?.throwIfAborted()
      if (options.failIn?.stage === name && count > (options.failIn.after ?? 0)) throw new Error(`${name} broke`)
      return work()
    } finally {
      busy.delete(place)
    }
  }

  const model: OmniModel = {
    architecture: 'FakeOmniForConditionalGeneration',
    reads: ['text', 'image', 'audio', 'video'],
    thinker: {
      vocabSize: fakeVocabulary,
      hiddenSize: hidden,
      contextLength: options.contextLength ?? 4096,
      newSequence(capacity) {
        sequences += 1
        return new FakeSequence(capacity, budget, () => (sequences -= 1))
      },
      async forward(inputs, signal) {
        const tokens = inputs.map((input) => input.tokenIds.length)
        thinkerBatches.push(tokens)
        for (const [i, { sequence }] of inputs.entries()) await sequence.reserve(sequence.length + tokens[i]!)
        const total = tokens.reduce((left, right) => left + right, 0)
        return stage('thinker', options.thinkerDelay?.(total) ?? 0, signal, () => inputs.map(think))
      },
      embed: (ids) =>
        stage('embed', 0, undefined, () => Float32Array.from(Array.from(ids).flatMap((id) => [id, 1, 0, 0]))),
      [Symbol.dispose]: () => undefined,
    },
    audioEncoder: {
      async encode(_mel, frames, { signal, pause, longestFrames = frames } = {}) {
        sounds.push({ frames, longestFrames })
        encoders += 1
        try {
          for (let done = 0; done < frames; done += soundPiece) {
            if (done > 0) await pause?.()
            await stage('audioEncoder', options.encoderDelay ?? 0, signal, () => undefined)
          }
          return new Float32Array(frames * hidden).fill(0.5)
        } finally {
          encoders -= 1
        }
      },
      [Symbol.dispose]: () => undefined,
    },
    visionEncoder: {
      encode: (_patches, [t, h, w], { signal } = {}) =>
        stage('visionEncoder', 0, signal, () => ({
          embeddings: new Float32Array(t * h * w * hidden).fill(0.25),
          deepstack: [new Float32Array(t * h * w * hidden).fill(0.125)],
        })),
      [Symbol.dispose]: () => undefined,
    },
    [Symbol.dispose]: () => undefined,
  }

  function think(input: ThinkerInput): { logits?: Float32Array; hidden?: Float32Array } {
    const sequence = input.sequence as FakeSequence
    const from = sequence.length
    if (input.positions.length !== 3 * input.tokenIds.length) throw new Error('Positions do not fit the tokens.')
    for (const row of input.features?.rows ?? []) {
      if (input.tokenIds[row] !== fakeIds.media) throw new Error(`Features were put on row ${row}, not a media row.`)
    }
    for (const id of input.tokenIds) sequence.add(id)
    const states = new Float32Array(input.tokenIds.length * hidden)
    input.tokenIds.forEach((_, row) => states.set([1000 + from + row, 2, 0, 0], row * hidden))
    if (input.logits === 'none') return input.hidden ? { hidden: states } : {}
    const logits = new Float32Array(fakeVocabulary)
    const seed = hash(sequence.ids)
    for (let id = 0; id < fakeVocabulary; id += 1) logits[id] = (hash([seed, id]) % 1000) / 1000
    logits[script(sequence.ids)]! += options.sharpness ?? 50
    return { logits, ...(input.hidden && { hidden: states }) }
  }

  function talk(input: TalkerInput): { logits: Float32Array; hidden: Float32Array } {
    const sequence = input.sequence as FakeSequence
    const number = talkers.get(sequence)!
    const count = input.embeddings.length / hidden
    if (input.positions.length !== 3 * count) throw new Error('Positions do not fit the rows.')
    for (let row = 0; row < count; row += 1) {
      const values = input.embeddings.subarray(row * hidden, (row + 1) * hidden)
      sequence.add(hash(Array.from(values, (value) => Math.round(value * 64))))
      talkerRows[number]!.push(values[1] === 0 ? -1 : Math.round(values[0]!))
      talkerPositions[number]!.push(input.positions[row]!)
    }
    const rows = talkerRows[number]!
    const ended = rows.indexOf(fakeIds.ttsEnd)
    const logits = new Float32Array(codecVocabulary)
    const seed = hash(sequence.ids)
    for (let id = 0; id < codecVocabulary; id += 1) logits[id] = (hash([seed, id]) % 1000) / 100
    logits[codecEnd] = ended >= 0 && rows.length - ended > (options.tailFrames ?? 2) ? 1000 : -1000
    return { logits, hidden: Float32Array.of(seed % 997, 0, 0, 0) }
  }

  const config: SpeechConfig = {
    imStartTokenId: fakeIds.imStart,
    systemTokenId: fakeIds.system,
    userTokenId: fakeIds.user,
    assistantTokenId: fakeIds.assistant,
    ttsBosTokenId: fakeIds.ttsBegin,
    ttsEosTokenId: fakeIds.ttsEnd,
    ttsPadTokenId: fakeIds.ttsPad,
    codecBosId: 61,
    codecEosId: codecEnd,
    codecPadId: 62,
    codecNothinkId: 57,
    codecThinkBosId: 58,
    codecThinkEosId: 59,
    codeGroups,
    speakers: new Map([
      ['chelsie', 55],
      ['ethan', 56],
    ]),
    suppressedCodecIds: [55, 56, 57, 58, 59, 61, 62, 63],
  }

  const stages: SpeechStages = {
    talker: {
      vocabSize: codecVocabulary,
      hiddenSize: hidden,
      codeGroups,
      newSequence(capacity) {
        sequences += 1
        const sequence = new FakeSequence(capacity, undefined, () => (sequences -= 1))
        talkers.set(sequence, talkerRows.push([]) - 1)
        talkerPositions.push([])
        return sequence
      },
      async forward(inputs, signal) {
        const tokens = inputs.map((input) => input.embeddings.length / hidden)
        talkerBatches.push(tokens)
        for (const [i, { sequence }] of inputs.entries()) await sequence.reserve(sequence.length + tokens[i]!)
        const total = tokens.reduce((left, right) => left + right, 0)
        return stage('talker', options.talkerDelay?.(total) ?? 0, signal, () => inputs.map(talk))
      },
      projectText: (rows) => stage('projectText', 0, undefined, () => rows.slice()),
      projectHidden: (rows) => stage('projectHidden', 0, undefined, () => rows.slice()),
      embedCodec: (ids) =>
        stage('embedCodec', 0, undefined, () => Float32Array.from(Array.from(ids).flatMap((id) => [0, 0, id, 0]))),
      [Symbol.dispose]: () => undefined,
    },
    codePredictor: {
      predict: (inputs, signal) =>
        stage('codePredictor', 0, signal, () =>
          inputs.map((input) => {
            const codes = new Int32Array(codeGroups - 1)
            let sum = input.firstCode
            for (let group = 0; group < codes.length; group += 1) {
              const seed = hash([Math.round(input.hidden[0]!), sum, group])
              const logits = Float32Array.from({ length: 32 }, (_, id) => (hash([seed, id]) % 1000) / 100)
              codes[group] = input.sample(logits)
              sum += codes[group]!
            }
            return { codes, embeddingSum: Float32Array.of(0, 0, sum, 0) }
          }),
        ),
      [Symbol.dispose]: () => undefined,
    },
    code2wav: {
      samplesPerFrame,
      sampleRate: 24_000,
      newStream() {
        streams += 1
        let disposed = false
        let held = new Float32Array(0)
        const vocode = <T>(signal: AbortSignal | undefined, work: () => T): Promise<T> =>
          stage('code2wav', options.vocoderDelay ?? 0, signal, work, stream)
        const stream: VocoderStream = {
          push: (codes, { signal, alone = false } = {}) => {
            decoded.push({ frames: codes.length / codeGroups, alone })
            return vocode(signal, () => {
              if (disposed) throw new Error('A disposed stream was used.')
              const all = new Float32Array(held.length + (codes.length / codeGroups) * samplesPerFrame)
              all.set(held)
              for (let frame = 0; frame * codeGroups < codes.length; frame += 1)
                all.set(
                  fakeWave(codes.subarray(frame * codeGroups, (frame + 1) * codeGroups)),
                  held.length + frame * samplesPerFrame,
                )
              held = all.slice(all.length - heldSamples)
              return all.slice(0, all.length - heldSamples)
            })
          },
          finish: (signal) =>
            vocode(signal, () => {
              const rest = held
              held = new Float32Array(0)
              return rest
            }),
          [Symbol.dispose]() {
            if (disposed) return
            if (busy.has(stream)) throw new Error('A stream was disposed while it ran.')
            disposed = true
            streams -= 1
          },
        }
        return stream
      },
      [Symbol.dispose]: () => undefined,
    },
  }
  const settings = { ...exactSpeech(defaultSpeech), ...options.speechSettings }

  return {
    ...model,
    ...(options.speech !== false && { speech: new Qwen3Speech(model.thinker, stages, config, settings) }),
    config,
    alive: () => ({ sequences, streams }),
    thinkerBatches,
    talkerBatches,
    talkerRows,
    talkerPositions,
    calls,
    sounds,
    encoding: () => encoders,
    decoded,
  }
}

/** The sound of one frame: a ramp whose height is the sum of its codes. */
function fakeWave(codes: ArrayLike<number>): Float32Array {
  const sum = Array.from(codes).reduce((left, right) => left + right, 0)
  return Float32Array.from({ length: samplesPerFrame }, (_, index) => (sum / 200) * (index / samplesPerFrame))
}

/** Bytes of UTF-8, and the markers by name. */
export const fakeTokenizer: RuntimeTokenizer = {
  createDetokenizer() {
    const decoder = new TextDecoder()
    return {
      push: (id) => (id < 256 ? decoder.decode(Uint8Array.of(id), { stream: true }) : ''),
      finish: () => decoder.decode(),
    }
  },
  encode: (text) => new TextEncoder().encode(text),
  tokenId: (token) => ({ '<think>': fakeIds.thinkOpen, '</think>': fakeIds.thinkClose })[token],
}

/** ChatML over the fake vocabulary; a medium is as many placeholders as its encoder makes rows. */
export function fakePrepare(request: GenerationRequest): Promise<PreparedPrompt> {
  const ids: number[] = []
  const features: PromptFeature[] = []
  const counts = { text: 0, image: 0, audio: 0, video: 0 }
  const placeholders = (count: number): Int32Array => {
    const rows = Int32Array.from({ length: count }, (_, index) => ids.length + index)
    for (let index = 0; index < count; index += 1) ids.push(fakeIds.media)
    return rows
  }
  for (const message of request.messages) {
    ids.push(fakeIds.imStart, fakeIds[message.role === 'tool' ? 'user' : message.role], 10)
    for (const part of message.content) {
      switch (part.type) {
        case 'text':
          ids.push(...new TextEncoder().encode(part.text))
          break
        case 'image':
          counts.image += 4
          features.push({
            type: 'vision',
            patches: new Float32Array(4),
            grid: [1, 2, 2],
            rows: placeholders(4),
          })
          break
        case 'audio': {
          const frames = Math.ceil(part.audio.facts.samples / 16_000)
          counts.audio += frames
          features.push({ type: 'audio', mel: new Float32Array(frames), frames, rows: placeholders(frames) })
          break
        }
        case 'video':
          throw new Error('The fake prompt has no video.')
        default:
          part satisfies never
      }
    }
    ids.push(fakeIds.imEnd, 10)
  }
  ids.push(fakeIds.imStart, fakeIds.assistant, 10)
  if (request.thinking) ids.push(fakeIds.thinkOpen)
  counts.text = ids.length - counts.image - counts.audio
  const positions = new Float32Array(3 * ids.length)
  for (let index = 0; index < positions.length; index += 1) positions[index] = index % ids.length
  return Promise.resolve({
    tokenIds: Int32Array.from(ids),
    positions,
    nextPosition: ids.length,
    features,
    insideReasoning: request.thinking !== undefined,
    usage: { total: ids.length, ...counts },
  })
}

/** A script that answers `text` (UTF-8) and ends; what precedes the reply does not matter. */
export function answer(text: string | readonly number[]): (ids: readonly number[]) => number {
  const reply = [...(typeof text === 'string' ? new TextEncoder().encode(text) : text), fakeIds.imEnd]
  return (ids) => reply[ids.length - replyStart(ids)] ?? fakeIds.imEnd
}

/** Index of the first generated id. */
export function replyStart(ids: readonly number[]): number {
  const start = ids.lastIndexOf(fakeIds.assistant) + 2
  return ids[start] === fakeIds.thinkOpen ? start + 1 : start
}

function hashedScript(ids: readonly number[]): number {
  const start = replyStart(ids)
  const length = 12 + (hash(ids.slice(0, start)) % 12)
  return ids.length - start >= length ? fakeIds.imEnd : 97 + (hash(ids) % 26)
}

function hash(values: readonly number[]): number {
  let state = 0x811c9dc5
  for (const value of values) {
    state = Math.imul(state ^ value, 0x01000193)
    state ^= state >>> 15
  }
  return state >>> 0
}

function wait(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  if (milliseconds <= 0) return Promise.resolve()
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, milliseconds)
    signal?.addEventListener('abort', done, { once: true })
  })
}
