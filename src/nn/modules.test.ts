import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import {
  buildGraph,
  loadBackend,
  loadWeights,
  quantize,
  type Backend,
  type GraphBuilder,
  type Tensor,
  type TensorType,
} from '../tensor/index.ts'
import {
  CausalConv1d,
  CausalConvTranspose1d,
  Conv2d,
  ConvNeXtBlock,
  declareParameters,
  GatedMlp,
  layoutShape,
  LayerNorm,
  loadedParameters,
  MixtureOfExperts,
  rearrange,
  type ParameterDeclaration,
  type Parameters,
} from './index.ts'
import { maximumDifference, random, referenceLinear } from './test-references.ts'
import { deviceLimit, testDevice } from '../tensor/test-device.ts'

let backend: Backend
beforeAll(async () => {
  backend = await loadBackend({ device: testDevice, threads: 2 })
})
afterAll(() => {
  expect(backend.memory.objects).toBe(0)
  backend[Symbol.dispose]()
})

/** Runs a module with weights given by the checkpoint's names, in PyTorch order. */
async function run<M extends { forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> }>(
  construct: (p: Parameters) => M,
  checkpoint: Readonly<Record<string, { shape: number[]; values: Float32Array }>>,
  x: { shape: number[]; values: Float32Array },
  type: TensorType = 'f32',
): Promise<Float32Array> {
  const stored = (declaration: ParameterDeclaration): Float32Array => {
    const found = checkpoint[declaration.name]
    if (!found) throw new Error(`no ${declaration.name} in ${Object.keys(checkpoint).join(', ')}`)
    expect(layoutShape(declaration.layout, found.shape).concat([1, 1, 1]).slice(0, 4)).toEqual([...declaration.shape])
    return rearrange(declaration.layout, found.values, found.shape)
  }
  using weights = await loadWeights(
    backend,
    declareParameters(construct).map((d) => ({ name: d.name, type, shape: d.shape, use: d.use, source: stored(d) })),
  )
  const module = construct(loadedParameters(weights))
  using graph = buildGraph(backend, (g) => ({ y: module.forward(g, g.input('x', 'f32', x.shape)) }))
  return (await graph.run({ x: x.values })).y
}

const tensor = (seed: number, ...shape: number[]): { shape: number[]; values: Float32Array } => ({
  shape,
  values: random(
    shape.reduce((a, b) => a * b, 1),
    0.5,
    seed,
  ),
})

/** PyTorch's [channels, time] to [time, channels], which is [channels, time] in ggml order. */
const toFrames = (values: ArrayLike<number>, channels: number): Float32Array => {
  const time = values.length / channels
  return Float32Array.from(
    { length: values.length },
    (_, i) => values[(i % channels) * time + Math.floor(i / channels)] ?? 0,
  )
}

