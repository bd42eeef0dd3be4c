import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { buildGraph, loadBackend, type Backend, type GraphBuilder, type Inputs, type Tensor } from './index.ts'
import { deviceLimit, testDevice } from './test-device.ts'

let backend: Backend
beforeAll(async () => {
  backend = await loadBackend({ device: testDevice, threads: 2 })
})
afterAll(() => {
  expect(backend.memory).toEqual({ buffers: 0, contexts: 0, objects: 0 })
  backend[Symbol.dispose]()
})

type F32 = Tensor<'f32'>

/** Runs one operation on inputs of the given shapes. */
async function compute(
  shapes: readonly (readonly number[])[],
  data: readonly Float32Array[],
  build: (g: GraphBuilder, ...inputs: F32[]) => F32 | Tensor<'i32'>,
): Promise<number[]> {
  using graph = buildGraph(backend, (g) => {
    const inputs = shapes.map((shape, i) => g.input(`x${i}`, 'f32', shape))
    return { y: build(g, ...inputs) }
  })
  const inputs: Inputs = Object.fromEntries(data.map((array, i) => [`x${i}`, array]))
  return [...(await graph.run(inputs)).y]
}

/** Reproducible values in [-scale, scale]. */
const values = (n: number, scale = 1, offset = 0): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => Math.sin(i * 1.7 + offset) * scale)

const expectClose = (actual: readonly number[], expected: ArrayLike<number>, limit = 2e-6): void => {
  expect(actual.length).toBe(expected.length)
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs((actual[i] ?? Number.NaN) - (expected[i] ?? Number.NaN))
    if (!(difference <= deviceLimit(limit) * Math.max(1, Math.abs(expected[i] ?? 0)))) {
      throw new Error(`element ${i} is ${actual[i]}, expected ${expected[i]}`)
    }
  }
}

const erf = (v: number): number => {
  let sum = v
  let term = v
  for (let n = 1; n < 80; n++) {
    term *= (-v * v) / n
    sum += term / (2 * n + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}

describe('elementwise operations', () => {
  const x = values(40, 3)
  const sigmoid = (v: number): number => 1 / (1 + Math.exp(-v))
  it.each<[string, (g: GraphBuilder, a: F32) => F32, (v: number) => number]>([
    ['sqr', (g, a) => g.sqr(a), (v) => v * v],
    ['sqrt', (g, a) => g.sqrt(g.sqr(a)), Math.abs],
    ['log', (g, a) => g.log(g.scale(g.sqr(a), 1, 1)), (v) => Math.log(v * v + 1)],
    ['sin', (g, a) => g.sin(a), Math.sin],
    ['cos', (g, a) => g.cos(a), Math.cos],
    ['exp', (g, a) => g.exp(a), Math.exp],
    ['abs', (g, a) => g.abs(a), Math.abs],
    ['neg', (g, a) => g.neg(a), (v) => -v],
    ['relu', (g, a) => g.relu(a), (v) => Math.max(0, v)],
    ['elu', (g, a) => g.elu(a), (v) => (v > 0 ? v : Math.expm1(v))],
    ['tanh', (g, a) => g.tanh(a), Math.tanh],
    ['sigmoid', (g, a) => g.sigmoid(a), sigmoid],
    ['silu', (g, a) => g.silu(a), (v) => v * sigmoid(v)],
    ['geluErf', (g, a) => g.geluErf(a), (v) => (v * (1 + erf(v / Math.SQRT2))) / 2],
    [
      'geluTanh',
      (g, a) => g.geluTanh(a),
      (v) => (v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)))) / 2,
    ],
    ['scale', (g, a) => g.scale(a, -2, 0.5), (v) => 0.5 - 2 * v],
    ['clamp', (g, a) => g.add(g.clamp(a, -1, 0.5), g.scale(a, 0)), (v) => Math.min(0.5, Math.max(-1, v))],
  ])('%s equals its formula', async (_, build, reference) => {
    expectClose(await compute([[8, 5]], [x], build), x.map(reference))
  })

  it('geluTanhTable is close to its formula', async () => {
    const y = await compute([[40]], [x], (g, a) => g.geluTanhTable(a))
    expectClose(
      y,
      x.map((v) => (v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)))) / 2),
      5e-3,
    )
  })

  it('arithmetic broadcasts the second operand', async () => {
    const b = values(8, 1, 2)
    expectClose(
      await compute([[8, 5], [8]], [x, b], (g, a, y) => g.add(a, y)),
      x.map((v, i) => v + (b[i % 8] ?? 0)),
    )
    expectClose(
      await compute([[8, 5], [8]], [x, b], (g, a, y) => g.sub(a, y)),
      x.map((v, i) => v - (b[i % 8] ?? 0)),
    )
    expectClose(
      await compute([[8, 5], [8]], [x, b], (g, a, y) => g.mul(a, y)),
      x.map((v, i) => v * (b[i % 8] ?? 0)),
    )
    const c = values(5, 1, 1)
    expectClose(
      await compute(
        [
          [8, 5],
          [1, 5],
        ],
        [x, c],
        (g, a, y) => g.div(a, y),
      ),
      x.map((v, i) => v / (c[Math.floor(i / 8)] ?? 0)),
    )
  })

  it('swiglu and swigluFused equal their formulas', async () => {
    const up = values(40, 1, 3)
    expectClose(
      await compute(
        [
          [8, 5],
          [8, 5],
        ],
        [x, up],
        (g, a, b) => g.swiglu(a, b),
      ),
      x.map((v, i) => v * sigmoid(v) * (up[i] ?? 0)),
    )
    const fused = Float32Array.from({ length: 20 }, (_, i) => {
      const [row, at] = [Math.floor(i / 4), i % 4]
      const gate = x[row * 8 + at] ?? 0
      return gate * sigmoid(gate) * (x[row * 8 + 4 + at] ?? 0)
    })
    expectClose(await compute([[8, 5]], [x], (g, a) => g.swigluFused(a)), fused)
  })
})

