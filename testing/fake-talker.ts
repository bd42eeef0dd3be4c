/**
 * Speech of the fake model in Qwen3-Omni's way: its own pipeline, over fake stages for talker, code predictor
 * and vocoder.
 *
 * The talker's rows carry the text id they stand for, so tests can read back what was spoken; the vocoder holds back
 * its last samples until `finish`.
 */

import { Qwen3Speech } from '../src/models/qwen3-omni/speech/pipeline.ts'
import { defaultSpeech, exactSpeech } from '../src/models/qwen3-omni/speech/settings.ts'
import type { SpeechConfig, SpeechStages, TalkerInput } from '../src/models/qwen3-omni/speech/stages.ts'
import type { VocoderStream } from '../src/models/speech.ts'
import type { StageSequence } from '../src/models/stages.ts'
import { type FakeHarness, type FakeSequence, hash, ramp } from './fake-harness.ts'
import { fakeHidden, fakeIds } from './fake-ids.ts'
import type { FakeModelOptions, FakeSpeech, FakeSpeechMaker } from './fake-model.ts'

const hidden = fakeHidden
const codecVocabulary = 64
const codecEnd = 60
const codeGroups = 3
const heldSamples = 555
const samplesPerFrame = 1920

/** Special ids of its speech. */
export const fakeSpeechConfig: SpeechConfig = {
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

export const talkerSpeech: FakeSpeechMaker = (harness, options, thinker) => {
  const batches: number[][] = []
  const rows: number[][] = []
  const positions: number[][] = []
  const stages = makeStages(harness, options, { batches, rows, positions })
  const settings = {
    ...(options.sampledSpeech ? defaultSpeech : exactSpeech(defaultSpeech)),
    ...options.speechSettings,
  }
  return {
    pipeline: new Qwen3Speech(thinker, stages, fakeSpeechConfig, settings, options.budget),
    samplesPerFrame,
    batches,
    rows,
    positions,
  }
}

function makeStages(
  harness: FakeHarness,
  options: FakeModelOptions,
  record: Pick<FakeSpeech, 'batches' | 'rows' | 'positions'>,
): SpeechStages {
  const talkers = new Map<StageSequence, number>()

  function talk(input: TalkerInput): { logits: Float32Array; hidden: Float32Array } {
    const sequence = input.sequence as FakeSequence
    const number = talkers.get(sequence)!
    const count = input.embeddings.length / hidden
    if (input.positions.length !== 3 * count) throw new Error('Positions do not fit the rows.')
    // The rest of a sequence that was cut.
    record.rows[number]!.length = sequence.length
    record.positions[number]!.length = sequence.length
    for (let row = 0; row < count; row += 1) {
      const values = input.embeddings.subarray(row * hidden, (row + 1) * hidden)
      sequence.add(hash(Array.from(values, (value) => Math.round(value * 64))))
      record.rows[number]!.push(values[1] === 0 ? -1 : Math.round(values[0]!))
      record.positions[number]!.push(input.positions[row]!)
    }
    const rows = record.rows[number]!
    const ended = rows.indexOf(fakeIds.ttsEnd)
    const logits = new Float32Array(codecVocabulary)
    const seed = hash(sequence.ids)
    for (let id = 0; id < codecVocabulary; id += 1) logits[id] = (hash([seed, id]) % 1000) / 100
    logits[codecEnd] = ended >= 0 && rows.length - ended > (options.tailFrames ?? 2) ? 1000 : -1000
    return { logits, hidden: Float32Array.of(seed % 997, 0, 0, 0) }
  }

  return {
    talker: {
      vocabSize: codecVocabulary,
      hiddenSize: hidden,
      codeGroups,
      newSequence(capacity) {
        const sequence = harness.newSequence(capacity, options.budget)
        talkers.set(sequence, record.rows.push([]) - 1)
        record.positions.push([])
        return sequence
      },
      async forward(inputs, signal) {
        const tokens = inputs.map((input) => input.embeddings.length / hidden)
        record.batches.push(tokens)
        for (const [i, { sequence }] of inputs.entries()) await sequence.reserve(sequence.length + tokens[i]!)
        const total = tokens.reduce((left, right) => left + right, 0)
        return harness.stage('talker', options.talkerDelay?.(total) ?? 0, signal, () => inputs.map(talk))
      },
      projectText: (rows) => harness.stage('projectText', 0, undefined, () => rows.slice()),
      projectHidden: (rows) => harness.stage('projectHidden', 0, undefined, () => rows.slice()),
      embedCodec: (ids) =>
        harness.stage('embedCodec', 0, undefined, () =>
          Float32Array.from(Array.from(ids).flatMap((id) => [0, 0, id, 0])),
        ),
      [Symbol.dispose]: () => undefined,
    },
    codePredictor: {
      predict: (inputs, signal) =>
        harness.stage('codePredictor', 0, signal, () =>
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
        harness.streams += 1
        let disposed = false
        let held = new Float32Array(0)
        const vocode = <T>(signal: AbortSignal | undefined, work: () => T): Promise<T> =>
          harness.stage('vocoder', options.vocoderDelay ?? 0, signal, work, stream)
        const stream: VocoderStream = {
          push: (codes, { signal, useAllThreads } = {}) => {
            harness.decoded.push({ frames: codes.length / codeGroups, usedAllThreads: useAllThreads?.() ?? false })
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
          finish: ({ signal } = {}) =>
            vocode(signal, () => {
              const rest = held
              held = new Float32Array(0)
              return rest
            }),
          [Symbol.dispose]() {
            if (disposed) return
            if (harness.isBusy(stream)) throw new Error('A stream was disposed while it ran.')
            disposed = true
            harness.streams -= 1
          },
        }
        return stream
      },
      [Symbol.dispose]: () => undefined,
    },
  }
}

/** The audio of one frame: a ramp whose height is the sum of its codes. */
function fakeWave(codes: ArrayLike<number>): Float32Array {
  return ramp(Array.from(codes).reduce((left, right) => left + right, 0) / 200, samplesPerFrame)
}
