/**
 * Loads weights onto a device: mapped from a file in place, copied, or repacked.
 *
 * In: each weight's name, type, shape, use and source. Out: a {@link WeightSet}. On the CPU, weights of matrix products
 * are repacked, that is rearranged for the processor's fast kernels, in the types that have such kernels. Repacking
 * takes time and a copy, so the result can be cached in a file, which later loads map.
 */

import type { Backend } from './backend.ts'
import { TensorError } from './errors.ts'
import { adviseLargePages, ALIGNMENT, mapAnonymousOver, type FileMapping, type MappedRange } from './file-mapping.ts'
import { callAsync, type Address, type NativeData } from './native.ts'
import { RepackCache, removeOtherCaches, type RepackCacheOptions } from './repack-cache.ts'
import { repackTypeFor } from './repack.ts'
import { contextBytesFor, newTensor } from './tensor-buffer.ts'
import { describe, type Tensor } from './tensor.ts'
import { tensorBytes } from './types.ts'
import { append, layOut } from './weight-plan.ts'
import { WeightSet, type MappedSource, type WeightSource, type WeightSpec } from './weight-set.ts'

export interface LoadWeightsOptions {
  /** Caches repacked weights in a file. Default: no cache, weights are repacked at each load. */
  readonly repackCache?: RepackCacheOptions
  /** False: no weight is repacked (for tests and measurements). Default true. */
  readonly repack?: boolean
  /** Maximum bytes of one buffer of copied weights. Default: the device's limit. */
  readonly largestBuffer?: number
  /** Called with the loaded fraction of all bytes, from 0 to 1. */
  readonly onProgress?: (fraction: number) => void
  readonly signal?: AbortSignal
}

/** Maximum number of weights that are written at the same time. */
const PARALLEL_WRITES = 4
/** `GGML_BACKEND_BUFFER_USAGE_WEIGHTS` */
const USAGE_WEIGHTS = 1

/** A weight with its tensor record. */
interface PendingWeight {
  readonly spec: WeightSpec
  readonly tensor: Tensor
  readonly bytes: number
}

interface OwnedBuffer {
  readonly buffer: Address
  /** Bytes counted as memory of the backend. */
  countedBytes: number
  /** The part of its memory that a cache file is mapped over. */
  mappedOver?: MappedRange
}

/**
 * Loads weights onto the device. Throws {@link TensorError} for a source of the wrong size, a duplicate name, or too
 * little memory; rejects with the signal's reason when aborted. A failure frees everything.
 */
export async function loadWeights(
  backend: Backend,
  specs: readonly WeightSpec[],
  options: LoadWeightsOptions = {},
): Promise<WeightSet> {
  const loader = new WeightLoader(backend, specs.length, options)
  try {
    return await loader.load(specs)
  } catch (error) {
    loader.release()
    throw error
  }
}

/** The state of one {@link loadWeights} call. */
class WeightLoader {
  readonly #backend: Backend
  readonly #options: LoadWeightsOptions
  readonly #contextBytes: number
  readonly #context: Address
  readonly #buffers: OwnedBuffer[] = []
  readonly #mappedRanges: MappedRange[] = []
  readonly #bytes = { mapped: 0, copied: 0, repacked: 0 }
  #totalBytes = 1
  #doneBytes = 0

  constructor(backend: Backend, count: number, options: LoadWeightsOptions) {
    this.#backend = backend
    this.#options = options
    this.#contextBytes = contextBytesFor(backend, count)
    this.#context = backend.newContext(this.#contextBytes)
  }

