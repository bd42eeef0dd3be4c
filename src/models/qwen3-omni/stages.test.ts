/**
 * Stages beyond one sequence at a time: batches, chunked prefill, streams in pieces, aborts, memory, bad input.
 */

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { formulaCodes, formulaLogMel } from '../../../testing/formula-media.ts'
import { indexOfLargest, largestDifference, readGolden, testdataPath, type Golden } from '../../../testing/golden.ts'
import { promptOf, type ModelFacts, type TinyConfig } from '../../../testing/model-goldens.ts'
import { type Prompt, promptPart } from '../../../testing/prompt-part.ts'
import { loadModel, loadTinyModel, type TinyModel } from '../../../testing/tiny-model.ts'
import { Code2Wav } from './code2wav-stream.ts'
import type { Code2WavStage } from './speech/stages.ts'

const CLOSE = 2e-5

/**
 * Rewrites a checkpoint as `Qwen3OmniMoeThinkerForConditionalGeneration.save_pretrained` does: module paths without
 * `thinker`.
 */
async function saveThinkerAlone(from: string, to: string): Promise<void> {
  const file = await readFile(join(from, 'model.safetensors'))
  const length = Number(file.readBigUInt64LE(0))
  const header = JSON.parse(file.toString('utf8', 8, 8 + length)) as Record<string, unknown>
  const renamed = Object.fromEntries(
    Object.entries(header).map(([name, value]) => [name.replace(/^thinker\./, ''), value]),
  )
  const text = Buffer.from(JSON.stringify(renamed))
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(text.length))
  await writeFile(join(to, 'model.safetensors'), Buffer.concat([size, text, file.subarray(8 + length)]))
  const config = JSON.parse(await readFile(join(from, 'config.json'), 'utf8')) as Record<string, object>
  const alone = { ...config['thinker_config'], architectures: ['Qwen3OmniMoeThinkerForConditionalGeneration'] }
  await writeFile(join(to, 'config.json'), JSON.stringify(alone))
}

let tiny: TinyModel
let golden: Golden<ModelFacts>
let config: TinyConfig

beforeAll(async () => {
  tiny = await loadTinyModel('tiny-moe')
  golden = await readGolden<ModelFacts>('tiny-moe')
  config = tiny.config as unknown as TinyConfig
})

afterAll(() => {
  tiny[Symbol.dispose]()
})

function prompt(name: string): Prompt {
  const recorded = golden.facts.cases.find((candidate) => candidate.name === name)
  if (!recorded) throw new Error(`no case ${name}`)
  return promptOf(golden, recorded, config, tiny.model.thinker.hiddenSize)
}

