import { existsSync, mkdtempSync, readdirSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'

import {
  buildGraph,
  dequantize,
  FileMapping,
  halfToFloat,
  loadBackend,
  loadWeights,
  planWeights,
  quantize,
  rowBytes,
  tensorBytes,
  toHalf,
  fromHalf,
  type Backend,
  type TensorType,
  type WeightSet,
  type WeightSpec,
} from './index.ts'
import { relativeError } from './numeric-check.ts'
import { RepackWriter } from './repack-writer.ts'
import { repackTypeFor } from './repack.ts'
import { testDevice } from './test-device.ts'

let backend: Backend
let folder: string
beforeAll(async () => {
  backend = await loadBackend({ device: testDevice, threads: 2 })
  folder = mkdtempSync(join(tmpdir(), 'omniserve-weights-'))
})
afterAll(() => {
  expect(backend.memory).toEqual({ buffers: 0, contexts: 0, objects: 0 })
  backend[Symbol.dispose]()
  rmSync(folder, { recursive: true, force: true })
})

const values = (count: number, seed = 1): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(i * 0.37 + seed) * Math.cos(i * 0.011))

const K = 512
const N = 128
const x = values(K * 3, 9)

async function products(weights: WeightSet, name: string): Promise<Float32Array> {
  using graph = buildGraph(backend, (g) => ({ y: g.mulMat(weights.get(name, [K, N]), g.input('x', 'f32', [K, 3])) }))
  return (await graph.run({ x })).y
}

describe('number formats', () => {
  it.each<[TensorType, number]>([
    ['f32', 0],
    ['f16', 5e-4],
    ['bf16', 4e-3],
    ['q8_0', 0.01],
    ['q6_k', 0.03],
    ['q5_k', 0.05],
    ['q5_0', 0.06],
    ['q4_k', 0.09],
    ['q4_0', 0.11],
  ])('%s restores values with a relative error of at most %f', async (type, limit) => {
    const w = values(K * N)
    const stored = await quantize(backend, type, w, K)
    expect(stored.byteLength).toBe(tensorBytes(type, [K, N]))
    expect(relativeError(await dequantize(backend, type, stored, K), w)).toBeLessThanOrEqual(limit)
  })

  it('refuses rows that do not divide into blocks', async () => {
    expect(() => rowBytes('q4_k', 128)).toThrow(/a row of 128 elements cannot be stored as q4_k: its blocks hold 256/)
    await expect(quantize(backend, 'q8_0', new Float32Array(33), 33)).rejects.toThrow(/blocks hold 32/)
    await expect(quantize(backend, 'q8_0', new Float32Array(33), 32)).rejects.toThrow(
      /33 values do not divide into rows of 32/,
    )
  })

  it('rounds halves like the library', async () => {
    const w = Float32Array.from([
      0,
      -0,
      1,
      -2.5,
      65504,
      65519,
      70000,
      1e-8,
      6e-8,
      3.1e-5,
      0.1,
      1 / 3,
      Number.POSITIVE_INFINITY,
    ])
    const halves = new Uint16Array((await quantize(backend, 'f16', w, w.length)).buffer)
    expect([...w].map(toHalf)).toEqual([...halves])
    expect([...halves].map(fromHalf)).toEqual([...(await halfToFloat(backend, 'f16', halves))])
    expect([...(await halfToFloat(backend, 'bf16', Uint16Array.of(0x3f80, 0xc020)))]).toEqual([1, -2.5])
  })
})

