/**
 * Rearranges convolution weights of a checkpoint into the matrices that graphs multiply with.
 *
 * In: f32 values in PyTorch order and their PyTorch shape. Out: f32 values in the order of a {@link ParameterLayout}.
 */

import { TensorError } from '../tensor/index.ts'
import type { ParameterLayout } from './parameters.ts'

/**
 * The shape in ggml order of a checkpoint tensor with PyTorch shape `shape` in this layout (`experts`: of one expert).
 */
export function layoutShape(layout: ParameterLayout, shape: readonly number[]): number[] {
  const [a = 1, b = 1, c = 1] = shape
  switch (layout) {
    case 'plain':
    case 'experts':
      return shape.length === 0 ? [1] : shape.toReversed()
    case 'conv-windows':
      return [b * c, a]
    case 'conv-columns':
      return [a, b * c]
    case 'conv-flat':
      return [shape.slice(1).reduce((product, size) => product * size, 1), a]
    default:
      return layout satisfies never
  }
}

/**
 * The values in the layout's order; `values` itself for `plain`, `experts` and `conv-flat`. Throws {@link TensorError}
 * when they do not match the shape.
 */
export function rearrange(layout: ParameterLayout, values: Float32Array, shape: readonly number[]): Float32Array {
  if (values.length !== shape.reduce((product, size) => product * size, 1)) {
    throw new TensorError(`${values.length} values do not match the shape [${shape.join(', ')}]`)
  }
  switch (layout) {
    case 'plain':
    case 'experts':
    case 'conv-flat':
      return values
    case 'conv-windows':
      return permute3(values, shape, [0, 2, 1])
    case 'conv-columns':
      return permute3(values, shape, [2, 1, 0])
    default:
      return layout satisfies never
  }
}

/** Row-major `values.permute(order)` of three dimensions. */
function permute3(
  values: Float32Array,
  shape: readonly number[],
  order: readonly [number, number, number],
): Float32Array {
  if (shape.length !== 3)
    throw new TensorError(`a 1-d convolution weight must have 3 dimensions, got [${shape.join(', ')}]`)
  const strides = [(shape[1] ?? 1) * (shape[2] ?? 1), shape[2] ?? 1, 1]
  const [n0 = 1, n1 = 1, n2 = 1] = order.map((axis) => shape[axis] ?? 1)
  const [s0 = 1, s1 = 1, s2 = 1] = order.map((axis) => strides[axis] ?? 1)
  const result = new Float32Array(values.length)
  let next = 0
  for (let i = 0; i < n0; i++) {
    for (let j = 0; j < n1; j++) {
      for (let k = 0; k < n2; k++) result[next++] = values[i * s0 + j * s1 + k * s2] ?? 0
    }
  }
  return result
}