describe('convolutions', () => {
  it.each([
    { kernel: 7, dilation: 1, stride: 1 },
    { kernel: 7, dilation: 9, stride: 1 },
    { kernel: 1, dilation: 1, stride: 1 },
    { kernel: 1, dilation: 1, stride: 1, inChannels: 8 },
    { kernel: 4, dilation: 1, stride: 2 },
  ])(
    'CausalConv1d equals its formula: kernel $kernel, dilation $dilation, stride $stride',
    async ({ kernel, dilation, stride, inChannels = 6 }) => {
      const [out, time] = [5, 24]
      const weight = tensor(1, out, inChannels, kernel)
      const bias = tensor(2, out)
      const x = tensor(3, inChannels, time)
      const y = await run(
        (p) => new CausalConv1d(p, inChannels, out, { kernel, dilation, stride }),
        { weight, bias },
        { shape: [inChannels, time], values: toFrames(x.values, inChannels) },
      )
      const context = (kernel - 1) * dilation + 1 - stride
      const expected = Float32Array.from({ length: (out * time) / stride }, (_, i) => {
        const [t, o] = [Math.floor(i / out), i % out]
        let sum = bias.values[o] ?? 0
        for (let c = 0; c < inChannels; c++) {
          for (let k = 0; k < kernel; k++) {
            const at = t * stride + k * dilation - context
            if (at >= 0) sum += (x.values[c * time + at] ?? 0) * (weight.values[(o * inChannels + c) * kernel + k] ?? 0)
          }
        }
        return sum
      })
      expect(maximumDifference(y, expected)).toBeLessThan(deviceLimit(5e-6))
    },
  )

  it.each([
    { kernel: 4, stride: 4 },
    { kernel: 8, stride: 4 },
    { kernel: 9, stride: 3 },
  ])('CausalConvTranspose1d cuts both ends: kernel $kernel, stride $stride', async ({ kernel, stride }) => {
    const [inChannels, out, time] = [6, 5, 9]
    const weight = tensor(4, inChannels, out, kernel)
    const bias = tensor(5, out)
    const x = tensor(6, inChannels, time)
    const y = await run(
      (p) => new CausalConvTranspose1d(p, inChannels, out, { kernel, stride }),
      { weight, bias },
      { shape: [inChannels, time], values: toFrames(x.values, inChannels) },
    )
    const whole = (time - 1) * stride + kernel
    const full = Array.from({ length: out * whole }, (_, i) => bias.values[Math.floor(i / whole)] ?? 0)
    for (let c = 0; c < inChannels; c++) {
      for (let o = 0; o < out; o++) {
        for (let t = 0; t < time; t++) {
          for (let k = 0; k < kernel; k++) {
            const at = o * whole + t * stride + k
            full[at] =
              (full[at] ?? 0) + (x.values[c * time + t] ?? 0) * (weight.values[(c * out + o) * kernel + k] ?? 0)
          }
        }
      }
    }
    const cut = kernel - stride
    const kept = Array.from({ length: out }, (_, o) => full.slice(o * whole + cut, (o + 1) * whole - cut)).flat()
    expect(maximumDifference(y, toFrames(kept, out))).toBeLessThan(deviceLimit(5e-6))
  })

  it('Conv2d equals its formula with stride, padding and a batch', async () => {
    const [width, height, inChannels, out, batch] = [9, 8, 3, 4, 2]
    const weight = tensor(7, out, inChannels, 3, 3)
    const bias = tensor(8, out)
    const x = tensor(9, batch, inChannels, height, width)
    const y = await run(
      (p) => new Conv2d(p, inChannels, out, { kernel: [3, 3], stride: [2, 2], padding: [1, 1] }),
      { weight, bias },
      { shape: [width, height, inChannels, batch], values: x.values },
    )
    const [w2, h2] = [5, 4]
    const expected = Float32Array.from({ length: out * w2 * h2 * batch }, (_, i) => {
      const o = i % out
      const u = Math.floor(i / out) % w2
      const v = Math.floor(i / out / w2) % h2
      const n = Math.floor(i / out / w2 / h2)
      let sum = bias.values[o] ?? 0
      for (let c = 0; c < inChannels; c++) {
        for (let j = 0; j < 3; j++) {
          for (let k = 0; k < 3; k++) {
            const [row, column] = [v * 2 + j - 1, u * 2 + k - 1]
            if (row < 0 || row >= height || column < 0 || column >= width) continue
            sum +=
              (x.values[((n * inChannels + c) * height + row) * width + column] ?? 0) *
              (weight.values[((o * inChannels + c) * 3 + j) * 3 + k] ?? 0)
          }
        }
      }
      return sum
    })
    expect(maximumDifference(y, expected)).toBeLessThan(deviceLimit(5e-6))
  })

  it('consecutive pieces with history equal the whole', async () => {
    const checkpoint = {
      'up.weight': tensor(1, 6, 5, 8),
      'up.bias': tensor(2, 5),
      'conv.weight': tensor(3, 4, 5, 7),
      'conv.bias': tensor(4, 4),
    }
    const construct = (p: Parameters) => ({
      up: new CausalConvTranspose1d(p.scope('up'), 6, 5, { kernel: 8, stride: 4 }),
      conv: new CausalConv1d(p.scope('conv'), 5, 4, { kernel: 7, dilation: 3 }),
    })
    using weights = await loadWeights(
      backend,
      declareParameters(construct).map((d) => {
        const { shape, values } = checkpoint[d.name as keyof typeof checkpoint]
        return {
          name: d.name,
          type: 'f32' as const,
          shape: d.shape,
          use: d.use,
          source: rearrange(d.layout, values, shape),
        }
      }),
    )
    const { up, conv } = construct(loadedParameters(weights))
    const frames = 10
    const x = random(6 * frames, 1, 5)
    using whole = buildGraph(backend, (g) => ({ y: conv.forward(g, up.forward(g, g.input('x', 'f32', [6, frames]))) }))
    const { y: expected } = await whole.run({ x })
    const pieces: number[] = []
    let before = { x: x.slice(0, 0), y: new Float32Array(5 * conv.context) }
    let at = 0
    for (const length of [3, 1, 4, 2]) {
      const first = at === 0
      using graph = buildGraph(backend, (g) => {
        const input = g.input('x', 'f32', [6, length])
        const upsampled = up.forward(g, input, first ? undefined : g.input('past', 'f32', [6, up.context]))
        return { y: conv.forward(g, upsampled, g.input('history', 'f32', [5, conv.context])), upsampled }
      })
      const piece = x.slice(at * 6, (at + length) * 6)
      const result = await graph.run({ x: piece, history: before.y, ...(first ? {} : { past: before.x }) })
      pieces.push(...result.y)
      const joined = Float32Array.from([...before.y, ...result.upsampled])
      before = { x: piece.slice(-6 * up.context), y: joined.slice(-5 * conv.context) }
      at += length
    }
    expect(maximumDifference(pieces, expected)).toBeLessThan(deviceLimit(1e-6))
  })

  it.each([
    ['f32', 4],
    ['f32', 8],
    ['f32', 16],
    ['f32', 32],
    ['bf16', 32],
    ['q8_0', 32],
  ] as const)('overlapping windows give the same as gathered ones: %s weights, %i channels', async (type, channels) => {
    if (backend.kind !== 'cpu') return
    const construct = (p: Parameters) =>
      [1, 3, 9].map((dilation) => new CausalConv1d(p.scope(dilation), channels, channels, { kernel: 7, dilation }))
    const declarations = declareParameters(construct)
    const sources = await Promise.all(
      declarations.map(async (d, i) => {
        const values = random(d.shape[0] * d.shape[1], 0.2, i)
        const own: TensorType = d.use === 'matmul' ? type : 'f32'
        const source = own === 'f32' ? values : await quantize(backend, type, values, d.shape[0])
        return { name: d.name, type: own, shape: d.shape, use: d.use, source }
      }),
    )
    using weights = await loadWeights(backend, sources)
    const layers = construct(loadedParameters(weights))
    const sizeOf = (frames: number) => Math.max(...layers.map((layer) => layer.workspaceFor(frames)))
    // Fewer frames than the dilation, a multiple of it, and remaining frames.
    for (const frames of [1, 2, 9, 10, 31]) {
      const buildLayers = (overlap: boolean) =>
        buildGraph(backend, (g) => {
          const workspace = overlap ? g.workspace(sizeOf(frames)) : undefined
          // Earlier content of the workspace must not change a result.
          if (workspace) g.effect(g.copyInto(g.input('before', 'f32', [sizeOf(frames)]), workspace))
          let x = g.input('x', 'f32', [channels, frames])
          for (const [i, layer] of layers.entries())
            x = layer.forward(g, x, g.input(`past${i}`, 'f32', [channels, layer.context]), workspace)
          return { y: x }
        })
      using gathered = buildLayers(false)
      using overlapping = buildLayers(true)
      const inputs = {
        x: random(channels * frames, 1, 5),
        ...Object.fromEntries(layers.map((layer, i) => [`past${i}`, random(channels * layer.context, 1, 6 + i)])),
      }
      const { y } = await overlapping.run({ ...inputs, before: new Float32Array(sizeOf(frames)).fill(NaN) })
      const { y: expected } = await gathered.run(inputs)
      expect(maximumDifference(y, expected)).toBeLessThan(1e-5)
    }
  })

  it('ConvNeXtBlock equals its formula', async () => {
    const [channels, time] = [8, 11]
    const names = {
      'dwconv.conv.weight': [channels, 1, 7],
      'dwconv.conv.bias': [channels],
      'norm.weight': [channels],
      'norm.bias': [channels],
      'pwconv1.weight': [32, 8],
      'pwconv1.bias': [32],
      'pwconv2.weight': [8, 32],
      'pwconv2.bias': [8],
      gamma: [channels],
    }
    const checkpoint = Object.fromEntries(
      Object.entries(names).map(([name, shape], i) => [name, tensor(i + 20, ...shape)]),
    )
    const x = random(channels * time, 1, 3)
    const y = await run((p) => new ConvNeXtBlock(p, channels), checkpoint, { shape: [channels, time], values: x })
    const of = (name: string): Float32Array => checkpoint[name]?.values ?? new Float32Array()
    const erf = (v: number): number => {
      let sum = v
      let term = v
      for (let n = 1; n < 60; n++) {
        term *= (-v * v) / n
        sum += term / (2 * n + 1)
      }
      return (2 / Math.sqrt(Math.PI)) * sum
    }
    const expected: number[] = []
    for (let t = 0; t < time; t++) {
      const row = Array.from({ length: channels }, (_, c) => {
        let sum = of('dwconv.conv.bias')[c] ?? 0
        for (let k = 0; k < 7; k++)
          if (t + k - 6 >= 0) sum += (x[(t + k - 6) * channels + c] ?? 0) * (of('dwconv.conv.weight')[c * 7 + k] ?? 0)
        return sum
      })
      const mean = row.reduce((a, b) => a + b) / channels
      const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / channels
      const normed = row.map(
        (v, c) => ((v - mean) / Math.sqrt(variance + 1e-6)) * (of('norm.weight')[c] ?? 0) + (of('norm.bias')[c] ?? 0),
      )
      const inner = referenceLinear(normed, of('pwconv1.weight'), 8, of('pwconv1.bias')).map(
        (v) => (v * (1 + erf(v / Math.SQRT2))) / 2,
      )
      const outer = referenceLinear(inner, of('pwconv2.weight'), 32, of('pwconv2.bias'))
      expected.push(...outer.map((v, c) => (x[t * channels + c] ?? 0) + v * (of('gamma')[c] ?? 0)))
    }
    expect(maximumDifference(y, expected)).toBeLessThan(deviceLimit(5e-6))
  })
})

