import { mkdtemp, open, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withShortWrites } from '../../testing/short-writes.ts'
import { type ParameterRequest, rearrange } from '../nn/index.ts'
import {
  type Backend,
  buildGraph,
  fromBfloat16Array,
  loadBackend,
  repackTypeFor,
  tensorBytes,
  type Tensor,
  type WeightSet,
} from '../tensor/index.ts'
import { relativeError } from '../tensor/numeric-check.ts'
import { convertCheckpoint, type ConvertProgress } from './convert.ts'
import { readGgufHeader } from './gguf-read.ts'
import { loadParameters } from './load-parameters.ts'
import { checkMemory, checkpointMemory, estimateMemory } from './memory.ts'
import { openCheckpoint } from './open-checkpoint.ts'
import { bf16, declare, f32, type TestTensor, values, writeCheckpoint } from '../../testing/checkpoint-files.ts'
import { chooseType, parseWeightStage, parseWeightType, type WeightType } from './weight-types.ts'

let backend: Backend
let root: string
beforeAll(async () => {
  backend = await loadBackend({ device: 'cpu', threads: 2 })
  root = await mkdtemp(join(tmpdir(), 'omniserve-convert-'))
})
afterAll(async () => {
  backend[Symbol.dispose]()
  await rm(root, { recursive: true })
})

const longName = 'talker.code_predictor.model.layers.10.a_name_longer_than_ggml_can_take.weight'
const requests: Record<string, ParameterRequest> = {
  'thinker.norm.weight': { shape: [256] },
  'thinker.linear.weight': { shape: [256, 64], use: 'matmul' },
  'thinker.narrow.weight': { shape: [96, 8], use: 'matmul' },
  'thinker.odd.weight': { shape: [10, 4], use: 'matmul' },
  'thinker.mlp.experts.gate_proj.weight': { shape: [256, 32, 3], use: 'experts', layout: 'experts' },
  'thinker.mlp.experts.up_proj.weight': { shape: [256, 32, 3], use: 'experts', layout: 'experts' },
  'thinker.mlp.experts.down_proj.weight': { shape: [32, 256, 3], use: 'experts', layout: 'experts' },
  'talker.embedding.weight': { shape: [256, 16], precision: 'coarse' },
  [longName]: { shape: [256, 16], use: 'matmul', precision: 'fine' },
  'code2wav.conv.weight': { shape: [96, 16], use: 'matmul', layout: 'conv-windows', precision: 'fine' },
  'code2wav.up.weight': { shape: [32, 80], use: 'matmul', layout: 'conv-columns', precision: 'fine' },
}
const tensors: Record<string, TestTensor> = {
  'thinker.norm.weight': bf16([256], 1),
  'thinker.linear.weight': bf16([64, 256], 2),
  'thinker.narrow.weight': bf16([8, 96], 3),
  'thinker.odd.weight': bf16([4, 10], 4),
  ...Object.fromEntries(
    [0, 1, 2].flatMap((e) => [
      [`thinker.mlp.experts.${e}.gate_proj.weight`, bf16([32, 256], 20 + e)],
      [`thinker.mlp.experts.${e}.up_proj.weight`, bf16([32, 256], 30 + e)],
      [`thinker.mlp.experts.${e}.down_proj.weight`, bf16([256, 32], 40 + e)],
    ]),
  ),
  'talker.embedding.weight': bf16([16, 256], 5),
  [longName]: bf16([16, 256], 6),
  'code2wav.conv.weight': f32([16, 32, 3], 7),
  'code2wav.up.weight': f32([32, 16, 5], 8),
}
const declarations = declare(requests)
const folder = (name: string, content = tensors) => writeCheckpoint(join(root, name), [content])

/** The expected elements, in declared order. */
function expected(name: string): Float32Array {
  const wide = ({ dtype, data }: TestTensor): Float32Array =>
    dtype === 'F32' ? new Float32Array(data.buffer) : fromBfloat16Array(new Uint16Array(data.buffer))
  const request = requests[name]!
  if (request.layout === 'experts') {
    const parts = [0, 1, 2].flatMap((e) => [...wide(tensors[name.replace('experts.', `experts.${e}.`)]!)])
    return Float32Array.from(parts)
  }
  return rearrange(request.layout ?? 'plain', wide(tensors[name]!), tensors[name]!.shape)
}

