/**
 * Tests of devices other than the CPU: run with OMNISERVE_TEST_DEVICE, on Mesa's software driver by testing/vulkan.sh.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import type { Backend } from './backend.ts'
import { buildGraph } from './graph.ts'
import { loadBackend } from './load-backend.ts'
import { relativeError, repeatableNumbers } from './numeric-check.ts'
import { allocateTensors } from './tensor-buffer.ts'
import { deviceLimit, exactDevice, testDevice } from './test-device.ts'

const SIZE = 256
/** The width of the self-test's input, whose kernels are already compiled. */
const COLUMNS = 3

describe.skipIf(testDevice === 'cpu')(`on ${testDevice}`, () => {
  let backend: Backend

  beforeAll(async () => {
    backend = await loadBackend({ device: testDevice, threads: 2, precision: exactDevice ? 'exact' : 'fast' })
  })

  afterAll(() => {
    expect(backend.memory.objects).toBe(0)
    backend[Symbol.dispose]()
  })

  const random = repeatableNumbers(7)
  const w = Float32Array.from({ length: SIZE * SIZE }, () => random() / 16)
  const x = Float32Array.from({ length: SIZE * COLUMNS }, random)

  /** Multiplies x by w `times` times, and adds x. */
  const chain = (times: number) =>
    buildGraph(backend, (g) => {
      const matrix = g.input('w', 'f32', [SIZE, SIZE])
      const input = g.input('x', 'f32', [SIZE, COLUMNS])
      let y = input
      for (let i = 0; i < times; i++) y = g.mulMat(matrix, y, { exact: true })
      return { y: g.add(y, input) }
    })

  const expected = (times: number): Float32Array => {
    let y = x
    for (let i = 0; i < times; i++) {
      const next = new Float32Array(SIZE * COLUMNS)
      for (let m = 0; m < COLUMNS; m++)
        for (let n = 0; n < SIZE; n++) {
          let sum = 0
          for (let k = 0; k < SIZE; k++) sum += w[n * SIZE + k]! * y[m * SIZE + k]!
          next[m * SIZE + n] = sum
        }
      y = next
    }
    return y.map((value, i) => value + x[i]!)
  }

  it('computes a graph without weights on the device', async () => {
    using graph = chain(2)
    const { y } = await graph.run({ w, x })
    expect(graph.cpuFallbacks).toEqual([])
    expect(relativeError(y, expected(2))).toBeLessThan(deviceLimit(1e-5, 5e-3))
  })

  it('builds graphs while another graph computes', async () => {
    using long = chain(300)
    const running = long.run({ w, x })
    const results: Float32Array[] = []
    for (let i = 0; i < 3; i++) {
      using graph = chain(1)
      results.push((await graph.run({ w, x })).y)
    }
    await running
    for (const y of results) expect(relativeError(y, expected(1))).toBeLessThan(deviceLimit(1e-5, 5e-3))
  })

  it('rejects with the abort reason when the graph is done, and computes the next graph', async () => {
    using graph = chain(300)
    const controller = new AbortController()
    const running = graph.run({ w, x }, { signal: controller.signal })
    setImmediate(() => controller.abort(new Error('enough')))
    await expect(running).rejects.toThrow('enough')
    await expect(graph.run({ w, x }, { signal: controller.signal })).rejects.toThrow('enough')
    using next = chain(1)
    expect(relativeError((await next.run({ w, x })).y, expected(1))).toBeLessThan(deviceLimit(1e-5, 5e-3))
  })

  it('reports its memory', () => {
    const { free, total } = backend.deviceMemory()
    expect(total).toBeGreaterThan(0)
    expect(free).toBeLessThanOrEqual(total)
    expect(backend.availableMemory()).toBeGreaterThan(0)
    expect(backend.availableMemory()).toBeLessThanOrEqual(total)
  })

  it('reports an error when it is out of memory', async () => {
    expect(() => allocateTensors(backend, { big: { type: 'f32', shape: [2 ** 20, 2 ** 20] } })).toThrow(/out of memory/)
    using graph = buildGraph(backend, (g) => {
      const column = g.input('column', 'f32', [1, 2 ** 20])
      return { sum: g.sumRows(g.mulMat(column, column)) }
    })
    await expect(graph.run({ column: new Float32Array(2 ** 20) })).rejects.toThrow(/out of memory/)
    using next = chain(1)
    expect(relativeError((await next.run({ w, x })).y, expected(1))).toBeLessThan(deviceLimit(1e-5, 5e-3))
  })
})