describe('operations along rows', () => {
  const x = values(30, 2)
  const rows = (reference: (row: number[]) => number[]): number[] =>
    [0, 1, 2, 3, 4].flatMap((r) => reference(Array.from(x.slice(r * 6, r * 6 + 6))))
  const sum = (row: readonly number[]): number => row.reduce((a, b) => a + b, 0)
  it.each<[string, (g: GraphBuilder, a: F32) => F32 | Tensor<'i32'>, (row: number[]) => number[]]>([
    ['rmsNorm', (g, a) => g.rmsNorm(a, 1e-3), (r) => r.map((v) => v / Math.sqrt(sum(r.map((w) => w * w)) / 6 + 1e-3))],
    ['l2Norm', (g, a) => g.l2Norm(a, 1e-6), (r) => r.map((v) => v / Math.sqrt(sum(r.map((w) => w * w))))],
    [
      'layerNorm',
      (g, a) => g.layerNorm(a, 1e-3),
      (r) => r.map((v) => (v - sum(r) / 6) / Math.sqrt(sum(r.map((w) => (w - sum(r) / 6) ** 2)) / 6 + 1e-3)),
    ],
    [
      'softMax',
      (g, a) => g.softMax(a, { scale: 0.5 }),
      (r) => r.map((v) => Math.exp(v / 2) / sum(r.map((w) => Math.exp(w / 2)))),
    ],
    ['sumRows', (g, a) => g.sumRows(a), (r) => [sum(r)]],
    ['meanRows', (g, a) => g.meanRows(a), (r) => [sum(r) / 6]],
    ['cumulativeSum', (g, a) => g.cumulativeSum(a), (r) => r.map((_, i) => sum(r.slice(0, i + 1)))],
    ['argmax', (g, a) => g.argmax(a), (r) => [r.indexOf(Math.max(...r))]],
    [
      'argsort',
      (g, a) => g.argsort(a, 'ascending'),
      (r) => r.map((_, i) => i).toSorted((a, b) => (r[a] ?? 0) - (r[b] ?? 0)),
    ],
    ['step', (g, a) => g.step(a), (r) => r.map((value) => (value > 0 ? 1 : 0))],
    [
      'largest',
      (g, a) => g.sumRows(g.cast(g.largest(a, 3), 'f32')),
      (r) => [
        sum(
          r
            .map((_, i) => i)
            .toSorted((a, b) => (r[b] ?? 0) - (r[a] ?? 0))
            .slice(0, 3),
        ),
      ],
    ],
    [
      'topK',
      (g, a) => g.topK(a, 3),
      (r) =>
        r
          .map((_, i) => i)
          .toSorted((a, b) => (r[b] ?? 0) - (r[a] ?? 0))
          .slice(0, 3),
    ],
  ])('%s equals its formula', async (_, build, reference) => {
    expectClose(await compute([[6, 5]], [x], build), rows(reference))
  })

  it.each([1, 3])('weightedSum adds %i vectors with weights, for each token', async (count) => {
    const vectors = values(5 * count * 2)
    const weights = values(count * 2, 1, 0.5)
    const y = await compute(
      [
        [5, count, 2],
        [count, 2],
      ],
      [vectors, weights],
      (g, a, w) => g.weightedSum(a, w),
    )
    const expected = Array.from({ length: 10 }, (_, at) => {
      const [i, token] = [at % 5, Math.floor(at / 5)]
      let sum = 0
      for (let k = 0; k < count; k++) sum += vectors[(token * count + k) * 5 + i]! * weights[token * count + k]!
      return sum
    })
    expectClose(y, expected)
  })

  it('softMax applies a mask', async () => {
    const mask = Float32Array.from({ length: 30 }, (_, i) => (i % 6 > Math.floor(i / 6) ? Number.NEGATIVE_INFINITY : 0))
    const expected = [0, 1, 2, 3, 4].flatMap((r) => {
      const row = Array.from(x.slice(r * 6, r * 6 + 6)).map((v, i) => (i > r ? 0 : Math.exp(v)))
      return row.map((v) => v / sum(row))
    })
    expectClose(
      await compute(
        [
          [6, 5],
          [6, 5],
        ],
        [x, mask],
        (g, a, m) => g.softMax(a, { mask: m }),
      ),
      expected,
    )
  })
})

