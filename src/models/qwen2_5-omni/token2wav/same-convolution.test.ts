/**
 * Convolutions against plain loops, in shared working memory (the CPU's way) and with gathered windows (other
 * devices').
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { largestDifference } from '../../../../testing/golden.ts'
import { declareParameters, layoutShape, loadedParameters, rearrange, type Parameters } from '../../../nn/index.ts'
import { buildGraph, loadBackend, loadWeights, type Backend, type WeightSet } from '../../../tensor/index.ts'
import { SameConv1d, SameConvTranspose1d } from './same-convolution.ts'

let backend: Backend

beforeAll(async () => {
  backend = await loadBackend({ device: 'cpu', threads: 1 })
})

afterAll(() => {
  backend[Symbol.dispose]()
})

const wave = (count: number, step: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(i * step + 1))

async function load(
  construct: (parameters: Parameters) => unknown,
  stored: Readonly<Record<string, { shape: number[]; values: Float32Array }>>,
): Promise<WeightSet> {
  return loadWeights(
    backend,
    declareParameters(construct).map(({ name, shape, use, layout }) => {
      const found = stored[name]
      if (!found) throw new Error(`no ${name}`)
      expect([...layoutShape(layout, found.shape), 1, 1, 1].slice(0, 4)).toEqual([...shape])
      return { name, shape, use, type: 'f32', source: rearrange(layout, found.values, found.shape) }
    }),
  )
}

describe('a convolution of the same length', () => {
  it.each([
    { channels: 4, out: 6, kernel: 3, dilation: 1, frames: 9 },
    { channels: 4, out: 6, kernel: 3, dilation: 5, frames: 17 },
    { channels: 3, out: 3, kernel: 11, dilation: 3, frames: 40 },
    { channels: 5, out: 2, kernel: 7, dilation: 2, frames: 3 },
    { channels: 5, out: 1, kernel: 1, dilation: 1, frames: 4 },
    { channels: 2, out: 4, kernel: 3, dilation: 4, frames: 1 },
  ])('$channels to $out channels, kernel $kernel, dilation $dilation, $frames frames', async (size) => {
    const { channels, out, kernel, dilation, frames } = size
    const construct = (parameters: Parameters): SameConv1d =>
      new SameConv1d(parameters, channels, out, { kernel, dilation })
    const weight = { shape: [out, channels, kernel], values: wave(out * channels * kernel, 0.7) }
    const bias = { shape: [out], values: wave(out, 0.3) }
    using weights = await load(construct, { weight, bias })
    const convolution = construct(loadedParameters(weights))
    const x = wave(channels * frames, 1.3)
    const expected = Float32Array.from({ length: out * frames }, (_, i) => {
      const [channel, frame] = [i % out, Math.floor(i / out)]
      let sum = bias.values[channel] ?? 0
      for (let k = 0; k < kernel; k++) {
        const from = frame + k * dilation - (dilation * (kernel - 1)) / 2
        if (from < 0 || from >= frames) continue
        for (let c = 0; c < channels; c++)
          sum += (weight.values[(channel * channels + c) * kernel + k] ?? 0) * (x[from * channels + c] ?? 0)
      }
      return sum
    })
    const sizes = convolution.workspaceFor(frames)
    using graph = buildGraph(backend, (g) => {
      const input = g.input('x', 'f32', [channels, frames])
      const workspace = { workspace: g.workspace(sizes.workspace), zeros: g.scale(g.arange(sizes.zeros), 0) }
      // Twice: what the first leaves in the workspace must not affect the second.
      const first = convolution.forward(g, g.scale(input, 1e6), workspace)
      return { first, inWorkspace: convolution.forward(g, input, workspace), gathered: convolution.forward(g, input) }
    })
    const { inWorkspace, gathered } = await graph.run({ x })
    expect(largestDifference(inWorkspace, expected)).toBeLessThan(1e-5)
    expect(largestDifference(gathered, expected)).toBeLessThan(1e-5)
  })
})

describe('a transposed convolution', () => {
  it.each([
    { channels: 4, out: 3, kernel: 11, stride: 5, frames: 7 },
    { channels: 3, out: 5, kernel: 4, stride: 2, frames: 6 },
    { channels: 3, out: 2, kernel: 3, stride: 3, frames: 4 },
    { channels: 2, out: 3, kernel: 9, stride: 1, frames: 5 },
    { channels: 4, out: 3, kernel: 7, stride: 3, frames: 1 },
  ])('kernel $kernel, stride $stride, $frames frames', async ({ channels, out, kernel, stride, frames }) => {
    const construct = (parameters: Parameters): SameConvTranspose1d =>
      new SameConvTranspose1d(parameters, channels, out, { kernel, stride })
    const weight = { shape: [channels, out, kernel], values: wave(out * channels * kernel, 0.7) }
    const bias = { shape: [out], values: wave(out, 0.3) }
    using weights = await load(construct, { weight, bias })
    const convolution = construct(loadedParameters(weights))
    const x = wave(channels * frames, 1.3)
    const padding = (kernel - stride) / 2
    const expected = new Float32Array(out * frames * stride).map((_, i) => bias.values[i % out] ?? 0)
    for (let frame = 0; frame < frames; frame++) {
      for (let k = 0; k < kernel; k++) {
        const at = frame * stride + k - padding
        if (at < 0 || at >= frames * stride) continue
        for (let c = 0; c < channels; c++) {
          for (let o = 0; o < out; o++)
            expected[at * out + o] =
              (expected[at * out + o] ?? 0) +
              (weight.values[(c * out + o) * kernel + k] ?? 0) * (x[frame * channels + c] ?? 0)
        }
      }
    }
    using graph = buildGraph(backend, (g) => ({ y: convolution.forward(g, g.input('x', 'f32', [channels, frames])) }))
    const { y } = await graph.run({ x })
    expect(largestDifference(y, expected)).toBeLessThan(1e-5)
  })
})