  async load(specs: readonly WeightSpec[]): Promise<WeightSet> {
    const tensors = new Map<string, Tensor>()
    const inPlace = new Map<FileMapping, PendingWeight[]>()
    const copied: PendingWeight[] = []
    const repacked = new Map<Address, PendingWeight[]>()
    for (const spec of specs) {
      if (tensors.has(spec.name)) throw new TensorError(`weight ${spec.name} is given twice`)
      const { weight, repackType } = await this.#prepare(spec)
      tensors.set(spec.name, weight.tensor)
      if (repackType !== undefined) append(repacked, repackType, weight)
      else if (this.#backend.kind === 'cpu' && isMapped(spec.source) && isAligned(spec.source))
        append(inPlace, spec.source.mapping, weight)
      else copied.push(weight)
    }
    this.#totalBytes = specs.reduce((sum, spec) => sum + tensorBytes(spec.type, spec.shape), 0) || 1

    for (const [mapping, weights] of inPlace) this.#mapInPlace(mapping, weights)
    for (const weights of splitIntoBuffers(this.#backend, copied, this.#options.largestBuffer))
      await this.#copy(weights)
    const caches: RepackCache[] = []
    for (const [bufferType, weights] of repacked) {
      const cache = await this.#repack(bufferType, weights)
      if (cache) caches.push(cache)
    }
    const { repackCache } = this.#options
    if (repackCache && caches.length > 0) removeOtherCaches(repackCache, caches)
    return new WeightSet(tensors, this.#bytes, this.#mappedRanges, () => this.release())
  }

  /** Frees all buffers and tensor records. */
  release(): void {
    const backend = this.#backend
    backend.release(() => {
      for (const { buffer, countedBytes, mappedOver } of this.#buffers) {
        if (mappedOver) mapAnonymousOver(mappedOver.address, mappedOver.length)
        backend.native.backend_buffer_free(buffer)
        backend.account(-countedBytes, -1)
      }
      backend.freeContext(this.#context, this.#contextBytes)
    })
  }

  async #prepare(spec: WeightSpec): Promise<{ weight: PendingWeight; repackType: Address | undefined }> {
    const bytes = tensorBytes(spec.type, spec.shape)
    checkSource(spec, bytes)
    const tensor = newTensor(this.#backend, this.#context, spec.name, spec.type, spec.shape)
    const repackType =
      this.#options.repack === false ? undefined : await repackTypeFor(this.#backend, spec.type, tensor.shape, spec.use)
    return { weight: { spec, tensor: { ...tensor, repacked: repackType !== undefined }, bytes }, repackType }
  }

  #mapInPlace(mapping: FileMapping, weights: readonly PendingWeight[]): void {
    const buffer = this.#backend.native.backend_cpu_buffer_from_ptr(mapping.address, mapping.size)
    const { buffer: owned } = this.#own(buffer, 0, mapping.path)
    for (const { spec, tensor } of weights) {
      const { offset } = spec.source as MappedSource
      setAddress(this.#backend, owned, tensor, mapping.address + BigInt(offset))
    }
    this.#mappedRanges.push(...rangesIn(mapping, weights))
    this.#bytes.mapped += storedBytes(weights)
    this.#progress(storedBytes(weights))
  }

  async #copy(weights: readonly PendingWeight[]): Promise<void> {
    const backend = this.#backend
    const { offsets, bytes } = layOut(backend, backend.bufferType, weights)
    const what = weights.length === 1 ? `weight ${weights[0]?.spec.name}` : `${weights.length} weights`
    const { buffer } = this.#own(backend.native.backend_buft_alloc_buffer(backend.bufferType, bytes), bytes, what)
    const base = backend.native.backend_buffer_get_base(buffer) ?? 0n
    if (backend.kind === 'cpu') adviseLargePages(base, bytes)
    for (const [i, { tensor }] of weights.entries()) setAddress(backend, buffer, tensor, base + BigInt(offsets[i] ?? 0))
    await this.#write(weights)
    this.#bytes.copied += storedBytes(weights)
  }

  /** Repacks weights, or maps them from a cache file. Returns the cache, where there is one. */
  async #repack(bufferType: Address, weights: readonly PendingWeight[]): Promise<RepackCache | undefined> {
    const backend = this.#backend
    const { offsets, bytes } = layOut(backend, bufferType, weights)
    const { repackCache } = this.#options
    const cache = repackCache && RepackCache.forWeights(backend, bufferType, weights, bytes, repackCache)
    // A cache file is mapped in whole pages: the weights start at a page, and the buffer has room for the last one.
    const size = bytes + RepackCache.page + RepackCache.alignmentOf(bytes)
    const allocated = backend.native.backend_buft_alloc_buffer(bufferType, size)
    const base = allocated === null ? 0n : (backend.native.backend_buffer_get_base(allocated) ?? 0n)
    const start = RepackCache.startFrom(base, bytes)
    const isCached = cache?.exists() === true
    const owned = this.#own(allocated, isCached ? 0 : size, `${weights.length} repacked weights`)
    if (cache) owned.mappedOver = { address: start, length: Math.ceil(bytes / RepackCache.page) * RepackCache.page }
    for (const [i, { tensor }] of weights.entries())
      setAddress(backend, owned.buffer, tensor, start + BigInt(offsets[i] ?? 0))
    if (isCached) {
      cache.mapInto(start)
      this.#mappedRanges.push({ address: start, length: bytes })
      this.#bytes.mapped += bytes
      this.#progress(storedBytes(weights))
      return cache
    }
    adviseLargePages(base, size)
    await using writer = await cache?.write(start)
    await this.#write(weights, async (i) => {
      if (!writer) return
      evictSource(weights[i]!)
      await writer.add(offsets[i] ?? 0, offsets[i + 1] ?? bytes)
    })
    this.#bytes.repacked += bytes
    if (writer && (await writer.finish())) {
      owned.countedBytes = 0
      backend.account(-size, 0)
    }
    if (writer) this.#mappedRanges.push({ address: start, length: Math.min(bytes, writer.mapped) })
    return cache
  }

  #own(buffer: Address | null, countedBytes: number, what: string): OwnedBuffer {
    if (buffer === null) {
      const { deviceName } = this.#backend
      throw new TensorError(`out of memory on ${deviceName}: ${countedBytes} bytes for ${what} in one buffer`)
    }
    const owned: OwnedBuffer = { buffer, countedBytes }
    this.#buffers.push(owned)
    this.#backend.account(countedBytes, 1)
    this.#backend.native.backend_buffer_set_usage(buffer, USAGE_WEIGHTS)
    return owned
  }