async function valuesOf(set: WeightSet, name: string): Promise<Float32Array> {
  const tensor = set.get(name)
  const [columns, ...others] = tensor.shape
  return rowsOf(tensor, columns, 0, others[0] * others[1] * others[2])
}

/** Rows `from` to `to` as f32, dequantised by the library. */
async function rowsOf(tensor: Tensor, columns: number, from: number, to: number): Promise<Float32Array> {
  const rows = (tensor.shape[0] / columns) * tensor.shape[1] * tensor.shape[2] * tensor.shape[3]
  using graph = buildGraph(backend, (g) => ({
    values: g.getRows(g.reshape(tensor, columns, rows), g.input('ids', 'i32', [to - from])),
  }))
  const { values: rowValues } = await graph.run({ ids: Int32Array.from({ length: to - from }, (_, i) => from + i) })
  return rowValues
}

/** Relative error of arrays of the same length. */
function error(actual: Float32Array, expectedValues: Float32Array): number {
  expect(actual.length).toBe(expectedValues.length)
  return relativeError(actual, expectedValues)
}

describe('loading a folder', () => {
  it('keeps stored types, and converts norms to f32', async () => {
    using checkpoint = await openCheckpoint(await folder('as-is'))
    using set = await loadParameters(backend, checkpoint, declarations, { repack: false })
    expect(set.get('thinker.norm.weight').type).toBe('f32')
    expect(set.get('thinker.linear.weight').type).toBe('bf16')
    for (const name of Object.keys(requests)) expect(error(await valuesOf(set, name), expected(name))).toBe(0)
    expect(checkpointMemory(checkpoint, declarations).weights).toBe(set.bytes.mapped + set.bytes.copied)
  })

  it('converts to requested types', async () => {
    using checkpoint = await openCheckpoint(await folder('on-the-way'))
    using exact = await loadParameters(backend, checkpoint, declarations, { types: { type: 'f32' }, repack: false })
    for (const name of Object.keys(requests)) {
      expect(exact.get(name).type).toBe('f32')
      expect(error(await valuesOf(exact, name), expected(name))).toBe(0)
    }
    using small = await loadParameters(backend, checkpoint, declarations, { types: { type: 'q4_0' }, repack: false })
    expect(small.get('thinker.linear.weight').type).toBe('q4_0')
    expect(small.get(longName).type).toBe('q8_0')
    expect(error(await valuesOf(small, 'thinker.linear.weight'), expected('thinker.linear.weight'))).toBeLessThan(0.12)
  })

  it('frees everything when aborted', async () => {
    using checkpoint = await openCheckpoint(await folder('aborted'))
    const before = backend.memory.objects
    await expect(
      loadParameters(backend, checkpoint, declarations, { signal: AbortSignal.abort(new Error('enough')) }),
    ).rejects.toThrow('enough')
    expect(backend.memory.objects).toBe(before)
  })
})

