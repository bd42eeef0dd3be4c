/**
 * Stages beyond one sequence at a time: batches, chunked prefill, aborts, memory, bad input.
 */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { formulaLogMel, formulaPatches } from '../../../testing/formula-media.ts'
import { largestDifference, readGolden, testdataPath, type Golden } from '../../../testing/golden.ts'
import { type Prompt, promptPart } from '../../../testing/prompt-part.ts'
import { qwen25Prompt, type Qwen25Facts, type Tiny25Config } from '../../../testing/qwen25-goldens.ts'
import { loadTiny25Model, type TinyModel } from '../../../testing/tiny-model.ts'
import { readCheckpointFiles } from '../../prompt/checkpoint-files.ts'
import { loadBackend } from '../../tensor/index.ts'
import { convertCheckpoint, loadParameters, openCheckpoint } from '../../weights/index.ts'
import { readModel } from '../index.ts'
import { qwen25Omni, type Qwen25OmniModel } from './model.ts'

const CLOSE = 2e-5

let tiny: TinyModel<Qwen25OmniModel>
let golden: Golden<Qwen25Facts>

beforeAll(async () => {
  tiny = await loadTiny25Model('tiny25-grouped')
  golden = await readGolden<Qwen25Facts>('tiny25-grouped')
})

afterAll(async () => {
  // Sequences are released in the backend's queue.
  await tiny.model.thinker.embed(Int32Array.of(0))
  tiny[Symbol.dispose]()
})

function prompt(name: string): Prompt {
  const recorded = golden.facts.cases.find((candidate) => candidate.name === name)
  if (!recorded) throw new Error(`no case ${name}`)
  return qwen25Prompt(golden, recorded, tiny.config as unknown as Tiny25Config)
}

describe('thinker and talker', () => {
  it('give a sequence the same result in a batch and by itself', async () => {
    const { thinker, talker } = tiny.model
    const names = ['text', 'image', 'audio', 'mixed']
    const each = async (input: Prompt): Promise<Float32Array[]> => {
      using sequence = thinker.newSequence(900)
      using speaking = talker!.newSequence(900)
      const [output] = await thinker.forward([{ sequence, ...input, logits: 'last', hidden: true }])
      const [codes] = await talker!.forward([{ sequence: speaking, rows: output!.hidden!, positions: input.positions }])
      return [output!.logits!, output!.hidden!, codes!]
    }
    const wanted: Float32Array[][] = []
    for (const name of names) wanted.push(await each(prompt(name)))
    using stack = new DisposableStack()
    const outputs = await thinker.forward(
      names.map((name) => ({
        sequence: stack.use(thinker.newSequence(900)),
        ...prompt(name),
        logits: 'last',
        hidden: true,
      })),
    )
    const codes = await talker!.forward(
      names.map((name, i) => ({
        sequence: stack.use(talker!.newSequence(900)),
        rows: outputs[i]!.hidden!,
        positions: prompt(name).positions,
      })),
    )
    for (const [i, [logits, hidden, code]] of wanted.entries()) {
      expect(largestDifference(outputs[i]!.logits!, logits!), names[i]).toBeLessThan(CLOSE)
      expect(largestDifference(outputs[i]!.hidden!, hidden!), names[i]).toBeLessThan(CLOSE)
      expect(largestDifference(codes[i]!, code!), names[i]).toBeLessThan(CLOSE)
    }
  })

  it('give the same result for a prompt in chunks and at once', async () => {
    const { thinker } = tiny.model
    const whole = prompt('mixed')
    using all = thinker.newSequence(900)
    const [wanted] = await thinker.forward([{ sequence: all, ...whole, logits: 'last', hidden: true }])
    using sequence = thinker.newSequence(900)
    const hidden: number[] = []
    let logits: Float32Array | undefined
    for (let start = 0; start < whole.tokenIds.length; start += 70) {
      const end = Math.min(whole.tokenIds.length, start + 70)
      const [output] = await thinker.forward([
        { sequence, ...promptPart(whole, start, end, thinker.hiddenSize), logits: 'last', hidden: true },
      ])
      hidden.push(...output!.hidden!)
      logits = output!.logits
    }
    expect(largestDifference(logits!, wanted!.logits!)).toBeLessThan(CLOSE)
    expect(largestDifference(hidden, wanted!.hidden!)).toBeLessThan(CLOSE)
  })

  it('refuse more tokens than fit', async () => {
    const { thinker, talker } = tiny.model
    using sequence = talker!.newSequence(8)
    const rows = new Float32Array(talker!.inputWidth)
    await expect(talker!.forward([{ sequence, rows, positions: new Float32Array(2) }])).rejects.toThrow(/3 per token/)
    await expect(talker!.embed(Int32Array.of(talker!.vocabSize))).rejects.toThrow(/not in a table/)
    using foreign = thinker.newSequence(8)
    const abort = new AbortController()
    abort.abort(new Error('gone'))
    const positions = new Float32Array(3)
    await expect(talker!.forward([{ sequence: foreign, rows, positions }], abort.signal)).rejects.toThrow('gone')
  })
})

