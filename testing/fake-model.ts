/**
 * A fake loaded checkpoint: exact, fast stages that fulfil the `OmniModel` contract and record their input.
 *
 * Text is bytes (ids 0-255) plus special ids. The thinker generates its script. It speaks by Qwen3-Omni's own
 * pipeline (`fake-talker.ts`) or in another family's way (`fake-windowed.ts`). Every stage refuses to run while another
 * runs.
 */

import { MemoryBudget } from '../src/models/memory-budget.ts'
import type { SpeechSettings } from '../src/models/qwen3-omni/speech/settings.ts'
import type { SpeechPipeline } from '../src/models/speech.ts'
import type { OmniModel, StageSequence, ThinkerInput, ThinkerStage } from '../src/models/stages.ts'
import type { PreparedPrompt, PromptFeature } from '../src/prompt/prepared-prompt.ts'
import type { RuntimeTokenizer } from '../src/runtime/reply-reader.ts'
import type { GenerationRequest } from '../src/contract/index.ts'
import { fakeHidden, fakeIds } from './fake-ids.ts'
import { FakeHarness, type FakeSequence, type FakeStageName, hash } from './fake-harness.ts'
import { talkerSpeech } from './fake-talker.ts'

export { fakeIds } from './fake-ids.ts'

const hidden = fakeHidden
const fakeVocabulary = 300
/** Frames (one a second here) that the audio encoder works on at a time. */
const audioPiece = 10

export interface FakeModelOptions {
  /** The next id, given all ids so far; by default hashed letters, then the end token after a hashed count. */
  readonly script?: (ids: readonly number[]) => number
  /** How far the scripted id stands above the rest; small values let sampling choose others. */
  readonly sharpness?: number
  /** Milliseconds a thinker step takes, given its tokens. */
  readonly thinkerDelay?: (tokens: number) => number
  /** Milliseconds that the encoder takes for ten seconds of audio, which are one piece of its work. */
  readonly encoderDelay?: number
  readonly talkerDelay?: (tokens: number) => number
  /** Milliseconds that the vocoder takes for a piece. */
  readonly vocoderDelay?: number
  /** Tokens of cache that all sequences share, taken in blocks of `fakeBlock`. */
  readonly memoryTokens?: number
  /** In place of `memoryTokens`: a budget of tokens that the test holds, too. */
  readonly budget?: MemoryBudget
  readonly contextLength?: number
  readonly speech?: boolean
  /** The speech family; by default Qwen3-Omni's. */
  readonly speaksBy?: FakeSpeechMaker
  /** Whether codes are sampled; greedy and without a limit by default. */
  readonly sampledSpeech?: boolean
  readonly speechSettings?: Partial<SpeechSettings>
  /** Frames spoken after the text has ended. */
  readonly tailFrames?: number
  /** Throws inside the named stage. */
  readonly failIn?: { stage: FakeStageName; after?: number }
}

/** A speech family, and its recorded input. */
export interface FakeSpeech {
  readonly pipeline: SpeechPipeline
  readonly samplesPerFrame: number
  /** Rows of every talker call, one list per call. */
  readonly batches: number[][]
  readonly rows: number[][]
  readonly positions: number[][]
}

export type FakeSpeechMaker = (harness: FakeHarness, options: FakeModelOptions, thinker: ThinkerStage) => FakeSpeech

export interface FakeModel extends OmniModel {
  /** Sequences and vocoder streams not disposed. */
  readonly alive: () => { sequences: number; streams: number }
  /** Tokens of every thinker call, one list per call. */
  readonly thinkerBatches: readonly number[][]
  /** Rows whose hidden states were needed, by thinker sequence. */
  readonly hiddenRows: readonly number[][]
  readonly samplesPerFrame: number
  readonly talkerBatches: readonly number[][]
  /** Text ids in each talker sequence's input, prefix included, by order of creation. -1 is a row without text. */
  readonly talkerRows: readonly number[][]
  /** Positions of each talker sequence's input. */
  readonly talkerPositions: readonly number[][]
  readonly calls: Map<string, number>
  /** The audio encoder's input. */
  readonly sounds: readonly { frames: number; longestFrames: number }[]
  /** Encoder calls that have not ended. */
  readonly encoding: () => number
  /** Frames of each piece of the vocoder's input, and whether the call used all threads. */
  readonly decoded: readonly { frames: number; usedAllThreads: boolean }[]
}

