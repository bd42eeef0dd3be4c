import { afterAll, beforeAll, expect, it } from 'vitest'

import { largestDifference } from '../../testing/golden.ts'
import { declareParameters, loadedParameters, SnakeBeta } from './index.ts'
import { buildGraph, loadBackend, loadWeights, type Backend } from '../tensor/index.ts'

let backend: Backend

beforeAll(async () => {
  backend = await loadBackend({ device: 'cpu', threads: 1 })
})

afterAll(() => {
  backend[Symbol.dispose]()
})

// Rows of several time steps, of one (a prime number of steps), and channels that already fill a row.
it.each([
  [4, 12],
  [6, 1021],
  [3, 1],
  [1536, 5],
])('SnakeBeta is x + sin(x exp(alpha))^2 / exp(beta) for %i channels over %i time steps', async (channels, time) => {
  const value = (i: number): number => (((i * 7919) % 2003) / 1001.5 - 1) * 30
  const x = Float32Array.from({ length: channels * time }, (_, i) => value(i))
  const alpha = Float32Array.from({ length: channels }, (_, i) => (i % 7) / 4 - 0.8)
  const beta = Float32Array.from({ length: channels }, (_, i) => (i % 5) / 4 - 0.5)
  const declarations = declareParameters((parameters) => new SnakeBeta(parameters, channels))
  const source: Record<string, Float32Array> = { alpha, beta }
  using weights = await loadWeights(
    backend,
    declarations.map(({ name, shape, use }) => ({ name, shape, use, type: 'f32', source: source[name] ?? x })),
  )
  const snake = new SnakeBeta(loadedParameters(weights), channels)
  using graph = buildGraph(backend, (g) => ({ y: snake.forward(g, g.input('x', 'f32', [channels, time])) }))
  const { y } = await graph.run({ x })
  const expected = Float32Array.from(x, (input, i) => {
    const channel = i % channels
    // The argument is rounded to f32, as in the graph.
    const angle = Math.fround(input * Math.fround(Math.exp(alpha[channel] ?? 0)))
    return input + Math.sin(angle) ** 2 / (Math.exp(beta[channel] ?? 0) + 1e-9)
  })
  // Arguments reach 70, where f32 rounds to 4e-6.
  expect(largestDifference(y, expected)).toBeLessThan(2e-5)
})
