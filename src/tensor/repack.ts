/**
 * Which weights the CPU backend can repack for its fast matrix kernels.
 *
 * The library decides by type, processor and divisibility of the shape, and ends the process when an unsupported weight
 * is written to such a buffer. So a small weight of each kind is checked first. Kinds whose repacked products are wrong
 * are used as stored, with a warning.
 */

import type { Backend } from './backend.ts'
import type { Address } from './native.ts'
import { repackedError } from './repack-check.ts'
import { newTensor } from './tensor-buffer.ts'
import type { Shape } from './tensor.ts'
import { tensorTypes, type TensorType } from './types.ts'
import type { WeightUse } from './weight-set.ts'

/** The small weight has the same remainders by these sizes, which are multiples of all kernels' block sizes. */
const COLUMNS = 512
const ROWS = 64

/** Maximum relative error: above the rounding of correct kernels, below the errors of faulty ones. */
const MAX_ERROR = 0.02

/** Results by backend, and by kind of weight. */
const results = new WeakMap<Backend, Map<string, Promise<Address | undefined>>>()

/** The buffer type that repacks a weight, or undefined when the weight is used as stored. */
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
  let byKind = results.get(backend)
  if (!byKind) results.set(backend, (byKind = new Map()))
  let result = byKind.get(key)
  if (!result) byKind.set(key, (result = findBufferType(backend, type, small, use)))
  return result
}

async function findBufferType(
  backend: Backend,
  type: TensorType,
  shape: Shape,
  use: WeightUse,
): Promise<Address | undefined> {
  for (const bufferType of backend.extraBufferTypes) {
    const name = backend.native.backend_buft_name(bufferType)
    if (isKnownWrong(name, type, shape) || !isSupported(backend, bufferType, type, shape, use)) continue
    const error = await repackedError(backend, bufferType, type, shape, use)
    if (error <= MAX_ERROR) return bufferType
    process.emitWarning(
      `${type} weights with rows of ${shape[0]}, repacked as ${name}, give wrong products on this processor (relative ` +
        `error ${error.toExponential(1)}): they are not repacked as ${name}, which is slower`,
    )
  }
  return undefined
}

/**
 * ggml 0.25.1: AMX kernels of types with blocks of 32 add the last block's product to the result of earlier blocks.
 * With rows of a single block they add it to uninitialised memory.
 */
function isKnownWrong(bufferTypeName: string, type: TensorType, shape: Shape): boolean {
  return bufferTypeName === 'AMX' && tensorTypes[type].blockSize === 32 && shape[0] === 32
}

/** Whether the library supports such a weight in this buffer type. */
function isSupported(backend: Backend, bufferType: Address, type: TensorType, shape: Shape, use: WeightUse): boolean {
  const { native } = backend
  const [device] = backend.backends
  if (device === undefined) return false
  const bytes = Number(native.tensor_overhead()) * 16 + 1024
  const weights = backend.newContext(bytes)
  const context = backend.newContext(bytes)
  let buffer: Address | null = null
  try {
    const weight = newTensor(backend, weights, 'weight to check', type, shape)
    buffer = native.backend_alloc_ctx_tensors_from_buft(weights, bufferType)
    if (buffer === null) return false
    const x = newTensor(backend, context, 'x', 'f32', [shape[0], 1, 1])
    const ids = newTensor(backend, context, 'ids', 'i32', [1, 1])
    const product =
      use === 'experts'
        ? native.mul_mat_id(context, weight.handle, x.handle, ids.handle)
        : native.mul_mat(context, weight.handle, x.handle)
    return product !== null && native.backend_supports_op(device, product)
  } finally {
    if (buffer !== null) native.backend_buffer_free(buffer)
    backend.freeContext(context, bytes)
    backend.freeContext(weights, bytes)
  }
}
