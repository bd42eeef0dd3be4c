/**
 * A small computation with a known result, run when a device is opened, so that a driver or build with wrong results is
 * refused. Types whose repacked form gives wrong results are not refused but used as stored (`repack.ts`).
 */

import type { Backend } from './backend.ts'
import { TensorLibraryError } from './errors.ts'
import { buildGraph } from './graph.ts'
import { loadWeights } from './load-weights.ts'
import { relativeError, repeatableNumbers } from './numeric-check.ts'
import { quantize } from './quantize.ts'

/** The weight is [K, N], the input [K, M] in ggml order. */
const K = 256
const N = 64
const M = 3

/** Throws {@link TensorLibraryError} naming the operation with a wrong result. */
export async function selfTest(backend: Backend): Promise<void> {
  const random = repeatableNumbers(12345)
  const weight = Float32Array.from({ length: K * N }, random)
  const x = Float32Array.from({ length: K * M }, random)
  using weights = await loadWeights(backend, [
    { name: 'f32', type: 'f32', shape: [K, N], use: 'matmul', source: weight },
    { name: 'q8_0', type: 'q8_0', shape: [K, N], use: 'matmul', source: await quantize(backend, 'q8_0', weight, K) },
    { name: 'q4_0', type: 'q4_0', shape: [K, N], use: 'matmul', source: await quantize(backend, 'q4_0', weight, K) },
  ])
  using graph = buildGraph(backend, (g) => {
    const input = g.input('x', 'f32', [K, M])
    return {
      f32: g.mulMat(weights.get('f32'), input, { exact: true }),
      q8_0: g.mulMat(weights.get('q8_0'), input),
      q4_0: g.mulMat(weights.get('q4_0'), input),
      norm: g.rmsNorm(input, 1e-6),
      softMax: g.softMax(g.scale(input, 3)),
    }
  })
  const result = await graph.run({ x })
  const product = new Float32Array(N * M)
  const norm = new Float32Array(K * M)
  const softMax = new Float32Array(K * M)
  for (let m = 0; m < M; m++) {
    const row = x.subarray(m * K, m * K + K)
    for (let n = 0; n < N; n++)
      product[m * N + n] = row.reduce((sum, value, k) => sum + value * (weight[n * K + k] ?? 0), 0)
    const rootMeanSquare = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / K + 1e-6)
    const total = row.reduce((sum, value) => sum + Math.exp(3 * value), 0)
    for (const [k, value] of row.entries()) {
      norm[m * K + k] = value / rootMeanSquare
      softMax[m * K + k] = Math.exp(3 * value) / total
    }
  }
  const limit = backend.kind === 'cpu' ? 1e-5 : 2e-3
  verify('mul_mat f32', result.f32, product, limit)
  verify('mul_mat q8_0', result.q8_0, product, 0.02)
  verify('mul_mat q4_0', result.q4_0, product, 0.15)
  verify('rms_norm', result.norm, norm, limit)
  verify('soft_max', result.softMax, softMax, limit)
}

function verify(operation: string, values: Float32Array, expected: Float32Array, limit: number): void {
  const error = relativeError(values, expected)
  if (!(error <= limit))
    throw new TensorLibraryError(
      `self-test: ${operation} has a relative error of ${error.toExponential(2)} (limit ${limit})`,
    )
}