describe('audio encoder', () => {
  it('gives the same tokens for the first seconds of longer audio', async () => {
    const { audioEncoder, thinker } = tiny.model
    const frames = 2 * 200 * 8
    const mel = formulaLogMel(128, frames)
    const whole = await audioEncoder.encode(mel, frames)
    const first = new Float32Array(128 * 400)
    for (let bin = 0; bin < 128; bin++) first.set(mel.subarray(bin * frames, bin * frames + 400), bin * 400)
    const pauses: number[] = []
    const beginning = await audioEncoder.encode(first, 400, { pause: () => Promise.resolve(void pauses.push(1)) })
    expect(beginning.length).toBe(100 * thinker.hiddenSize)
    expect(largestDifference(whole.subarray(0, beginning.length), beginning)).toBeLessThan(CLOSE)
    expect(pauses).toHaveLength(0)
  })

  it('stops when aborted, pauses between groups and refuses a log-mel of the wrong size', async () => {
    const { audioEncoder } = tiny.model
    const abort = new AbortController()
    let pauses = 0
    const pause = (): Promise<void> => {
      pauses += 1
      abort.abort(new Error('gone'))
      return Promise.resolve()
    }
    const long = audioEncoder.encode(formulaLogMel(128, 5000), 5000, { signal: abort.signal, pause })
    await expect(long).rejects.toThrow('gone')
    expect(pauses).toBe(1)
    await expect(audioEncoder.encode(formulaLogMel(128, 10), 11)).rejects.toThrow(/not \[128, 11\]/)
    await expect(audioEncoder.encode(formulaLogMel(128, 2), 2)).rejects.toThrow(/3 are the fewest/)
  })
})

describe('vision encoder', () => {
  it('encodes each frame of a video as it encodes it by itself, and stops when aborted', async () => {
    const { visionEncoder } = tiny.model
    const frame = formulaPatches(60, 1176)
    const two = new Float32Array(2 * frame.length)
    two.set(frame)
    two.set(frame, frame.length)
    const { embeddings: one } = await visionEncoder.encode(frame, [1, 6, 10])
    const { embeddings: both } = await visionEncoder.encode(two, [2, 6, 10])
    expect(both.slice(0, one.length)).toEqual(one)
    expect(both.slice(one.length)).toEqual(one)
    await expect(visionEncoder.encode(two, [2, 5, 12])).rejects.toThrow(/does not divide/)
    await expect(visionEncoder.encode(two, [1, 6, 10])).rejects.toThrow(/no 1x6x10 patches/)
    const abort = new AbortController()
    abort.abort(new Error('gone'))
    await expect(visionEncoder.encode(two, [2, 6, 10], { signal: abort.signal })).rejects.toThrow('gone')
  })
})