export function createFakeModel(options: FakeModelOptions = {}): FakeModel {
  const harness = new FakeHarness(options.failIn)
  const budget =
    options.budget ?? (options.memoryTokens === undefined ? undefined : new MemoryBudget(options.memoryTokens))
  const thinkerBatches: number[][] = []
  const hiddenRows: number[][] = []
  const sequences = new Map<StageSequence, number>()
  const sounds: { frames: number; longestFrames: number }[] = []
  let encoders = 0
  const script = options.script ?? hashedScript

  const model: OmniModel = {
    architecture: 'FakeOmniForConditionalGeneration',
    reads: ['text', 'image', 'audio', 'video'],
    thinker: {
      vocabSize: fakeVocabulary,
      hiddenSize: hidden,
      contextLength: options.contextLength ?? 4096,
      newSequence(capacity) {
        const sequence = harness.newSequence(capacity, budget)
        sequences.set(sequence, hiddenRows.push([]) - 1)
        return sequence
      },
      async forward(inputs, signal) {
        const tokens = inputs.map((input) => input.tokenIds.length)
        thinkerBatches.push(tokens)
        for (const [i, { sequence }] of inputs.entries()) await sequence.reserve(sequence.length + tokens[i]!)
        const total = tokens.reduce((left, right) => left + right, 0)
        return harness.stage('thinker', options.thinkerDelay?.(total) ?? 0, signal, () => inputs.map(think))
      },
      embed: (ids) =>
        harness.stage('embed', 0, undefined, () => Float32Array.from(Array.from(ids).flatMap((id) => [id, 1, 0, 0]))),
      [Symbol.dispose]: () => undefined,
    },
    audioEncoder: {
      async encode(_mel, frames, { signal, pause, longestFrames = frames } = {}) {
        sounds.push({ frames, longestFrames })
        encoders += 1
        try {
          for (let done = 0; done < frames; done += audioPiece) {
            if (done > 0) await pause?.()
            await harness.stage('audioEncoder', options.encoderDelay ?? 0, signal, () => undefined)
          }
          return new Float32Array(frames * hidden).fill(0.5)
        } finally {
          encoders -= 1
        }
      },
      padding: (_frames, longestFrames) => longestFrames,
      [Symbol.dispose]: () => undefined,
    },
    visionEncoder: {
      encode: (_patches, [t, h, w], { signal } = {}) =>
        harness.stage('visionEncoder', 0, signal, () => ({
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
    if (input.hidden) input.tokenIds.forEach((_, row) => hiddenRows[sequences.get(sequence)!]!.push(from + row))
    if (input.logits === 'none') return input.hidden ? { hidden: states } : {}
    const logits = new Float32Array(fakeVocabulary)
    const seed = hash(sequence.ids)
    for (let id = 0; id < fakeVocabulary; id += 1) logits[id] = (hash([seed, id]) % 1000) / 1000
    logits[script(sequence.ids)]! += options.sharpness ?? 50
    return { logits, ...(input.hidden && { hidden: states }) }
  }

  const made =
    options.speech === false ? undefined : (options.speaksBy ?? talkerSpeech)(harness, options, model.thinker)
  return {
    ...model,
    ...(made && { speech: made.pipeline }),
    alive: () => ({ sequences: harness.sequences, streams: harness.streams }),
    thinkerBatches,
    hiddenRows,
    samplesPerFrame: made?.samplesPerFrame ?? 0,
    talkerBatches: made?.batches ?? [],
    talkerRows: made?.rows ?? [],
    talkerPositions: made?.positions ?? [],
    calls: harness.calls,
    sounds,
    encoding: () => encoders,
    decoded: harness.decoded,
  }
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
            grid: [1, 2, 2],
            rows: placeholders(4),
            key: part.image.contentKey,
            load: () => Promise.resolve(new Float32Array(4)),
          })
          break
        case 'audio': {
          const frames = Math.ceil(part.audio.facts.samples / 16_000)
          counts.audio += frames
          features.push({
            type: 'audio',
            frames,
            rows: placeholders(frames),
            key: part.audio.contentKey,
            load: () => Promise.resolve(new Float32Array(frames)),
          })
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
