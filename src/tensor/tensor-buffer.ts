/**
 * Tensors in a device buffer: caches, constants, small weights.
 *
 * In: names, types and shapes. Out: tensors that are allocated together, and freed together by disposing the buffer.
 */

import type { Backend } from './backend.ts'
import { TensorError } from './errors.ts'
import { callAsync, type Address } from './native.ts'
import { contiguousStrides, describe, elementCount, toShape, type Tensor } from './tensor.ts'
import { tensorBytes, tensorTypes, type TensorType } from './types.ts'

export interface TensorSpec {
  readonly type: TensorType
  /** ggml order: contiguous dimension first. */
  readonly shape: readonly number[]
}

export type TypedArray = Float32Array | Int32Array | BigInt64Array | Uint16Array | Int16Array | Int8Array | Uint8Array

/** See the file header. Made by {@link allocateTensors}. */
export class TensorBuffer<Name extends string = string> implements Disposable {
  readonly tensors: Readonly<Record<Name, Tensor>>
  /** Bytes of device memory. */
  readonly bytes: number
  readonly #backend: Backend
  #context: Address | null
  readonly #contextBytes: number
  readonly #buffer: Address

  /** @internal */
  constructor(
    backend: Backend,
    tensors: Readonly<Record<Name, Tensor>>,
    context: Address,
    contextBytes: number,
    buffer: Address,
  ) {
    this.#backend = backend
    this.tensors = tensors
    this.#context = context
    this.#contextBytes = contextBytes
    this.#buffer = buffer
    this.bytes = Number(backend.native.backend_buffer_get_size(buffer))
    backend.account(this.bytes, 1)
  }

  /** Fills it with zeros. Must not be called while a graph that uses it runs. */
  clear(): void {
    this.#backend.native.backend_buffer_clear(this.#buffer, 0)
  }

  /** As {@link clear}, on a worker thread. */
  clearInWorker(): Promise<void> {
    return callAsync(this.#backend.native.backend_buffer_clear, this.#buffer, 0)
  }

  [Symbol.dispose](): void {
    if (this.#context === null) return
    const context = this.#context
    this.#context = null
    this.#backend.release(() => {
      this.#backend.native.backend_buffer_free(this.#buffer)
      this.#backend.account(-this.bytes, -1)
      this.#backend.freeContext(context, this.#contextBytes)
    })
  }
}

/**
 * Allocates tensors on the device. `clear` (default true) fills them with zeros; for large ones use
 * {@link TensorBuffer.clearInWorker}. Throws {@link TensorError} with the size when out of memory.
 */
export function allocateTensors<Name extends string>(
  backend: Backend,
  specs: Readonly<Record<Name, TensorSpec>>,
  { clear = true }: { readonly clear?: boolean } = {},
): TensorBuffer<Name> {
  const { native } = backend
  const names = Object.keys(specs) as Name[]
  const contextBytes = contextBytesFor(backend, names.length)
  const context = backend.newContext(contextBytes)
  try {
    const tensors = {} as Record<Name, Tensor>
    let total = 0
    for (const name of names) {
      tensors[name] = newTensor(backend, context, name, specs[name].type, specs[name].shape)
      total += tensorBytes(specs[name].type, specs[name].shape)
    }
    const buffer = native.backend_alloc_ctx_tensors_from_buft(context, backend.bufferType)
    if (buffer === null) throw new TensorError(`out of memory: ${total} bytes for ${names.length} tensors`)
    const result = new TensorBuffer(backend, tensors, context, contextBytes, buffer)
    if (clear) result.clear()
    return result
  } catch (error) {
    backend.freeContext(context, contextBytes)
    throw error
  }
}

/** @internal Bytes of a context for this many tensor records. */
export function contextBytesFor(backend: Backend, tensors: number): number {
  return Number(backend.native.tensor_overhead()) * (tensors + 1) + 1024
}

/** @internal A contiguous tensor record without memory. Throws {@link TensorError} for a wrong shape. */
export function newTensor<T extends TensorType>(
  backend: Backend,
  context: Address,
  name: string,
  type: T,
  dimensions: readonly number[],
): Tensor<T> {
  const shape = toShape(dimensions, name)
  const strides = contiguousStrides(type, shape)
  const handle = backend.native.new_tensor_4d(context, tensorTypes[type].id, ...shape)
  if (handle === null) throw new TensorError(`out of memory for the record of ${name}`)
  return { handle, type, shape, strides, name, repacked: false, isView: false }
}

/** Bytes of a contiguous tensor's data. */
export function bytesOf(tensor: Tensor): number {
  return tensorBytes(tensor.type, tensor.shape)
}

/**
 * Writes a whole tensor. `data` has its bytes in its type: f16 and bf16 as bit patterns in a Uint16Array, quantised
 * types as Uint8Array. Large data is written on a worker thread. Rejects with {@link TensorError} for a wrong size.
 */
export async function writeTensor(backend: Backend, tensor: Tensor, data: TypedArray): Promise<void> {
  const bytes = bytesOf(tensor)
  if (data.byteLength !== bytes) {
    throw new TensorError(`${describe(tensor)} takes ${bytes} bytes, ${data.byteLength} given`)
  }
  if (bytes < 1 << 20) backend.native.backend_tensor_set(tensor.handle, data, 0, bytes)
  else await callAsync(backend.native.backend_tensor_set, tensor.handle, data, 0, bytes)
}

/** Reads a whole contiguous f32 tensor that is not a graph's intermediate result (a cache, a weight). */
export function readTensor(backend: Backend, tensor: Tensor<'f32'>): Float32Array {
  const values = new Float32Array(elementCount(tensor))
  backend.native.backend_tensor_get(tensor.handle, values, 0, values.byteLength)
  return values
}
