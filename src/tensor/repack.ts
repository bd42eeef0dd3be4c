/**
 * Which weights the CPU backend can rearrange for its fast matrix kernels.
 *
 * The library decides by type, processor and divisibility of the shape, and ends the process when an unsupported weight
 * is written to such a buffer. So a small tensor of the same kind is tried first, once per kind. A kind whose products
 * differ from those of stored weights stays as stored, with a warning.
 */

import type { Backend } from './backend.ts'
import type { Address } from './native.ts'
import { repackedError } from './repack-trial.ts'
import { newTensor } from './tensor-buffer.ts'
import type { Shape } from './tensor.ts'
import { tensorTypes, type TensorType } from './types.ts'
import type { WeightUse } from './weights.ts'

/**
 * The probe keeps a shape's remainders by these, which every kernel's divisibility rule divides; narrower weights are
 * not reduced.
 */
const COLUMNS = 512
const ROWS = 64

/** Repacked and stored weights of one type round alike; faulty kernels have relative errors of 0.1 or more. */
const LIMIT = 0.02

const probed = new WeakMap<Backend, Map<string, Promise<Address | undefined>>>()

/** The buffer type to put a weight in so that it is repacked, or undefined when it stays as stored. */
export async function repackTypeFor(
  backend: Backend,
  type: TensorType,
  shape: Shape,
  use: WeightUse,
): Promise<Address | undefined> {
  if (use === 'other' || backend.extraBufferTypes.length === 0 || shape[3] !== 1) return undefined
  if ((use === 'matmul') !== (shape[2] === 1) || shape[1] < ROWS || shape[0] < tensorTypes[type].blockSize)
    return undefined
  const columns = shape[0] < COLUMNS ? shape[0] : (shape[0] % COLUMNS) + COLUMNS
  const small: Shape = [columns, (shape[1] % ROWS) + ROWS, Math.min(shape[2], 2), 1]
  const key = `${type} ${use} ${small.join(' ')}`
  let known = probed.get(backend)
  if (!known) probed.set(backend, (known = new Map()))
  let found = known.get(key)
  if (!found) known.set(key, (found = probe(backend, type, small, use)))
  return found
}

async function probe(backend: Backend, type: TensorType, shape: Shape, use: WeightUse): Promise<Address | undefined> {
  for (const bufferType of backend.extraBufferTypes) {
    const name = backend.native.backend_buft_name(bufferType)
    if (isKnownWrong(name, type, shape) || !takes(backend, bufferType, type, shape, use)) continue
    const error = await repackedError(backend, bufferType, type, shape, use)
    if (error <= LIMIT) return bufferType
    process.emitWarning(
      `${type} weights with rows of ${shape[0]}, repacked as ${name}, give wrong products on this processor (off by ` +
        `${error.toExponential(1)}): they are not repacked so, which is slower`,
    )
  }
  return undefined
}

/**
 * AMX kernels of types with blocks of 32 add the last block's product to that of the blocks before it. In a row of one
 * block there is none, so each 32 full rows of x add what the memory held (ggml 0.25.1).
 */
function isKnownWrong(bufferTypeName: string, type: TensorType, shape: Shape): boolean {
  return bufferTypeName === 'AMX' && tensorTypes[type].blockSize === 32 && shape[0] === 32
}

/** Whether the library accepts such a weight in this buffer type. */
function takes(backend: Backend, bufferType: Address, type: TensorType, shape: Shape, use: WeightUse): boolean {
  const { native } = backend
  const own = backend.backends[0]
  if (own === undefined) return false
  const bytes = Number(native.tensor_overhead()) * 16 + 1024
  const weights = backend.newContext(bytes)
  const context = backend.newContext(bytes)
  let buffer: Address | null = null
  try {
    const weight = newTensor(backend, weights, 'probe', type, shape)
    buffer = native.backend_alloc_ctx_tensors_from_buft(weights, bufferType)
    if (buffer === null) return false
    const x = newTensor(backend, context, 'x', 'f32', [shape[0], 1, 1])
    const ids = newTensor(backend, context, 'ids', 'i32', [1, 1])
    const product =
      use === 'experts'
        ? native.mul_mat_id(context, weight.handle, x.handle, ids.handle)
        : native.mul_mat(context, weight.handle, x.handle)
    return product !== null && native.backend_supports_op(own, product)
  } finally {
    if (buffer !== null) native.backend_buffer_free(buffer)
    backend.freeContext(context, bytes)
    backend.freeContext(weights, bytes)
  }
}
