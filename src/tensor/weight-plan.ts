/**
 * What loading weights would make of them, before any is read: bytes, and whether they are rearranged and kept on
 * disk already.
 *
 * In: what each weight is. Out: a {@link WeightPlan}. `loadWeights` lays its buffers out with the same functions.
 */

import type { Backend } from './backend.ts'
import type { Address } from './native.ts'
import { RepackCache, type RepackCacheOptions } from './repack-cache.ts'
import { repackTypeFor } from './repack.ts'
import { contextBytesFor, newTensor } from './tensor-buffer.ts'
import type { Tensor } from './tensor.ts'
import { tensorBytes } from './types.ts'
import type { WeightSpec } from './weights.ts'

export interface WeightPlan {
  /** Bytes of all weights as they are stored. */
  readonly stored: number
  /**
   * Of those that can be rearranged for this processor: bytes as stored, and once rearranged. With AMX the latter are
   * more.
   */
  readonly repackable: number
  readonly repacked: number
  /** Whether all that would be rearranged is in the cache. */
  readonly kept: boolean
}

/**
 * Tries each kind of weight once, as loading does; allocates no memory for weights. Names, types, shapes and order as
 * for `loadWeights`.
 */
export async function planWeights(
  backend: Backend,
  weights: readonly Pick<WeightSpec, 'name' | 'type' | 'shape' | 'use'>[],
  cache?: RepackCacheOptions,
): Promise<WeightPlan> {
  const contextBytes = contextBytesFor(backend, weights.length)
  const context = backend.newContext(contextBytes)
  try {
    const lists = new Map<Address, { tensor: Tensor }[]>()
    let [stored, repackable] = [0, 0]
    for (const { name, type, shape, use } of weights) {
      const bytes = tensorBytes(type, shape)
      const tensor = newTensor(backend, context, name, type, shape)
      const target = await repackTypeFor(backend, type, tensor.shape, use)
      stored += bytes
      if (target === undefined) continue
      repackable += bytes
      const list = lists.get(target)
      if (list) list.push({ tensor })
      else lists.set(target, [{ tensor }])
    }
    let repacked = 0
    let kept = lists.size > 0
    for (const [type, list] of lists) {
      const { bytes } = layOut(backend, type, list)
      repacked += bytes
      kept &&= cache !== undefined && RepackCache.forSet(backend, type, list, bytes, cache)?.exists() === true
    }
    return { stored, repackable, repacked, kept }
  } finally {
    backend.freeContext(context, contextBytes)
  }
}

/** @internal Where each weight of a buffer begins, and the buffer's bytes. */
export function layOut(
  backend: Backend,
  type: Address,
  list: readonly { readonly tensor: Tensor }[],
): { offsets: number[]; bytes: number } {
  const alignment = Number(backend.native.backend_buft_get_alignment(type))
  const offsets: number[] = []
  let bytes = 0
  for (const { tensor } of list) {
    offsets.push(bytes)
    const size = Number(backend.native.backend_buft_get_alloc_size(type, tensor.handle))
    bytes += Math.ceil(size / alignment) * alignment
  }
  return { offsets, bytes }
}