  /**
   * Writes several weights at the same time, because the library repacks each in a single thread. `onWritten` gets the
   * index of each written weight.
   */
  async #write(weights: readonly PendingWeight[], onWritten?: (index: number) => Promise<void>): Promise<void> {
    const { signal } = this.#options
    let next = 0
    const worker = async (): Promise<void> => {
      for (;;) {
        signal?.throwIfAborted()
        const index = next++
        const weight = weights[index]
        if (!weight) return
        const { source } = weight.spec
        const data: NativeData = isMapped(source) ? source.mapping.address + BigInt(source.offset) : source
        await callAsync(this.#backend.native.backend_tensor_set, weight.tensor.handle, data, 0, weight.bytes)
        await onWritten?.(index)
        this.#progress(weight.bytes)
      }
    }
    const count = Math.min(this.#backend.threads, PARALLEL_WRITES)
    const results = await Promise.allSettled(Array.from({ length: count }, worker))
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  #progress(bytes: number): void {
    this.#doneBytes += bytes
    this.#options.onProgress?.(Math.min(1, this.#doneBytes / this.#totalBytes))
  }
}

function isMapped(source: WeightSource): source is MappedSource {
  return 'mapping' in source
}

/** Whether a tensor may use the source in place. */
function isAligned(source: MappedSource): boolean {
  return (source.mapping.address + BigInt(source.offset)) % BigInt(ALIGNMENT) === 0n
}

function checkSource(spec: WeightSpec, bytes: number): void {
  const { source } = spec
  if (isMapped(source)) {
    if (source.offset < 0 || source.offset + bytes > source.mapping.size) {
      throw new TensorError(`weight ${spec.name} ends beyond the end of ${source.mapping.path}: the file is cut off`)
    }
  } else if (source.byteLength !== bytes) {
    throw new TensorError(
      `weight ${spec.name}: ${spec.type} [${spec.shape.join(', ')}] takes ${bytes} bytes, ${source.byteLength} given`,
    )
  }
}

function storedBytes(weights: readonly PendingWeight[]): number {
  return weights.reduce((sum, { bytes }) => sum + bytes, 0)
}

/** The weights' ranges in their mapped file, adjacent ones merged. */
function rangesIn(mapping: FileMapping, weights: readonly PendingWeight[]): MappedRange[] {
  const ranges: { address: Address; length: number }[] = []
  const sorted = weights
    .map(({ spec, bytes }) => ({ offset: (spec.source as MappedSource).offset, bytes }))
    .toSorted((left, right) => left.offset - right.offset)
  for (const { offset, bytes } of sorted) {
    const address = mapping.address + BigInt(offset)
    const last = ranges.at(-1)
    const gap = last ? Number(address - last.address) - last.length : Infinity
    if (last && gap < RepackCache.page) last.length += gap + bytes
    else ranges.push({ address, length: bytes })
  }
  return mapping.mapped ? ranges : []
}

/** A repacked weight's source is not read again; its pages would displace those of the cache file. */
function evictSource({ spec, bytes }: PendingWeight): void {
  if (isMapped(spec.source)) spec.source.mapping.evict(spec.source.offset, bytes)
}

/**
 * Splits weights into lists that fit in one buffer each. A weight that is larger than a buffer gets its own list, and
 * the device accepts or refuses it.
 */
function splitIntoBuffers(
  backend: Backend,
  weights: readonly PendingWeight[],
  largestBuffer = Number(backend.native.backend_buft_get_max_size(backend.bufferType)),
): PendingWeight[][] {
  const { sizes } = layOut(backend, backend.bufferType, weights)
  const lists: PendingWeight[][] = []
  let space = 0
  for (const [i, weight] of weights.entries()) {
    const bytes = sizes[i] ?? 0
    const last = lists.at(-1)
    if (last && bytes <= space) last.push(weight)
    else {
      lists.push([weight])
      space = largestBuffer
    }
    space -= bytes
  }
  return lists
}

function setAddress(backend: Backend, buffer: Address, tensor: Tensor, address: Address): void {
  const status = backend.native.backend_tensor_alloc(buffer, tensor.handle, address)
  if (status !== 0) throw new TensorError(`weight ${describe(tensor)} could not be placed (status ${status})`)
}