describe('converting', () => {
  it.each<[WeightType, number]>([
    ['f32', 0],
    ['bf16', 0.003],
    ['f16', 0.0005],
    ['q8_0', 0.01],
    ['q6_k', 0.025],
    ['q5_k', 0.05],
    ['q4_k', 0.1],
    ['q4_0', 0.12],
  ])('to %s keeps weights within a relative error of %d', async (type, tolerance) => {
    using checkpoint = await openCheckpoint(await folder(`source-${type}`))
    const output = join(root, `${type}.gguf`)
    const steps: ConvertProgress[] = []
    const result = await convertCheckpoint(backend, checkpoint, declarations, {
      type,
      output,
      onProgress: (step) => steps.push(step),
    })
    expect((await stat(output)).size).toBe(result.bytes)
    expect(steps.at(-1)).toMatchObject({ tensorsDone: 11, tensors: 11, bytesDone: result.bytes, bytes: result.bytes })
    expect(result.fallbacks.map(({ name }) => name)).toEqual(
      type.startsWith('q')
        ? expect.arrayContaining(['thinker.odd.weight', ...(type.endsWith('k') ? ['thinker.narrow.weight'] : [])])
        : [],
    )

    using converted = await openCheckpoint(output, { supported: ['TestModel'] })
    expect(converted.kind).toBe('converted')
    expect(await converted.readText('tokenizer.json')).toBe('{"tokens": "grüße"}')
    using set = await loadParameters(backend, converted, declarations, { repack: false })
    // All weights are used in place in the mapped file, except the code predictor's on Linux.
    const { type: stored, shape } = set.get(longName)
    const isCopied =
      process.platform === 'linux' && (await repackTypeFor(backend, stored, shape, 'matmul')) === undefined
    expect(set.bytes.copied).toBe(isCopied ? tensorBytes(stored, shape) : 0)
    expect(set.bytes.mapped + set.bytes.copied).toBe(estimateMemory(declarations, { type }).weights)
    for (const name of Object.keys(requests)) {
      expect(error(await valuesOf(set, name), expected(name)), name).toBeLessThanOrEqual(tolerance)
    }
    expect(set.get('thinker.norm.weight').type).toBe('f32')
  })

  it('supports a type per stage', async () => {
    using checkpoint = await openCheckpoint(await folder('stages'))
    const output = join(root, 'stages.gguf')
    await convertCheckpoint(backend, checkpoint, declarations, {
      type: 'q4_0',
      stages: { 'code-predictor': 'q4_0', talker: 'f16', code2wav: 'f32' },
      output,
    })
    const { metadata, tensors: stored } = await readGgufHeader(output)
    expect(metadata.get('omniserve.weights')).toBe('q4_0 (talker f16, code-predictor q4_0, code2wav f32)')
    // ggml limits names to 63 bytes, so full names are in the metadata.
    expect(Math.max(...stored.map(({ name }) => Buffer.byteLength(name)))).toBeLessThanOrEqual(63)
    using converted = await openCheckpoint(output)
    const types = Object.fromEntries([...converted.tensors].map(([name, { type }]) => [name, type]))
    expect(types).toMatchObject({
      [longName]: 'q4_0',
      'talker.embedding.weight': 'f16',
      'code2wav.conv.weight': 'f32',
      'thinker.linear.weight': 'q4_0',
      'thinker.norm.weight': 'f32',
    })
    expect(converted.describeTypes()).toBe('q4_0, f32, f16')
  })

  it('splits large tensors into chunks of whole rows', async () => {
    // Over 2^24 elements, with rows that do not divide the chunk.
    const [rows, columns] = [2900, 6016]
    const wide = values(rows * columns, 3)
    const big = {
      'thinker.big.weight': { dtype: 'F32', shape: [rows, columns], data: new Uint8Array(wide.buffer) },
    } as const
    const bigDeclaration = declare({ 'thinker.big.weight': { shape: [columns, rows], use: 'matmul' } })
    using checkpoint = await openCheckpoint(await folder('big', big))
    const output = join(root, 'big.gguf')
    await convertCheckpoint(backend, checkpoint, bigDeclaration, { type: 'q8_0', output })
    using converted = await openCheckpoint(output)
    using set = await loadParameters(backend, converted, bigDeclaration, { repack: false })
    const last = await rowsOf(set.get('thinker.big.weight'), columns, rows - 300, rows)
    expect(error(last, wide.subarray(-columns * 300))).toBeLessThan(0.01)
  })

  it('leaves no file when aborted or refused', async () => {
    const source = await folder('left')
    using checkpoint = await openCheckpoint(source)
    const stop = new AbortController()
    const output = join(source, 'out.gguf')
    await expect(
      convertCheckpoint(backend, checkpoint, declarations, {
        type: 'q4_k',
        output,
        signal: stop.signal,
        onProgress: () => stop.abort(new Error('enough')),
      }),
    ).rejects.toThrow('enough')
    await expect(
      convertCheckpoint(backend, checkpoint, declarations.slice(1), { type: 'q4_k', output }),
    ).rejects.toMatchObject({ code: 'bad_checkpoint' })
    expect((await readdir(source)).filter((file) => file.includes('gguf'))).toEqual([])
    await expect(
      convertCheckpoint(backend, checkpoint, declarations, { type: 'q8_0', output: join(root, 'no-folder', 'x.gguf') }),
    ).rejects.toMatchObject({ code: 'bad_checkpoint', message: expect.stringContaining('cannot write') as string })
    await convertCheckpoint(backend, checkpoint, declarations, { type: 'q8_0', output })
    using converted = await openCheckpoint(output)
    await expect(
      convertCheckpoint(backend, converted, declarations, { type: 'q4_0', output: join(root, 'again.gguf') }),
    ).rejects.toThrow('already converted')
  })

  it('twice at the same time to the same file gives one complete file', async () => {
    const source = await folder('twice')
    using checkpoint = await openCheckpoint(source)
    const output = join(source, 'out.gguf')
    const convert = () => convertCheckpoint(backend, checkpoint, declarations, { type: 'q8_0', output })
    const results = await Promise.all([convert(), convert()])
    expect(results.map(({ path }) => path)).toEqual([output, output])
    expect((await readdir(source)).filter((file) => file.includes('gguf'))).toEqual(['out.gguf'])
    expect((await stat(output)).size).toBe(results[0].bytes)
  })

  it('removes the partial file of an ended conversion, but not that of a running one', async () => {
    const source = await folder('killed')
    using checkpoint = await openCheckpoint(source)
    for (const name of ['out.gguf.old.partial', 'out.gguf.new.partial', 'other.gguf.old.partial'])
      await writeFile(join(source, name), 'x')
    const hourAgo = new Date(Date.now() - 3_600_000)
    for (const name of ['out.gguf.old.partial', 'other.gguf.old.partial'])
      await utimes(join(source, name), hourAgo, hourAgo)
    await convertCheckpoint(backend, checkpoint, declarations, { type: 'q8_0', output: join(source, 'out.gguf') })
    expect((await readdir(source)).filter((file) => file.includes('gguf')).toSorted()).toEqual([
      'other.gguf.old.partial',
      'out.gguf',
      'out.gguf.new.partial',
    ])
  })

  it('writes the same bytes to a disk that accepts only a part of each write', async () => {
    const source = await folder('short')
    using checkpoint = await openCheckpoint(source)
    const convert = (name: string) =>
      convertCheckpoint(backend, checkpoint, declarations, { type: 'q8_0', output: join(source, name) })
    await convert('whole.gguf')
    await withShortWrites(() => convert('short.gguf'))
    expect(await readFile(join(source, 'short.gguf'))).toEqual(await readFile(join(source, 'whole.gguf')))
  })

  it.each<[string, number, WeightType, string]>([
    [
      'above the range of f16',
      70_000,
      'f16',
      'thinker.big.weight contains values up to 70000, out of the range of f16',
    ],
    [
      'above the range of a block scale',
      1e9,
      'q4_0',
      'thinker.big.weight contains values up to 1000000000, out of the range of q4_0',
    ],
    ['infinite', Number.POSITIVE_INFINITY, 'f16', 'infinite or NaN'],
    ['NaN', Number.NaN, 'bf16', 'infinite or NaN'],
    ['NaN, kept as stored', Number.NaN, 'f32', 'infinite or NaN'],
  ])('refuses a value that is %s', async (name, value, type, message) => {
    const data = values(256 * 4, 1)
    data[300] = value
    const big = { dtype: 'F32', shape: [4, 256], data: new Uint8Array(data.buffer) } as const
    using checkpoint = await openCheckpoint(await folder(`big-${name}`, { 'thinker.big.weight': big }))
    const bigDeclaration = declare({ 'thinker.big.weight': { shape: [256, 4], use: 'matmul' } })
    await expect(
      convertCheckpoint(backend, checkpoint, bigDeclaration, { type, output: join(root, 'big.gguf') }),
    ).rejects.toMatchObject({ code: 'bad_checkpoint', message: expect.stringContaining(message) as string })
  })

  it('keeps the largest value of f16', async () => {
    const data = values(256 * 4, 1)
    data[300] = 65_504
    const big = { dtype: 'F32', shape: [4, 256], data: new Uint8Array(data.buffer) } as const
    using checkpoint = await openCheckpoint(await folder('largest', { 'thinker.big.weight': big }))
    const bigDeclaration = declare({ 'thinker.big.weight': { shape: [256, 4], use: 'matmul' } })
    const output = join(root, 'largest.gguf')
    await convertCheckpoint(backend, checkpoint, bigDeclaration, { type: 'f16', output })
    using converted = await openCheckpoint(output)
    using set = await loadParameters(backend, converted, bigDeclaration, { repack: false })
    expect((await valuesOf(set, 'thinker.big.weight'))[300]).toBe(65_504)
  })

  it('keeps the event loop free', async () => {
    const [rows, columns] = [1024, 4096]
    const big = { 'thinker.big.weight': bf16([rows, columns], 3) }
    const bigDeclaration = declare({ 'thinker.big.weight': { shape: [columns, rows], use: 'matmul' } })
    using checkpoint = await openCheckpoint(await folder('free', big))
    let done = false
    const conversion = convertCheckpoint(backend, checkpoint, bigDeclaration, {
      type: 'q4_k',
      output: join(root, 'free.gguf'),
    }).then(() => (done = true))
    let turns = 0
    while (!done) {
      await setImmediate()
      turns += 1
    }
    await conversion
    expect(turns).toBeGreaterThan(100)
  })
})