describe('layout operations', () => {
  const x = Float32Array.from({ length: 24 }, (_, i) => i)
  it('permute, slice, concatenate, pad, repeat and cast', async () => {
    // [2, 3, 4] to [3, 4, 2]: dimension 0 goes to position 2, 1 to 0, 2 to 1.
    const permuted = Array.from({ length: 24 }, (_, i) => {
      const [b, c, a] = [i % 3, Math.floor(i / 3) % 4, Math.floor(i / 12)]
      return a + 2 * b + 6 * c
    })
    expectClose(await compute([[2, 3, 4]], [x], (g, a) => g.permute(a, 2, 0, 1, 3)), permuted)
    expectClose(await compute([[4, 6]], [x], (g, a) => g.slice(a, 1, 2, 3)), x.slice(8, 20))
    expectClose(
      await compute([[4, 6]], [x], (g, a) => g.slice(a, 0, 1, 2)),
      [...x].filter((v) => v % 4 === 1 || v % 4 === 2),
    )
    expectClose(
      await compute(
        [
          [4, 6],
          [4, 1],
        ],
        [x, values(4)],
        (g, a, b) => g.concat(b, a, 1),
      ),
      [...values(4), ...x],
    )
    const padded = Array.from({ length: 7 * 6 }, (_, i) =>
      i % 7 >= 1 && i % 7 < 5 ? (x[Math.floor(i / 7) * 4 + (i % 7) - 1] ?? 0) : 0,
    )
    expectClose(await compute([[4, 6]], [x], (g, a) => g.pad(a, [[1, 2]])), padded)
    expectClose(await compute([[2, 1]], [x.slice(0, 2)], (g, a) => g.repeat(a, 4, 2)), [0, 1, 0, 1, 0, 1, 0, 1])
    expectClose(await compute([[4, 6]], [x], (g, a) => g.cast(g.cast(a, 'f16'), 'f32')), x)
  })

  it('read and write rows by index', async () => {
    using graph = buildGraph(backend, (g) => {
      const table = g.input('table', 'f32', [4, 6])
      g.effect(g.setRows(table, g.input('rows', 'f32', [4, 2]), g.input('to', 'i64', [2])))
      return { read: g.getRows(table, g.input('from', 'i32', [3])), argmax: g.argmax(table) }
    })
    const { read, argmax } = await graph.run({
      table: x,
      rows: Float32Array.from([-1, -2, -3, -4, -5, -6, -7, -8]),
      to: BigInt64Array.from([4n, 0n]),
      from: Int32Array.from([0, 4, 5]),
    })
    expect([...read]).toEqual([-5, -6, -7, -8, -1, -2, -3, -4, 20, 21, 22, 23])
    expect(argmax).toBeInstanceOf(Int32Array)
    expect([...argmax]).toEqual([0, 3, 3, 3, 0, 3])
  })

  it('arange counts in steps', async () => {
    using graph = buildGraph(backend, (g) => ({ y: g.arange(5, 3) }))
    expect([...(await graph.run({})).y]).toEqual([0, 3, 6, 9, 12])
  })
})