describe('thinker', () => {
  it('gives a sequence the same result in a batch and by itself, in prefill and decode steps', async () => {
    const { thinker } = tiny.model
    const names = ['text', 'images', 'audio', 'mixed']
    const alone: Float32Array[][] = []
    for (const name of names) {
      using sequence = thinker.newSequence(600)
      const [first] = await thinker.forward([{ sequence, ...prompt(name), logits: 'last', hidden: true }])
      const [second] = await thinker.forward([
        {
          sequence,
          tokenIds: Int32Array.of(65),
          positions: Float32Array.of(500, 500, 500),
          logits: 'last',
          hidden: true,
        },
      ])
      alone.push([first?.logits, first?.hidden, second?.logits, second?.hidden].map((v) => v ?? new Float32Array()))
    }
    using stack = new DisposableStack()
    const sequences = names.map(() => stack.use(thinker.newSequence(600)))
    const both = await thinker.forward(
      names.map((name, i) => ({ sequence: sequences[i]!, ...prompt(name), logits: 'last', hidden: true })),
    )
    // The second step is one token for three of them, in another order.
    const order = [3, 1, 0]
    const next = await thinker.forward(
      order.map((i) => ({
        sequence: sequences[i]!,
        tokenIds: Int32Array.of(65),
        positions: Float32Array.of(500, 500, 500),
        logits: 'last',
        hidden: true,
      })),
    )
    for (const [i] of names.entries()) {
      expect(largestDifference(both[i]?.logits ?? [], alone[i]?.[0] ?? [])).toBeLessThan(CLOSE)
      expect(largestDifference(both[i]?.hidden ?? [], alone[i]?.[1] ?? [])).toBeLessThan(CLOSE)
    }
    for (const [at, i] of order.entries()) {
      expect(largestDifference(next[at]?.logits ?? [], alone[i]?.[2] ?? [])).toBeLessThan(CLOSE)
      expect(largestDifference(next[at]?.hidden ?? [], alone[i]?.[3] ?? [])).toBeLessThan(CLOSE)
    }
    expect(sequences.map((sequence) => sequence.length)).toEqual(
      names.map((name, i) => prompt(name).tokenIds.length + (order.includes(i) ? 1 : 0)),
    )
  })

  it('gives the same result for a prompt in chunks, in a batch with a sequence in decode', async () => {
    const { thinker } = tiny.model
    const whole = prompt('mixed')
    using reference = thinker.newSequence(500)
    const [expected] = await thinker.forward([{ sequence: reference, ...whole, logits: 'last', hidden: true }])
    using sequence = thinker.newSequence(500)
    using other = thinker.newSequence(50)
    const hidden: number[] = []
    let logits: Float32Array | undefined
    for (let start = 0, turn = 0; start < whole.tokenIds.length; start += 61, turn++) {
      const end = Math.min(start + 61, whole.tokenIds.length)
      const [output, decoded] = await thinker.forward([
        {
          sequence,
          ...promptPart(whole, start, end, thinker.hiddenSize),
          logits: end === whole.tokenIds.length ? 'last' : 'none',
          hidden: true,
        },
        {
          sequence: other,
          tokenIds: Int32Array.of(70),
          positions: Float32Array.of(turn, turn, turn),
          logits: 'last',
          hidden: false,
        },
      ])
      hidden.push(...(output?.hidden ?? []))
      logits = output?.logits
      expect(decoded?.logits?.length).toBe(thinker.vocabSize)
      expect(decoded?.hidden).toBeUndefined()
    }
    expect(largestDifference(logits ?? [], expected?.logits ?? [])).toBeLessThan(CLOSE)
    expect(largestDifference(hidden, expected?.hidden ?? [])).toBeLessThan(CLOSE)
  })

  it('fills the cache and returns nothing if neither logits nor hidden states are requested', async () => {
    const { thinker } = tiny.model
    using sequence = thinker.newSequence(100)
    const [output] = await thinker.forward([{ sequence, ...prompt('text'), logits: 'none', hidden: false }])
    expect(output).toEqual({})
    expect(sequence.length).toBe(prompt('text').tokenIds.length)
  })

  it('refuses ids outside the vocabulary, wrong positions and more tokens than the sequence holds', async () => {
    const { thinker } = tiny.model
    using sequence = thinker.newSequence(4)
    const attempt = (tokenIds: number[], positions: number): Promise<unknown> =>
      thinker.forward([
        {
          sequence,
          tokenIds: Int32Array.from(tokenIds),
          positions: new Float32Array(positions),
          logits: 'last',
          hidden: false,
        },
      ])
    await expect(attempt([thinker.vocabSize], 3)).rejects.toThrow(/not in a table/)
    await expect(attempt([-1], 3)).rejects.toThrow(/not in a table/)
    await expect(attempt([1, 2], 3)).rejects.toThrow(/3 per token/)
    await expect(attempt([1, 2, 3, 4, 5], 15)).rejects.toThrow(/at most 4 tokens/)
    await expect(thinker.embed(Int32Array.of(1_000_000))).rejects.toThrow(/not in a table/)
    expect(sequence.length).toBe(0)
  })

  it('names the memory that a context needs if it does not fit', async () => {
    using sequence = tiny.model.thinker.newSequence(1e10)
    await expect(sequence.reserve(1e10)).rejects.toThrow(
      expect.objectContaining({
        code: 'overloaded',
        message: expect.stringMatching(/10000000000 tokens \(\d+ MiB\)/) as string,
      }),
    )
  })

  it('stops when aborted, with the sequence unchanged and usable', async () => {
    const { thinker } = tiny.model
    using sequence = thinker.newSequence(100)
    const abort = new AbortController()
    abort.abort(new Error('gone'))
    const input = { sequence, ...prompt('text'), logits: 'last', hidden: false } as const
    await expect(thinker.forward([input], abort.signal)).rejects.toThrow('gone')
    expect(sequence.length).toBe(0)
    const [output] = await thinker.forward([input])
    expect(indexOfLargest(output?.logits ?? [])).toBe(golden.facts.cases[0]?.textTokens[0])
  })
})