describe('a converted file', () => {
  let good: string
  beforeAll(async () => {
    using checkpoint = await openCheckpoint(await folder('good'))
    good = join(root, 'good.gguf')
    await convertCheckpoint(backend, checkpoint, declarations, { type: 'q8_0', output: good })
  })
  const damage = async (name: string, change: (bytes: Buffer) => Buffer): Promise<string> => {
    const path = join(root, `${name}.gguf`)
    await writeFile(path, change(await readFile(good)))
    return path
  }
  const badCheckpoint = (message: string) => ({
    code: 'bad_checkpoint',
    message: expect.stringContaining(message) as string,
  })

  it('that is truncated is refused', async () => {
    const path = await damage('cut', (bytes) => bytes)
    for (const length of [0, 3, 20, 400, 3000, (await stat(good)).size - 200]) {
      await truncate(path, 0)
      await writeFile(path, (await readFile(good)).subarray(0, length))
      await expect(openCheckpoint(path), `${length} bytes`).rejects.toMatchObject({ code: 'bad_checkpoint' })
    }
  })

  it('of another format or version is refused', async () => {
    await expect(
      openCheckpoint(await damage('magic', (b) => Buffer.concat([Buffer.from('GGML'), b.subarray(4)]))),
    ).rejects.toMatchObject(badCheckpoint('does not begin with GGUF'))
    await expect(
      openCheckpoint(
        await damage('version', (b) => {
          b.writeUInt32LE(2, 4)
          return b
        }),
      ),
    ).rejects.toMatchObject(badCheckpoint('version 2'))
    await expect(
      openCheckpoint(
        await damage('foreign', (b) => {
          b.write('omniserve.xxxxxx', b.indexOf('omniserve.format'))
          return b
        }),
      ),
    ).rejects.toMatchObject(badCheckpoint('another program'))
    await expect(
      openCheckpoint(
        await damage('newer', (b) => {
          b.writeUInt32LE(9, b.indexOf('omniserve.format') + 'omniserve.format'.length + 4)
          return b
        }),
      ),
    ).rejects.toMatchObject(badCheckpoint('newer omniserve (format 9)'))
  })

  it('with an unsupported quantisation is refused', async () => {
    const path = await damage('iq', (b) => {
      const name = Buffer.from('thinker.linear.weight')
      // The last occurrence is the tensor's record: name, number of dimensions, two dimensions, type.
      b.writeUInt32LE(22, b.lastIndexOf(name) + name.length + 4 + 16)
      return b
    })
    await expect(openCheckpoint(path)).rejects.toMatchObject(
      badCheckpoint('thinker.linear.weight is quantised in a way'),
    )
  })

  it('that does not match the model is refused', async () => {
    using checkpoint = await openCheckpoint(good)
    const other = declare({
      ...requests,
      'thinker.linear.weight': { shape: [128, 128], use: 'matmul' },
      more: { shape: [1] },
    })
    await expect(loadParameters(backend, checkpoint, other)).rejects.toMatchObject({
      code: 'bad_checkpoint',
      message: expect.stringMatching(/missing more; misshapen thinker\.linear\.weight is \[256, 64\]/) as string,
    })
  })

  it('is not modified by loading', async () => {
    const handle = await open(good, 'r')
    const before = await handle.stat()
    using checkpoint = await openCheckpoint(good)
    using set = await loadParameters(backend, checkpoint, declarations)
    expect(set.names).toHaveLength(11)
    expect((await handle.stat()).mtimeMs).toBe(before.mtimeMs)
    await handle.close()
  })
})