describe('rotary positions', () => {
  const [head, heads, tokens] = [16, 2, 3]
  const x = values(head * heads * tokens)
  const rotate = (angle: (token: number, pair: number) => number): number[] => {
    const y = [...x]
    for (let t = 0; t < tokens; t++) {
      for (let h = 0; h < heads; h++) {
        for (let i = 0; i < head / 2; i++) {
          const at = (t * heads + h) * head + i
          const [a, b, v] = [x[at] ?? 0, x[at + head / 2] ?? 0, angle(t, i)]
          y[at] = a * Math.cos(v) - b * Math.sin(v)
          y[at + head / 2] = a * Math.sin(v) + b * Math.cos(v)
        }
      }
    }
    return y
  }
  const run = async (
    positions: number[],
    build: (g: GraphBuilder, x: F32, p: Tensor<'i32'>) => F32,
  ): Promise<number[]> => {
    using graph = buildGraph(backend, (g) => ({
      y: build(g, g.input('x', 'f32', [head, heads, tokens]), g.input('p', 'i32', [positions.length])),
    }))
    return [...(await graph.run({ x, p: Int32Array.from(positions) })).y]
  }

  it('rotary rotates by one position per token', async () => {
    const y = await run([3, 100, 7], (g, a, p) => g.rotary(a, p, { base: 1e4 }))
    expectClose(
      y,
      rotate((t, i) => ([3, 100, 7][t] ?? 0) * 1e4 ** ((-2 * i) / head)),
      1e-5,
    )
  })

  it.each([true, false])(
    'multimodalRotary rotates by three positions per token, interleaved %s',
    async (interleaved) => {
      const p = [3, 9, 7, 30, 90, 70, 31, 91, 71]
      const y = await run([...p, ...p.slice(0, 3)], (g, a, positions) =>
        g.multimodalRotary(a, positions, { base: 1e4, sections: [4, 2, 2], interleaved }),
      )
      const axis = (i: number): number => (interleaved ? (i >= 6 ? 0 : i % 3) : i < 4 ? 0 : i < 6 ? 1 : 2)
      expectClose(
        y,
        rotate((t, i) => (p[axis(i) * 3 + t] ?? 0) * 1e4 ** ((-2 * i) / head)),
        1e-5,
      )
    },
  )

  it('multimodalRotary with position steps accepts fractions, and rotates whole positions exactly as without steps', async () => {
    const options = { base: 1e4, sections: [4, 2, 2], interleaved: true } as const
    const rotateInSteps = (p: number[], positionSteps: number): Promise<number[]> =>
      run(
        [...p, ...p.slice(0, 3)].map((position) => Math.round(position * positionSteps)),
        (g, a, positions) => g.multimodalRotary(a, positions, { ...options, positionSteps }),
      )
    const p = [3, 26 / 3, 52 / 3, 30, 90.5, 70, 31, 91, 71.25]
    expectClose(
      await rotateInSteps(p, 2 ** 14),
      rotate((t, i) => (p[(i >= 6 ? 0 : i % 3) * 3 + t] ?? 0) * 1e4 ** ((-2 * i) / head)),
      1e-4,
    )
    const whole = [3, 9, 60_001, 30, 90, 70, 31, 91, 71]
    expect(await rotateInSteps(whole, 2 ** 14)).toEqual(await rotateInSteps(whole, 1))
  })

  it('visionRotary rotates by row and column', async () => {
    const [rows, columns] = [
      [0, 5, 9],
      [3, 1, 8],
    ]
    const y = await run([...rows, ...columns, ...rows, ...columns], (g, a, p) => g.visionRotary(a, p, 1e4))
    const quarter = head / 4
    expectClose(
      y,
      rotate((t, i) => ((i < quarter ? rows : columns)[t] ?? 0) * 1e4 ** ((-2 * (i % quarter)) / (head / 2))),
      1e-5,
    )
  })
})