describe('talker and code predictor', () => {
  it('give a sequence the same result in a batch and by itself', async () => {
    const { talker, codePredictor } = tiny.model
    if (!talker || !codePredictor) throw new Error('tiny-moe speaks')
    const names = ['text', 'audio', 'mixed']
    const inputs = names.map((name) => ({
      embeddings: golden.floats(`case.${name}.talker-prefill`),
      positions: golden.floats(`case.${name}.talker-prefill-positions`),
    }))
    using stack = new DisposableStack()
    const together = await talker.forward(
      inputs.map((input) => ({ ...input, sequence: stack.use(talker.newSequence(500)) })),
    )
    // Eleven frames at once are more than one batch.
    const frames = Array.from({ length: 11 }, (_, i) => ({
      hidden: together[i % 3]?.hidden ?? new Float32Array(),
      firstCode: (i * 7) % 64,
      sample: (logits: Float32Array) => indexOfLargest(logits),
    }))
    const predicted = await codePredictor.predict(frames)
    for (const [i, input] of inputs.entries()) {
      using sequence = talker.newSequence(500)
      const [alone] = await talker.forward([{ ...input, sequence }])
      expect(largestDifference(together[i]?.logits ?? [], alone?.logits ?? [])).toBeLessThan(CLOSE)
      expect(largestDifference(together[i]?.hidden ?? [], alone?.hidden ?? [])).toBeLessThan(CLOSE)
    }
    for (const [i, frame] of frames.entries()) {
      const [alone] = await codePredictor.predict([frame])
      expect(predicted[i]?.codes).toEqual(alone?.codes)
      expect(largestDifference(predicted[i]?.embeddingSum ?? [], alone?.embeddingSum ?? [])).toBeLessThan(CLOSE)
    }
  })
})

describe.each(['tiny-moe', 'tiny-mixed', 'tiny-dense'] as const)('code2wav of %s, streamed', (name) => {
  let own: TinyModel
  let stage: Code2WavStage
  let codes: Int32Array
  let whole: Float32Array
  let groups: number
  const frames = name === 'tiny-moe' ? 27 : 45

  beforeAll(async () => {
    own = await loadTinyModel(name)
    if (!own.model.code2wav) throw new Error(`${name} speaks`)
    stage = own.model.code2wav
    const { num_quantizers, codebook_size } = (own.config as unknown as TinyConfig).code2wav_config
    groups = num_quantizers
    codes = formulaCodes(groups, frames, codebook_size)
    using stream = stage.newStream()
    whole = await stream.push(codes)
  })

  afterAll(() => {
    own[Symbol.dispose]()
  })

  async function inPieces(sizes: (at: number) => number): Promise<Float32Array> {
    using stream = stage.newStream()
    const samples: number[] = []
    for (let at = 0; at < frames;) {
      const size = Math.min(sizes(at), frames - at)
      samples.push(...(await stream.push(codes.slice(at * groups, (at + size) * groups))))
      at += size
    }
    samples.push(...(await stream.finish()))
    return Float32Array.from(samples)
  }

  it('gives samples per frame for each frame, less those that decoding at once cuts off', () => {
    const cut = frames * stage.samplesPerFrame - whole.length
    expect(cut).toBe({ 'tiny-moe': 555, 'tiny-mixed': 50, 'tiny-dense': 14 }[name])
  })

  it('equals decoding at once for every chunk size', async () => {
    for (let size = 1; size <= frames; size += size < 20 ? 1 : 7)
      expect(largestDifference(await inPieces(() => size), whole), `chunks of ${size}`).toBeLessThan(CLOSE)
  })

  it('equals decoding at once for chunks of changing size and empty chunks', async () => {
    expect(largestDifference(await inPieces((at) => 1 + ((at * 5) % 11)), whole)).toBeLessThan(CLOSE)
    using stream = stage.newStream()
    expect((await stream.push(new Int32Array())).length).toBe(0)
  })

  it('keeps the state of streams separate', async () => {
    using first = stage.newStream()
    using second = stage.newStream()
    const shifted = codes.map((code) => (code + 1) % 32)
    const a: number[] = []
    for (let at = 0; at < frames; at += 9) {
      const range: [number, number] = [at * groups, Math.min(frames, at + 9) * groups]
      const [mine] = await Promise.all([first.push(codes.slice(...range)), second.push(shifted.slice(...range))])
      a.push(...mine)
    }
    expect(largestDifference(a, whole)).toBeLessThan(CLOSE)
  })

  it('reuses the memory and graphs of an ended stream without its audio', async () => {
    const other = codes.map((code) => (code + 5) % 32)
    const first = stage.newStream()
    await first.push(other)
    first[Symbol.dispose]()
    const kept = own.backend.memory
    const second = stage.newStream()
    await second.push(other)
    expect(own.backend.memory).toEqual(kept)
    second[Symbol.dispose]()
    expect(largestDifference(await inPieces(() => 9), whole)).toBeLessThan(CLOSE)
  })

  it.each([
    ['four streams where no memory is set aside', 0, 4],
    ['as many streams as its memory allows', 64e6, 7],
  ])('keeps %s', async (_, keptBytes, most) => {
    using limited = new Code2Wav(own.backend, own.model.code2wav!.model, { keptBytes })
    const perStream = async (count: number): Promise<number> => {
      const streams = Array.from({ length: count }, () => limited.newStream())
      await Promise.all(streams.map((stream) => stream.push(codes)))
      for (const stream of streams) stream[Symbol.dispose]()
      return own.backend.memory.buffers
    }
    const kept = await perStream(most)
    expect(await perStream(7)).toBe(kept)
  })

  it('refuses invalid codes, and codes after an abort', async () => {
    using stream = stage.newStream()
    await expect(stream.push(new Int32Array(groups + 1))).rejects.toThrow(/no frames/)
    await expect(stream.push(new Int32Array(groups).fill(9999))).rejects.toThrow(/code 9999/)
    const abort = new AbortController()
    abort.abort(new Error('gone'))
    await expect(stream.push(codes, { signal: abort.signal })).rejects.toThrow('gone')
    await expect(stream.push(codes)).rejects.toThrow(/broken/)
  })
})

