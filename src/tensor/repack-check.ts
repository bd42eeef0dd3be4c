/**
 * Compares products of repacked weights with products of the same weights as stored, on small weights.
 *
 * Kernels of repacked weights have separate code for one row, full blocks of rows and remaining rows: all are compared.
 * Each graph runs twice, because a kernel that wrongly accumulates is correct while its memory is zero.
 */

import type { Backend } from './backend.ts'
import { TensorError } from './errors.ts'
import { buildGraph } from './graph.ts'
import type { Address } from './native.ts'
import { relativeError, repeatableNumbers } from './numeric-check.ts'
import { quantize } from './quantize.ts'
import { newTensor } from './tensor-buffer.ts'
import { elementCount, type Shape, type Tensor } from './tensor.ts'
import type { TensorType } from './types.ts'
import type { WeightUse } from './weight-set.ts'

/** Rows of x: one, less than a block of any kernel, and two blocks of 32 with 19 remaining rows. */
const ROW_COUNTS = [1, 5, 83]

/** The largest relative error over all row counts, or NaN. Correct kernels round like those of stored weights. */
export async function repackedError(
  backend: Backend,
  bufferType: Address,
  type: TensorType,
  shape: Shape,
  use: WeightUse,
): Promise<number> {
  const values = Float32Array.from({ length: elementCount({ shape }) }, repeatableNumbers(1))
  const stored = await quantize(backend, type, values, shape[0])
  using repacked = allocate(backend, bufferType, type, shape, stored)
  using plain = allocate(backend, backend.bufferType, type, shape, stored)
  let largest = 0
  for (const rows of ROW_COUNTS) {
    const x = Float32Array.from({ length: shape[0] * rows }, repeatableNumbers(2))
    const ids = Int32Array.from({ length: rows }, (_, i) => i % shape[2])
    const products = async (weight: Tensor): Promise<Float32Array> => {
      using graph = buildGraph(backend, (g) => ({
        y:
          use === 'experts'
            ? g.mulMatId(weight, g.input('x', 'f32', [shape[0], 1, rows]), g.input('ids', 'i32', [1, rows]))
            : g.mulMat(weight, g.input('x', 'f32', [shape[0], rows])),
      }))
      const inputs = use === 'experts' ? { x, ids } : { x }
      await graph.run(inputs)
      return (await graph.run(inputs)).y
    }
    const error = relativeError(await products({ ...repacked.tensor, repacked: true }), await products(plain.tensor))
    if (!(error <= largest)) largest = error
    if (Number.isNaN(error)) break
  }
  return largest
}

/** A weight in a buffer of the given type. */
function allocate(
  backend: Backend,
  bufferType: Address,
  type: TensorType,
  shape: Shape,
  stored: Uint8Array,
): Disposable & { readonly tensor: Tensor } {
  const { native } = backend
  const bytes = Number(native.tensor_overhead()) * 2 + 1024
  const context = backend.newContext(bytes)
  const tensor = newTensor(backend, context, 'weight to check', type, shape)
  const buffer = native.backend_alloc_ctx_tensors_from_buft(context, bufferType)
  if (buffer === null) {
    backend.freeContext(context, bytes)
    throw new TensorError(`out of memory: ${stored.byteLength} bytes to check repacked weights`)
  }
  native.backend_tensor_set(tensor.handle, stored, 0, stored.byteLength)
  return {
    tensor,
    [Symbol.dispose]() {
      backend.release(() => {
        native.backend_buffer_free(buffer)
        backend.freeContext(context, bytes)
      })
    },
  }
}