describe('the type of a weight', () => {
  const declared = (name: string, row: number, precision: 'exact' | 'fine' | 'coarse') =>
    ({ name, shape: [row, 4, 1, 1], precision }) as const

  it.each<[string, number, 'exact' | 'fine' | 'coarse', WeightType, string]>([
    ['thinker.x', 256, 'coarse', 'q4_k', 'q4_k'],
    ['thinker.x', 384, 'coarse', 'q4_k', 'q4_0'],
    ['thinker.x', 384, 'coarse', 'q6_k', 'q8_0'],
    ['thinker.x', 16, 'coarse', 'q4_k', 'f16'],
    ['thinker.x', 256, 'fine', 'q4_k', 'q8_0'],
    ['thinker.x', 256, 'fine', 'f16', 'f16'],
    ['thinker.x', 256, 'exact', 'q4_k', 'f32'],
    ['thinker.audio_tower.x', 256, 'fine', 'q4_0', 'q8_0'],
    ['thinker.visual.x', 4304, 'fine', 'q4_0', 'f16'],
    ['talker.model.x', 256, 'coarse', 'q4_0', 'q4_0'],
    ['talker.code_predictor.x', 256, 'fine', 'q4_0', 'q8_0'],
    ['talker.code_predictor.x', 256, 'fine', 'bf16', 'bf16'],
    ['code2wav.x', 256, 'fine', 'q6_k', 'q8_0'],
  ])('%s with rows of %d, %s, as %s becomes %s', (name, row, precision, type, result) => {
    expect(chooseType(declared(name, row, precision), { type })).toBe(result)
  })

  it('is parsed from the command line', () => {
    expect(parseWeightType('Q4_K')).toBe('q4_k')
    expect(() => parseWeightType('q3_k')).toThrow('quantisation q3_k is not supported; choose one of q4_0, q4_k')
    expect(parseWeightStage('talker')).toBe('talker')
    expect(() => parseWeightStage('vocoder')).toThrow('stages are thinker, audio-encoder')
  })
})