describe('a checkpoint', () => {
  const folders: string[] = []
  afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))))

  async function temporary(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'omniserve-qwen25-'))
    folders.push(folder)
    return folder
  }

  it('that should speak and has no voices is refused with an error that names the missing file', async () => {
    const folder = await temporary()
    const source = testdataPath('checkpoints/tiny25-even')
    for (const file of ['config.json', 'tokenizer.json', 'preprocessor_config.json'])
      await writeFile(join(folder, file), await readFile(join(source, file)))
    const description = await readModel(folder)
    expect(() => description.prompt()).toThrow(/has no spk_dict\.pt, which holds the voices/)
    await writeFile(join(folder, 'spk_dict.pt'), await readFile(testdataPath('checkpoints/tiny25-tied/spk_dict.pt')))
    const other = await readModel(folder)
    expect(() => other.prompt()).toThrow(/voice Ethan is of another model/)
    await writeFile(join(folder, 'spk_dict.pt'), 'no pickle')
    await expect(readModel(folder)).rejects.toMatchObject({ code: 'bad_checkpoint' })
  })

  it('converted to one file has the same voices and gives the same results', async () => {
    const folder = await temporary()
    const output = join(folder, 'even.gguf')
    using backend = await loadBackend({ device: 'cpu', threads: 1 })
    using source = await openCheckpoint(testdataPath('checkpoints/tiny25-even'))
    const { declarations, naming } = qwen25Omni.read(await readCheckpointFiles(source))
    await convertCheckpoint(backend, source, declarations, { type: 'f32', output, naming })
    using converted = await openCheckpoint(output)
    const description = await readModel(converted)
    expect(description.speaks).toEqual({ speakers: ['chelsie', 'ethan'], sampleRate: 24_000, frameRate: 3000 })
    using weights = await loadParameters(backend, converted, description.declarations, {
      naming: description.naming,
      repack: false,
    })
    using model = description.build(backend, weights, { cacheType: 'f32' })
    using whole = await loadTiny25Model('tiny25-even')
    const logits: Float32Array[] = []
    for (const { thinker } of [model, whole.model]) {
      using sequence = thinker.newSequence(10)
      const tokenIds = Int32Array.of(5, 6, 7)
      const positions = Float32Array.of(0, 1, 2, 0, 1, 2, 0, 1, 2)
      const [read] = await thinker.forward([{ sequence, tokenIds, positions, logits: 'last', hidden: false }])
      logits.push(read!.logits!)
    }
    expect(logits[0]).toEqual(logits[1])
    expect(model.speech?.speakers).toEqual(['chelsie', 'ethan'])
  })

  it('returns all native memory when its sequences and stages are disposed', async () => {
    const own = await loadTiny25Model('tiny25-even')
    const { thinker, talker, token2wav, speech } = own.model
    const sequence = thinker.newSequence(300)
    await thinker.forward([
      { sequence, tokenIds: Int32Array.of(1, 2), positions: new Float32Array(6), logits: 'last', hidden: true },
    ])
    const positions = Float32Array.of(0, 0, 0)
    const tokenIds = Int32Array.of(1)
    const usage = { total: 1 }
    const prompt = { tokenIds, positions, nextPosition: 1, features: [], insideReasoning: false, usage }
    const reply = speech!.newReply({ prompt, speaker: 'ethan', seed: 3 })
    await reply.vocoder.push(Int32Array.of(1, 2, 3, 4))
    expect((await reply.vocoder.finish()).length).toBe(4 * 8)
    reply[Symbol.dispose]()
    reply.vocoder[Symbol.dispose]()
    sequence[Symbol.dispose]()
    await talker!.embed(Int32Array.of(1))
    expect(token2wav?.samplesPerFrame).toBe(8)
    own[Symbol.dispose]()
    expect(own.backend.memory).toEqual({ buffers: 0, contexts: 0, objects: 0 })
  })
})