describe('audio encoder', () => {
  it('stops when aborted and refuses a log-mel of the wrong size', async () => {
    const { audioEncoder } = tiny.model
    const bins = config.thinker_config.audio_config.num_mel_bins
    const abort = new AbortController()
    abort.abort(new Error('gone'))
    await expect(audioEncoder?.encode(formulaLogMel(bins, 900), 900, { signal: abort.signal })).rejects.toThrow('gone')
    await expect(audioEncoder?.encode(formulaLogMel(bins, 10), 11)).rejects.toThrow(/not \[128, 11\]/)
  })
})

describe('a model', () => {
  it('that has only the thinker is loaded and gives the same results', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'omniserve-thinker-'))
    try {
      await saveThinkerAlone(testdataPath('checkpoints/tiny-thinker'), folder)
      using alone = await loadModel(folder)
      using whole = await loadTinyModel('tiny-thinker')
      const logits: Float32Array[] = []
      for (const { model } of [alone, whole]) {
        expect(model.talker).toBeUndefined()
        using sequence = model.thinker.newSequence(10)
        const tokenIds = Int32Array.of(5, 6, 7)
        const [output] = await model.thinker.forward([
          { sequence, tokenIds, positions: Float32Array.of(0, 1, 2, 0, 1, 2, 0, 1, 2), logits: 'last', hidden: false },
        ])
        logits.push(output?.logits ?? new Float32Array())
      }
      expect(alone.model.architecture).toBe('Qwen3OmniMoeThinkerForConditionalGeneration')
      expect(logits[0]?.length).toBe(whole.model.thinker.vocabSize)
      expect(logits[0]).toEqual(logits[1])
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('refuses to convert values that are not finite to audio', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'omniserve-broken-'))
    try {
      await cp(testdataPath('checkpoints/tiny-dense'), folder, { recursive: true })
      const file = join(folder, 'model.safetensors')
      const bytes = await readFile(file)
      const length = Number(bytes.readBigUInt64LE(0))
      const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<string, { data_offsets: [number, number] }>
      // The largest 16-bit number everywhere: their products overflow.
      for (const [key, { data_offsets }] of Object.entries(header)) {
        if (/^code2wav\.decoder\..*weight$/.test(key))
          bytes.subarray(8 + length + data_offsets[0], 8 + length + data_offsets[1]).fill(Uint8Array.of(0xff, 0x7b))
      }
      await writeFile(file, bytes)
      using broken = await loadModel(folder)
      using stream = broken.model.code2wav!.newStream()
      await expect(stream.push(new Int32Array(8))).rejects.toThrow('no finite samples')
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('returns all native memory when sequences, streams, stages and weights are disposed', async () => {
    const own = await loadTinyModel('tiny-dense')
    const { thinker, talker, codePredictor, code2wav } = own.model
    const sequence = thinker.newSequence(300)
    await thinker.forward([
      { sequence, tokenIds: Int32Array.of(1, 2), positions: new Float32Array(6), logits: 'last', hidden: true },
    ])
    const before = own.backend.memory.buffers
    const another = thinker.newSequence(300)
    await another.reserve(1)
    expect(own.backend.memory.buffers).toBeGreaterThan(before)
    another[Symbol.dispose]()
    expect(own.backend.memory.buffers).toBe(before)
    const stream = code2wav?.newStream()
    await stream?.push(Int32Array.of(1, 2, 3, 4))
    await codePredictor?.predict([{ hidden: new Float32Array(talker?.hiddenSize ?? 0), firstCode: 1, sample: () => 3 }])
    stream?.[Symbol.dispose]()
    sequence[Symbol.dispose]()
    own[Symbol.dispose]()
    expect(own.backend.memory).toEqual({ buffers: 0, contexts: 0, objects: 0 })
  })
})
