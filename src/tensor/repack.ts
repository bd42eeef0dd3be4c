/**
 * Which weights the CPU backend can rearrange for its fast matrix kernels.
 *
 * The library decides by type, processor and divisibility of the shape, and ends the process when a weight that it cannot take is
 * written to such a buffer. So a small tensor of the same kind is tried first, once per kind.
 */

import type { Backend } from './backend.ts'
import type { Address } from './native.ts'
import { newTensor } from './tensor-buffer.ts'
import type { Shape } from './tensor.ts'
import { tensorTypes, type TensorType } from './types.ts'
import type { WeightUse } from './weights.ts'

/** The probe keeps a shape's remainders by these, which every kernel's divisibility rule divides. */
const COLUMNS = 512
const ROWS = 64

const probed = new WeakMap<Backend, Map<string, Address | undefined>>()

/** The buffer type to put a weight in so that it is repacked, or undefined when it stays as stored. */
export function repackTypeFor(backend: Backend, type: TensorType, shape: Shape, use: WeightUse): Address | undefined {
  if (use === 'other' || backend.extraBufferTypes.length === 0 || shape[3] !== 1) return undefined
  if ((use === 'matmul') !== (shape[2] === 1) || shape[1] < ROWS || shape[0] < tensorTypes[type].blockSize)
    return undefined
  const small: Shape = [(shape[0] % COLUMNS) + COLUMNS, (shape[1] % ROWS) + ROWS, Math.min(shape[2], 2), 1]
  const key = `${type} ${use} ${small.join(' ')}`
  let known = probed.get(backend)
  if (!known) probed.set(backend, (known = new Map()))
  if (!known.has(key)) known.set(key, probe(backend, type, small, use))
  return known.get(key)
}

function probe(backend: Backend, type: TensorType, shape: Shape, use: WeightUse): Address | undefined {
  const { native } = backend
  const own = backend.backends[0]
  if (own === undefined) return undefined
  const bytes = Number(native.tensor_overhead()) * 16 + 1024
  for (const bufferType of backend.extraBufferTypes) {
    const weights = backend.newContext(bytes)
    const context = backend.newContext(bytes)
    let buffer: Address | null = null
    try {
      const weight = newTensor(backend, weights, 'probe', type, shape)
      buffer = native.backend_alloc_ctx_tensors_from_buft(weights, bufferType)
      if (buffer === null) continue
      const x = newTensor(backend, context, 'x', 'f32', [shape[0], 1, 1])
      const ids = newTensor(backend, context, 'ids', 'i32', [1, 1])
      const product =
        use === 'experts'
          ? native.mul_mat_id(context, weight.handle, x.handle, ids.handle)
          : native.mul_mat(context, weight.handle, x.handle)
      if (product !== null && native.backend_supports_op(own, product)) return bufferType
    } finally {
      if (buffer !== null) native.backend_buffer_free(buffer)
      backend.freeContext(context, bytes)
      backend.freeContext(weights, bytes)
    }
  }
  return undefined
}
