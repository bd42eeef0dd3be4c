import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { allocateTensors, buildGraph, loadBackend, type Backend } from './index.ts'

let backend: Backend
beforeAll(async () => {
  backend = await loadBackend({ device: 'cpu', threads: 2 })
})
afterAll(() => backend[Symbol.dispose]())

describe('graphs', () => {
  it('multiplies matrices', async () => {
    using graph = buildGraph(backend, (g) => {
      const a = g.input('a', 'f32', [3, 2])
      const b = g.input('b', 'f32', [3, 4])
      return { product: g.mulMat(a, b) }
    })
    const a = Float32Array.from({ length: 6 }, (_, i) => i)
    const b = Float32Array.from({ length: 12 }, (_, i) => i - 4)
    const { product } = await graph.run({ a, b })
    const expected = Array.from({ length: 8 }, (_, i) => {
      const m = i >> 1
      const n = i & 1
      return [0, 1, 2].reduce((sum, k) => sum + (a[n * 3 + k] ?? 0) * (b[m * 3 + k] ?? 0), 0)
    })
    expect([...product]).toEqual(expected)
  })
  it('frees', () => {
    const before = backend.memory
    const buffer = allocateTensors(backend, { x: { type: 'f32', shape: [1024, 1024] } })
    expect(backend.memory.buffers).toBeGreaterThanOrEqual(before.buffers + (4 << 20))
    buffer[Symbol.dispose]()
    expect(backend.memory).toEqual(before)
  })
})