describe('loading weights', () => {
  it('maps, copies and repacks them, with the same products', async () => {
    const w = values(K * N)
    const q4 = await quantize(backend, 'q4_0', w, K)
    const path = join(folder, 'weights.bin')
    writeFileSync(path, Buffer.concat([Buffer.alloc(64), q4, Buffer.from(w.buffer)]))
    for (const mode of ['map', 'read'] as const) {
      using mapping = FileMapping.open(path, { mode })
      expect(Buffer.from(mapping.bytes(64, q4.length)).equals(q4)).toBe(true)
      const spec = (
        name: string,
        use: WeightSpec['use'],
        type: TensorType,
        source: WeightSpec['source'],
      ): WeightSpec => ({ name, use, type, shape: [K, N], source })
      using weights = await loadWeights(backend, [
        spec('mapped', 'other', 'q4_0', { mapping, offset: 64 }),
        spec('copied', 'other', 'q4_0', q4),
        spec('repacked', 'matmul', 'q4_0', { mapping, offset: 64 }),
        spec('plain', 'matmul', 'f32', { mapping, offset: 64 + q4.length }),
      ])
      if (testDevice === 'cpu') {
        expect(weights.bytes.mapped).toBe(q4.length + w.byteLength)
        expect(weights.bytes.copied).toBe(q4.length)
      } else expect(weights.bytes).toEqual({ mapped: 0, copied: 3 * q4.length + w.byteLength, repacked: 0 })
      const mapped = await products(weights, 'mapped')
      expect(await products(weights, 'copied')).toEqual(mapped)
      expect(relativeError(await products(weights, 'repacked'), mapped)).toBeLessThan(1e-2)
      expect(relativeError(mapped, await products(weights, 'plain'))).toBeLessThan(0.15)
      const repacked = weights.get('repacked')
      if (repacked.repacked) {
        expect(() => buildGraph(backend, (g) => ({ y: g.getRows(repacked, g.input('i', 'i32', [1])) }))).toThrow(
          /repacked for matrix products/,
        )
      }
    }
  })

  it.each(['f32', 'f16', 'q8_0', 'q4_0'] as const)(
    'plans the memory of %s weights before they are loaded',
    async (type) => {
      const stored = type === 'f32' ? values(K * N) : await quantize(backend, type, values(K * N), K)
      const source = type === 'f16' ? new Uint16Array(stored.buffer) : stored
      const spec: WeightSpec = { name: 'w', type, shape: [K, N], use: 'matmul', source }
      const plan = await planWeights(backend, [spec])
      expect(plan.cached).toBe(false)
      const planned = plan.stored - plan.repackable + plan.repacked
      const before = backend.memory.buffers
      using weights = await loadWeights(backend, [spec])
      // Repacked weights start at a page, and their buffer ends with a page.
      const pages = weights.get('w').repacked ? 2 * 65_536 : 0
      expect(backend.memory.buffers - before).toBe(planned + pages)
      expect(planned).toBeGreaterThanOrEqual(tensorBytes(type, [K, N]))
    },
  )

  it('splits weights into buffers of the size that a device supports', async () => {
    const specs = Array.from({ length: 5 }, (_, i): WeightSpec => {
      return { name: `w${i}`, use: 'matmul', type: 'f32', shape: [K, N], source: values(K * N, i + 1) }
    })
    const objects = backend.memory.objects
    using one = await loadWeights(backend, specs, { repack: false })
    const inOne = backend.memory.objects - objects
    using split = await loadWeights(backend, specs, { repack: false, largestBuffer: 2 * tensorBytes('f32', [K, N]) })
    expect(backend.memory.objects - objects - inOne).toBe(inOne + 2)
    // A weight that is larger than a buffer gets its own one.
    using oneEach = await loadWeights(backend, specs, { repack: false, largestBuffer: 100 })
    for (const { name } of specs) {
      const expected = await products(one, name)
      expect(await products(split, name)).toEqual(expected)
      expect(await products(oneEach, name)).toEqual(expected)
    }
    expect(one.bytes).toEqual(split.bytes)
  })

  it('caches repacked weights in a file and maps it', async () => {
    const directory = join(folder, 'cache')
    const specs = async (seed: number): Promise<WeightSpec[]> => [
      {
        name: 'a',
        type: 'q4_0',
        shape: [K, N],
        use: 'matmul',
        source: await quantize(backend, 'q4_0', values(K * N, seed), K),
      },
      {
        name: 'e',
        type: 'q4_0',
        shape: [K, N, 4],
        use: 'experts',
        source: await quantize(backend, 'q4_0', values(K * N * 4, seed), K),
      },
    ]
    const repackCache = { directory, key: 'test' }
    const planned = await planWeights(backend, await specs(1), repackCache)
    using first = await loadWeights(backend, await specs(1), { repackCache })
    expect(planned).toMatchObject({ cached: false })
    if (first.bytes.repacked === 0) return
    expect(first.bytes.repacked).toBe(planned.repacked)
    expect(await planWeights(backend, await specs(1), repackCache)).toEqual({ ...planned, cached: true })
    // Weights that have just been written are pages of the file, as in later loads.
    expect(first.mappedBytes).toBe(planned.repacked)
    await first.prefetch()
    const expected = await products(first, 'a')
    using uncached = await loadWeights(backend, await specs(1))
    expect(uncached.mappedBytes).toBe(0)
    expect(await products(uncached, 'a')).toEqual(expected)
    // One file per buffer type: some processors have one for matrices and another for experts.
    const bufferTypes = new Set([
      await repackTypeFor(backend, 'q4_0', [K, N, 1, 1], 'matmul'),
      await repackTypeFor(backend, 'q4_0', [K, N, 4, 1], 'experts'),
    ])
    expect(readdirSync(directory)).toHaveLength(bufferTypes.size)
    const progress: number[] = []
    // Other weights under the same key show that the file is used.
    using second = await loadWeights(backend, await specs(2), {
      repackCache,
      onProgress: (fraction) => progress.push(fraction),
    })
    expect(second.bytes).toMatchObject({ repacked: 0, copied: 0 })
    expect(second.mappedBytes).toBe(planned.repacked)
    await second.prefetch()
    await expect(second.prefetch(AbortSignal.abort(new Error('stop')))).rejects.toThrow('stop')
    expect(progress.at(-1)).toBe(1)
    expect(await products(second, 'a')).toEqual(expected)
    // A damaged file is rewritten. Weights that are mapped to it must not be read any more.
    const [file] = readdirSync(directory)
    truncateSync(join(directory, file ?? ''), 70_000)
    using third = await loadWeights(backend, await specs(1), { repackCache })
    expect(third.bytes.repacked).toBeGreaterThan(0)
    expect(await products(third, 'a')).toEqual(expected)
    // Unfinished files of processes that have ended, or have stopped writing, are removed.
    const ended = join(directory, 'older.X.0.repacked.999999999.tmp')
    const stopped = join(directory, `older.X.0.repacked.${process.ppid}.tmp`)
    const writing = join(directory, `test.X.0.repacked.${process.ppid}.tmp`)
    for (const path of [ended, stopped, writing]) writeFileSync(path, '')
    utimesSync(stopped, 0, 0)
    using again = await loadWeights(backend, await specs(1), { repackCache })
    expect(again.bytes.repacked).toBe(0)
    expect([ended, stopped, writing].map((path) => existsSync(path))).toEqual([false, false, true])
    rmSync(writing)
    // Other weights under the key replace all of its files, but no files of other keys.
    writeFileSync(join(directory, 'test2.X.0.repacked'), '')
    using fourth = await loadWeights(backend, (await specs(1)).slice(0, 1), { repackCache })
    expect(fourth.names).toEqual(['a'])
    expect(readdirSync(directory).filter((name) => name !== 'test2.X.0.repacked')).toHaveLength(1)
    expect(readdirSync(directory)).toHaveLength(2)
  })

  it('keeps repacked weights in memory when the cache cannot be written', async ({ skip }) => {
    const spec = (name: string, seed: number): Promise<WeightSpec> =>
      quantize(backend, 'q4_0', values(K * N, seed), K).then((source) => {
        return { name, type: 'q4_0', shape: [K, N], use: 'matmul', source }
      })
    const specs = [await spec('a', 1), await spec('b', 2)]
    using plain = await loadWeights(backend, specs)
    skip(plain.bytes.repacked === 0, 'this processor repacks nothing')
    const blocked = join(folder, 'no-folder')
    writeFileSync(blocked, '')
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue()
    using weights = await loadWeights(backend, specs, { repackCache: { directory: blocked, key: 'test' } })
    expect(warn).toHaveBeenCalledWith(expect.stringMatching(/could not be cached in .*no-folder/))
    expect(weights.mappedBytes).toBe(0)
    for (const name of ['a', 'b']) expect(await products(weights, name)).toEqual(await products(plain, name))
    // A disk that becomes full: the written part stays mapped, the rest stays in memory.
    const directory = join(folder, 'full')
    const finish = vi.spyOn(RepackWriter.prototype, 'finish').mockImplementation(async function (this: RepackWriter) {
      await this[Symbol.asyncDispose]()
      return false
    })
    using partly = await loadWeights(backend, specs, { repackCache: { directory, key: 'test' } })
    finish.mockRestore()
    expect(partly.mappedBytes).toBeGreaterThan(0)
    expect(readdirSync(directory)).toEqual([])
    for (const name of ['a', 'b']) expect(await products(partly, name)).toEqual(await products(plain, name))
    vi.restoreAllMocks()
  })

  it('reports errors in its arguments, and frees everything', async () => {
    const before = backend.memory
    const path = join(folder, 'short.bin')
    writeFileSync(path, Buffer.alloc(100))
    using mapping = FileMapping.open(path)
    const load = (spec: Partial<WeightSpec>): Promise<WeightSet> =>
      loadWeights(backend, [
        { name: 'w', type: 'f32', shape: [4, 4], use: 'other', source: new Float32Array(16), ...spec },
      ])
    await expect(load({ source: { mapping, offset: 64 } })).rejects.toThrow(
      /weight w ends beyond the end of .*short\.bin: the file is cut off/,
    )
    await expect(load({ source: new Float32Array(15) })).rejects.toThrow(/takes 64 bytes, 60 given/)
    const one: WeightSpec = { name: 'w', type: 'f32', shape: [1], use: 'other', source: new Float32Array(1) }
    await expect(loadWeights(backend, [one, one])).rejects.toThrow(/weight w is given twice/)
    await expect(loadWeights(backend, [one], { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop')
    using weights = await loadWeights(backend, [one])
    expect(() => weights.get('v')).toThrow(/no weight v/)
    expect(() => weights.get('w', [2])).toThrow(/should be \[2\]/)
    expect(() => FileMapping.open(join(folder, 'none.bin'))).toThrow(/ENOENT/)
    expect(() => mapping.bytes(90, 20)).toThrow(/has 100 bytes; 20 from 90/)
    weights[Symbol.dispose]()
    expect(backend.memory).toEqual(before)
  })
})