describe('feed-forward', () => {
  const silu = (v: number): number => v / (1 + Math.exp(-v))
  const gated = (x: readonly number[], gate: Float32Array, up: Float32Array, down: Float32Array): number[] => {
    const a = referenceLinear(x, gate, x.length)
    const b = referenceLinear(x, up, x.length)
    return referenceLinear(
      a.map((v, i) => silu(v) * (b[i] ?? 0)),
      down,
      a.length,
    )
  }

  it('GatedMlp equals its formula', async () => {
    const checkpoint = {
      'gate_proj.weight': tensor(1, 24, 16),
      'up_proj.weight': tensor(2, 24, 16),
      'down_proj.weight': tensor(3, 16, 24),
    }
    const x = random(16 * 3, 1, 4)
    const y = await run((p) => new GatedMlp(p, 16, 24), checkpoint, { shape: [16, 3], values: x })
    const expected = [0, 1, 2].flatMap((t) =>
      gated(
        Array.from(x.slice(t * 16, t * 16 + 16)),
        checkpoint['gate_proj.weight'].values,
        checkpoint['up_proj.weight'].values,
        checkpoint['down_proj.weight'].values,
      ),
    )
    expect(maximumDifference(y, expected)).toBeLessThan(deviceLimit(5e-6))
  })

  it.each([
    { renormalise: true, shared: undefined },
    { renormalise: false, shared: 12 },
  ])(
    'MixtureOfExperts equals its formula (renormalise $renormalise, shared expert $shared)',
    async ({ renormalise, shared }) => {
      const [hidden, intermediate, experts, used, tokens] = [16, 8, 6, 2, 5]
      const checkpoint = {
        'gate.weight': tensor(1, experts, hidden),
        'experts.gate_proj.weight': tensor(2, experts, intermediate, hidden),
        'experts.up_proj.weight': tensor(3, experts, intermediate, hidden),
        'experts.down_proj.weight': tensor(4, experts, hidden, intermediate),
        'shared_expert.gate_proj.weight': tensor(5, 12, hidden),
        'shared_expert.up_proj.weight': tensor(6, 12, hidden),
        'shared_expert.down_proj.weight': tensor(7, hidden, 12),
        'shared_expert_gate.weight': tensor(8, 1, hidden),
      }
      const x = random(hidden * tokens, 1, 9)
      const y = await run(
        (p) =>
          new MixtureOfExperts(p, { hidden, intermediate, experts, used, renormalise, ...(shared ? { shared } : {}) }),
        checkpoint,
        { shape: [hidden, tokens], values: x },
      )
      const part = (name: keyof typeof checkpoint, expert: number): Float32Array => {
        const { values } = checkpoint[name]
        const size = values.length / experts
        return values.slice(expert * size, (expert + 1) * size)
      }
      const expected: number[] = []
      for (let t = 0; t < tokens; t++) {
        const row = Array.from(x.slice(t * hidden, (t + 1) * hidden))
        const logits = referenceLinear(row, checkpoint['gate.weight'].values, hidden)
        const all = logits.reduce((sum, v) => sum + Math.exp(v), 0)
        const best = logits
          .map((v, expert) => ({ expert, p: Math.exp(v) / all }))
          .toSorted((a, b) => b.p - a.p)
          .slice(0, used)
        const total = renormalise ? best.reduce((sum, { p }) => sum + p, 0) : 1
        const sum = Array.from({ length: hidden }, () => 0)
        for (const { expert, p } of best) {
          const out = gated(
            row,
            part('experts.gate_proj.weight', expert),
            part('experts.up_proj.weight', expert),
            part('experts.down_proj.weight', expert),
          )
          for (const [i, v] of out.entries()) sum[i] = (sum[i] ?? 0) + (v * p) / total
        }
        if (shared) {
          const gate =
            1 / (1 + Math.exp(-(referenceLinear(row, checkpoint['shared_expert_gate.weight'].values, hidden)[0] ?? 0)))
          const out = gated(
            row,
            checkpoint['shared_expert.gate_proj.weight'].values,
            checkpoint['shared_expert.up_proj.weight'].values,
            checkpoint['shared_expert.down_proj.weight'].values,
          )
          for (const [i, v] of out.entries()) sum[i] = (sum[i] ?? 0) + v * gate
        }
        expected.push(...sum)
      }
      expect(maximumDifference(y, expected)).toBeLessThan(deviceLimit(5e-6))
    },
  )

  it('LayerNorm equals its formula', async () => {
    const weight = tensor(1, 12)
    const bias = tensor(2, 12)
    const x = random(24, 2, 3)
    const y = await run((p) => new LayerNorm(p, 12), { weight, bias }, { shape: [12, 2], values: x })
    const expected = [0, 1].flatMap((t) => {
      const row = Array.from(x.slice(t * 12, t * 12 + 12))
      const mean = row.reduce((a, b) => a + b) / 12
      const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / 12
      return row.map(
        (v, i) => ((v - mean) / Math.sqrt(variance + 1e-5)) * (weight.values[i] ?? 0) + (bias.values[i] ?? 0),
      )
    })
    expect(maximumDifference(y, expected)).toBeLessThan(deviceLimit(2e-6))
  })
})
