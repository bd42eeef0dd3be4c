/**
 * A model with random weights, loaded like a checkpoint's, and reproducible random numbers.
 *
 * In: a constructor, and a type and values for each of its weights. Out: the model, whose weights are freed with it.
 */

import { declareParameters, loadedParameters, type ParameterDeclaration, type Parameters } from '../src/nn/index.ts'
import { loadWeights, quantize, type Backend, type TensorType, type WeightSpec } from '../src/tensor/index.ts'

export interface RandomModel<T> extends Disposable {
  readonly model: T
}

/** Optional weights are left out. `valuesOf` gets a seed, another one for each weight. */
export async function randomModel<T>(
  backend: Backend,
  construct: (parameters: Parameters) => T,
  typeOf: (declaration: ParameterDeclaration) => TensorType,
  valuesOf: (declaration: ParameterDeclaration, seed: number) => Float32Array,
): Promise<RandomModel<T>> {
  const specs: WeightSpec[] = []
  for (const [i, declaration] of declareParameters(construct).entries()) {
    if (declaration.optional) continue
    const { name, shape, use } = declaration
    const type = typeOf(declaration)
    specs.push({
      name,
      type,
      shape,
      use,
      source: await quantize(backend, type, valuesOf(declaration, i + 1), shape[0]),
    })
  }
  const weights = await loadWeights(backend, specs)
  return { model: construct(loadedParameters(weights)), [Symbol.dispose]: () => weights[Symbol.dispose]() }
}

/** Normal values, read in random order, because generating them all is slow. */
const table = ((): Float32Array => {
  const random = uniform(1)
  return Float32Array.from({ length: 1 << 16 }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random()))
    return radius * Math.cos(2 * Math.PI * random())
  })
})()

export function normal(count: number, spread: number, mean: number, seed: number): Float32Array {
  const values = new Float32Array(count)
  let state = Math.imul(seed, 2654435761) | 1
  for (let i = 0; i < count; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    values[i] = mean + spread * table[(state >>> 8) & 0xffff]!
  }
  return values
}

/** Reproducible numbers in [0, 1). */
export function uniform(seed: number): () => number {
  let state = (seed * 0x9e3779b9) >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