describe('errors name the operation and the shapes', () => {
  it.each<[string, (g: GraphBuilder) => unknown, RegExp]>([
    [
      'mulMat',
      (g) => g.mulMat(g.input('a', 'f32', [8, 4]), g.input('b', 'f32', [9, 4])),
      /mulMat\(a f32 \[8, 4\], b f32 \[9, 4\]\): first dimensions differ/,
    ],
    ['add', (g) => g.add(g.input('a', 'f32', [8]), g.input('b', 'f32', [3])), /add\(.*does not divide/],
    [
      'reshape',
      (g) => g.reshape(g.input('a', 'f32', [8]), 3, 3),
      /reshape\(a f32 \[8\]\): to \[3, 3\] changes the number/,
    ],
    ['reshape of a view', (g) => g.reshape(g.transpose(g.input('a', 'f32', [8, 2])), 16), /not contiguous; call cont/],
    ['view', (g) => g.view(g.input('a', 'f32', [8]), [4], { offset: 20 }), /ends at 36, beyond the tensor's 32 bytes/],
    ['overlapping view', (g) => g.view(g.input('a', 'f32', [8]), [4, 5], { strides: [4] }), /overlaps itself/],
    ['slice', (g) => g.slice(g.input('a', 'f32', [8]), 0, 4, 5), /entries 4 to 9 are outside dimension 0/],
    [
      'softMax',
      (g) => g.softMax(g.input('a', 'f32', [8, 4]), { mask: g.input('m', 'f32', [8, 3]) }),
      /the mask does not match/,
    ],
    ['getRows', (g) => g.getRows(g.input('a', 'f32', [8, 4]), g.input('i', 'i64', [1]) as never), /ids must be i32/],
    [
      'rotary',
      (g) => g.rotary(g.input('x', 'f32', [8, 1, 4]), g.input('p', 'i32', [3]), { base: 1 }),
      /needs i32 positions \[4\]/,
    ],
    ['topK', (g) => g.topK(g.input('a', 'f32', [4]), 5), /k is 5, must be from 1 to 4/],
    ['concat', (g) => g.concat(g.input('a', 'f32', [4, 2]), g.input('b', 'f32', [5, 2]), 1), /dimension 0 differs/],
    [
      'an empty dimension',
      (g) => g.input('a', 'f32', [0, 2]),
      /\[0, 2\] has a dimension that is not a positive integer/,
    ],
    ['an input declared twice', (g) => [g.input('a', 'f32', [1]), g.input('a', 'f32', [1])], /a is declared twice/],
  ])('of %s', (_, build, message) => {
    expect(() => buildGraph(backend, (g) => ({ y: (build(g), g.input('out', 'f32', [1])) }))).toThrow(message)
  })

  it('are thrown for too many tensors', () => {
    const many = (g: GraphBuilder): { y: F32 } => {
      let y = g.input('x', 'f32', [1])
      for (let i = 0; i < 100; i++) y = g.sqr(y)
      return { y }
    }
    expect(() => buildGraph(backend, many, { maxNodes: 50 })).toThrow(/limit of 50 tensors; raise maxNodes/)
  })

  it('are thrown for wrong inputs of a run', async () => {
    using graph = buildGraph(backend, (g) => ({ y: g.sqr(g.input('x', 'f32', [4])) }))
    await expect(graph.run({})).rejects.toThrow(/input x f32 \[4\] is missing/)
    await expect(graph.run({ x: new Float32Array(3) })).rejects.toThrow(/cannot take Float32Array of 3 elements/)
    await expect(graph.run({ x: new Int32Array(4) })).rejects.toThrow(/cannot take Int32Array/)
    await expect(graph.run({ x: new Float32Array(4), z: new Float32Array(1) })).rejects.toThrow(/no input z; it has x/)
  })
})

describe('arrays for outputs', () => {
  const doubled = (): ReturnType<typeof buildGraph<{ y: F32 }>> =>
    buildGraph(backend, (g) => ({ y: g.scale(g.input('x', 'f32', [3]), 2) }))

  it('get the results of each run', async () => {
    using graph = doubled()
    const array = new Float32Array(3)
    for (const x of [values(3), values(3, 2)]) {
      const { y } = await graph.run({ x }, { into: { y: array } })
      expect(y).toBe(array)
      expectClose(
        [...array],
        x.map((value) => 2 * value),
      )
    }
  })

  it('are refused when they do not match', async () => {
    using graph = doubled()
    const run = (into: Record<string, Float32Array>): Promise<unknown> => graph.run({ x: values(3) }, { into })
    await expect(run({ y: new Float32Array(2) })).rejects.toThrow(/array of 2 elements/)
    await expect(run({ z: new Float32Array(3) })).rejects.toThrow(/unknown output, z/)
  })
})

describe('depthwise convolution with contiguous channels', () => {
  it.each([
    [5, 12, 7, 1],
    [24, 30, 12, 2],
    [3, 2, 2, 1],
    [48, 9, 4, 3],
  ])('equals its formula for %i channels, %i frames, %i taps, stride %i', async (channels, time, taps, stride) => {
    const x = values(channels * time, 2)
    const kernel = values(channels * taps, 1, 3)
    const shapes = [
      [channels, time],
      [channels, taps],
    ]
    const y = await compute(shapes, [x, kernel], (g, a, b) => g.depthwise(a, b, stride))
    const length = Math.floor((time - taps) / stride) + 1
    const expected = Array.from({ length: channels * length }, (_, i) => {
      const [channel, at] = [i % channels, Math.floor(i / channels)]
      let sum = 0
      for (let k = 0; k < taps; k++)
        sum += (x[(at * stride + k) * channels + channel] ?? 0) * (kernel[k * channels + channel] ?? 0)
      return sum
    })
    expectClose(y, expected)
  })

  it('refuses shapes for which the library would end the process', () => {
    const run = (a: number[], b: number[]): Promise<number[]> =>
      compute([a, b], [], (g, x, kernel) => g.depthwise(x, kernel))
    return Promise.all([
      expect(run([4, 9], [5, 3])).rejects.toThrow(/shapes do not match/),
      expect(run([4, 2], [4, 3])).rejects.toThrow(/shapes do not match/),
      expect(run([2, 9], [2, 3])).rejects.toThrow(/three channels/),
    ])
  })
})
