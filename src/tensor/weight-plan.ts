/**
 * How much memory weights will take once loaded, and whether their repacked form is cached; no weight is read.
 *
 * In: each weight's name, type, shape and use. Out: a {@link WeightPlan}. `loadWeights` lays out its buffers with the
 * same functions.
 */

import type { Backend } from './backend.ts'
import type { Address } from './native.ts'
import { RepackCache, type RepackCacheOptions } from './repack-cache.ts'
import { repackTypeFor } from './repack.ts'
import { contextBytesFor, newTensor } from './tensor-buffer.ts'
import type { Tensor } from './tensor.ts'
import { tensorBytes } from './types.ts'
import type { WeightSpec } from './weight-set.ts'

export interface WeightPlan {
  /** Bytes of all weights as they are stored. */
  readonly stored: number
  /** Of those, bytes of weights that this processor can repack. */
  readonly repackable: number
  /** Bytes of these once repacked; more than `repackable` with AMX. */
  readonly repacked: number
  /** Whether all of these are in the cache. */
  readonly cached: boolean
}

/**
 * Plans a load of these weights. Checks each kind of weight once, as loading does; allocates no memory for weights.
 * Names, types, shapes and their order must be those of the `loadWeights` call, because the cache depends on them.
 */
export async function planWeights(
  backend: Backend,
  weights: readonly Pick<WeightSpec, 'name' | 'type' | 'shape' | 'use'>[],
  cache?: RepackCacheOptions,
): Promise<WeightPlan> {
  const contextBytes = contextBytesFor(backend, weights.length)
  const context = backend.newContext(contextBytes)
  try {
    const byBufferType = new Map<Address, { tensor: Tensor }[]>()
    let [stored, repackable] = [0, 0]
    for (const { name, type, shape, use } of weights) {
      const bytes = tensorBytes(type, shape)
      const tensor = newTensor(backend, context, name, type, shape)
      const repackType = await repackTypeFor(backend, type, tensor.shape, use)
      stored += bytes
      if (repackType === undefined) continue
      repackable += bytes
      append(byBufferType, repackType, { tensor })
    }
    let repacked = 0
    let cached = byBufferType.size > 0
    for (const [bufferType, list] of byBufferType) {
      const { bytes } = layOut(backend, bufferType, list)
      repacked += bytes
      cached &&=
        cache !== undefined && RepackCache.forWeights(backend, bufferType, list, bytes, cache)?.exists() === true
    }
    return { stored, repackable, repacked, cached }
  } finally {
    backend.freeContext(context, contextBytes)
  }
}

/** @internal The offset and size in bytes of each weight in a buffer of all of them, and the buffer's bytes. */
export function layOut(
  backend: Backend,
  bufferType: Address,
  weights: readonly { readonly tensor: Tensor }[],
): { offsets: number[]; sizes: number[]; bytes: number } {
  const alignment = Number(backend.native.backend_buft_get_alignment(bufferType))
  const offsets: number[] = []
  const sizes: number[] = []
  let bytes = 0
  for (const { tensor } of weights) {
    const needed = Number(backend.native.backend_buft_get_alloc_size(bufferType, tensor.handle))
    const size = Math.ceil(needed / alignment) * alignment
    offsets.push(bytes)
    sizes.push(size)
    bytes += size
  }
  return { offsets, sizes, bytes }
}

/** @internal Adds a value to the list of a key. */
export function append<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key)
  if (list) list.push(value)
  else lists.set(key, [value])
}