describe('memory', () => {
  // Half a billion weights: 1.1 GB as f16, 0.3 GB as q4_0.
  const large = declare({
    'thinker.x.weight': { shape: [8192, 65536], use: 'matmul' },
    'thinker.norm': { shape: [8192] },
  })

  it('is estimated per type and stage', () => {
    const f16 = estimateMemory(large, { type: 'f16' })
    expect(f16.weights).toBe(8192 * 65536 * 2 + 8192 * 4)
    expect(f16.stages).toEqual({ thinker: f16.weights })
    expect(estimateMemory(large, { type: 'q4_0' }).weights).toBe((8192 * 65536 * 18) / 32 + 8192 * 4)
  })

  it('that is too small is reported before loading, with the type that would fit', () => {
    const need = { weights: estimateMemory(large, { type: 'f16' }).weights, working: 50_000_000 }
    expect(() => checkMemory(need, large, 'the-folder', 4e9)).not.toThrow()
    expect(() => checkMemory(need, large, 'the-folder', 0.7e9)).toThrow(
      'the-folder needs 1.1 GB of memory (1.1 GB of it weights) and 0.7 GB is available: converted with --quantize q8_0 it would fit, needing 0.6 GB',
    )
    expect(() => checkMemory(need, large, 'the-folder', 0.4e9)).toThrow('--quantize q4_k it would fit')
    expect(() => checkMemory(need, large, 'the-folder', 0.1e9)).toThrow(
      /no smaller type would fit \(q4_0 needs [\d.]+ [GM]B\)/,
    )
    expect(() => checkMemory(need, large, 'the-folder', 0.1e9)).toThrow(
      expect.objectContaining({ code: 'bad_checkpoint' }),
    )
    expect(() => checkMemory({ weights: 1, working: 1 }, large, 'x')).not.toThrow()
  })
})
