/** A scheduler, as GPUs have, accepts graphs up to the size given at its creation: the graph's `maxNodes`. */

import { afterAll, beforeAll, expect, it } from 'vitest'

import { withScheduler } from '../../testing/scheduled-backend.ts'
import type { Backend } from './backend.ts'
import { buildGraph } from './graph.ts'
import { loadBackend } from './load-backend.ts'

let backend: Backend

beforeAll(async () => {
  backend = await loadBackend({ device: 'cpu', threads: 1 })
})

afterAll(() => {
  expect(backend.memory.objects).toBe(0)
  backend[Symbol.dispose]()
})

it('runs a graph with more nodes than the default limit', async () => {
  const nodes = 9000
  using scheduled = withScheduler(backend)
  using graph = buildGraph(
    scheduled.backend,
    (g) => {
      let x = g.input('x', 'f32', [4])
      const one = g.input('one', 'f32', [4])
      for (let i = 0; i < nodes - 100; i++) x = g.add(x, one)
      return { x }
    },
    { maxNodes: nodes },
  )
  expect(graph.nodes).toBe(nodes - 100)
  const { x } = await graph.run({ x: Float32Array.of(1, 2, 3, 4), one: new Float32Array(4).fill(1) })
  expect(x[0]).toBe(1 + nodes - 100)
})
