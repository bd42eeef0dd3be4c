/**
 * Weights on a device: mapped from a file in place, or copied, or rearranged for fast matrix products.
 *
 * In: what each weight is (name, type, shape, where its bytes stand, how it is used). Out: a {@link WeightSet}:
 * tensors by name. On the CPU, weights of matrix products are rearranged ("repacked") in the types that the processor
 * has kernels for (4-bit ones mostly; with AMX 8-bit ones and f16 too), which makes decoding 1.4 times as fast; that
 * costs seconds and a copy, so the result is kept in a cache file and mapped from then on.
 */

import type { Backend } from './backend.ts'
import { TensorError } from './errors.ts'
import { adviseLargePages, ALIGNMENT, readIn, unmapOver, type FileMapping, type MappedRange } from './file-mapping.ts'
import { callAsync, type Address, type NativeData } from './native.ts'
import { RepackCache, removeOthers, type RepackCacheOptions } from './repack-cache.ts'
import { repackTypeFor } from './repack.ts'
import { contextBytesFor, newTensor, type TypedArray } from './tensor-buffer.ts'
import { describe, type Tensor } from './tensor.ts'
import { tensorBytes, type TensorType } from './types.ts'
import { layOut } from './weight-plan.ts'

/** Where a weight's bytes are: in a mapped file, or in memory. */
export type WeightSource = MappedSource | TypedArray

export interface MappedSource {
  readonly mapping: FileMapping
  readonly offset: number
}

/**
 * `matmul`: only ever the first operand of `mulMat`. `experts`: only of `mulMatId`. Both may be repacked, and then
 * nothing else can read them. `other`: norms, biases, embeddings read by row, convolution kernels read through views.
 */
export type WeightUse = 'matmul' | 'experts' | 'other'

export interface WeightSpec {
  readonly name: string
  readonly type: TensorType
  /** ggml order: contiguous dimension first. */
  readonly shape: readonly number[]
  readonly use: WeightUse
  readonly source: WeightSource
}

export interface LoadWeightsOptions {
  /** Keeps repacked weights in a file; left out, they are repacked at each start. */
  readonly repackCache?: RepackCacheOptions
  /** False keeps all weights as they are stored (for tests and measurements). Default true. */
  readonly repack?: boolean
  /** Most bytes of one buffer of copied weights. Default: what the device takes. */
  readonly largestBuffer?: number
  /** Called as bytes are placed, from 0 to 1. */
  readonly onProgress?: (fraction: number) => void
  readonly signal?: AbortSignal
}

/** See the file header. Disposing it releases the tensors; the mappings stay the caller's, and must outlive it. */
export class WeightSet implements Disposable {
  /**
   * Bytes by what was done with them now. `mapped`: in place, or repacked and kept earlier; `repacked`: rearranged
   * now.
   */
  readonly bytes: { readonly mapped: number; readonly copied: number; readonly repacked: number }
  readonly #tensors: ReadonlyMap<string, Tensor>
  readonly #ranges: readonly MappedRange[]
  readonly #release: () => void
  #disposed = false

  /** @internal */
  constructor(
    tensors: ReadonlyMap<string, Tensor>,
    bytes: WeightSet['bytes'],
    ranges: readonly MappedRange[],
    release: () => void,
  ) {
    this.#tensors = tensors
    this.bytes = bytes
    this.#ranges = ranges
    this.#release = release
  }

  get names(): readonly string[] {
    return [...this.#tensors.keys()]
  }

  has(name: string): boolean {
    return this.#tensors.has(name)
  }

  /**
   * Throws {@link TensorError} when there is no such weight, or its shape (trailing ones aside) is not the expected
   * one.
   */
  get(name: string, shape?: readonly number[]): Tensor {
    const tensor = this.#tensors.get(name)
    if (!tensor) throw new TensorError(`the checkpoint has no weight ${name}`)
    if (shape && tensor.shape.some((extent, i) => extent !== (shape[i] ?? 1))) {
      throw new TensorError(`weight ${describe(tensor)} should be [${shape.join(', ')}]`)
    }
    return tensor
  }

  /** Bytes that are pages of files: the system may drop them and read them again. */
  get mappedBytes(): number {
    return this.#ranges.reduce((sum, { length }) => sum + length, 0)
  }

  /**
   * Reads mapped weights in from disk, in the order of their files, so that the first steps need not wait for
   * scattered pages.
   */
  readIn(signal?: AbortSignal): Promise<void> {
    return readIn(this.#ranges, signal)
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return
    this.#disposed = true
    this.#release()
  }
}

interface Placed {
  readonly spec: WeightSpec
  readonly tensor: Tensor
  readonly bytes: number
}

/**
 * Places weights on the device. Throws {@link TensorError} for a source of the wrong size or a name given twice, and
 * when memory is short; rejects with the signal's reason when aborted. Nothing is left behind on failure.
 */
export async function loadWeights(
  backend: Backend,
  specs: readonly WeightSpec[],
  options: LoadWeightsOptions = {},
): Promise<WeightSet> {
  const { native } = backend
  const contextBytes = contextBytesFor(backend, specs.length)
  const context = backend.newContext(contextBytes)
  const owned: { buffer: Address; bytes: number; over?: MappedRange }[] = []
  const ranges: MappedRange[] = []
  const release = (): void => {
    backend.release(() => {
      for (const { buffer, bytes, over } of owned) {
        if (over) unmapOver(over.address, over.length)
        native.backend_buffer_free(buffer)
        backend.account(-bytes, -1)
      }
      backend.freeContext(context, contextBytes)
    })
  }
  const own = (buffer: Address | null, counted: number, what: string): Address => {
    if (buffer === null)
      throw new TensorError(`out of memory on ${backend.deviceName}: ${counted} bytes for ${what} in one buffer`)
    owned.push({ buffer, bytes: counted })
    backend.account(counted, 1)
    native.backend_buffer_set_usage(buffer, 1)
    return buffer
  }
  try {
    const tensors = new Map<string, Tensor>()
    const inPlace = new Map<FileMapping, Placed[]>()
    const copied: Placed[] = []
    const repacked = new Map<Address, Placed[]>()
    for (const spec of specs) {
      if (tensors.has(spec.name)) throw new TensorError(`weight ${spec.name} is given twice`)
      const bytes = tensorBytes(spec.type, spec.shape)
      checkSource(spec, bytes)
      const plain = newTensor(backend, context, spec.name, spec.type, spec.shape)
      const target =
        options.repack === false ? undefined : await repackTypeFor(backend, spec.type, plain.shape, spec.use)
      const tensor: Tensor = target === undefined ? plain : { ...plain, repacked: true }
      tensors.set(spec.name, tensor)
      const placed: Placed = { spec, tensor, bytes }
      if (target !== undefined) push(repacked, target, placed)
      else if (backend.kind === 'cpu' && isMapped(spec.source) && canStayInPlace(spec.source))
        push(inPlace, spec.source.mapping, placed)
      else copied.push(placed)
    }
    const total = specs.reduce((sum, spec) => sum + tensorBytes(spec.type, spec.shape), 0) || 1
    let done = 0
    const progress = (bytes: number): void => {
      done += bytes
      options.onProgress?.(Math.min(1, done / total))
    }
    const sum = (list: readonly Placed[]): number => list.reduce((bytes, placed) => bytes + placed.bytes, 0)

    let mappedBytes = 0
    for (const [mapping, list] of inPlace) {
      const buffer = own(native.backend_cpu_buffer_from_ptr(mapping.address, mapping.size), 0, mapping.path)
      for (const { spec, tensor } of list) {
        const offset = (spec.source as { offset: number }).offset
        place(backend, buffer, tensor, mapping.address + BigInt(offset))
      }
      ranges.push(...stretches(mapping, list))
      mappedBytes += sum(list)
      progress(sum(list))
    }
    const largest = options.largestBuffer ?? Number(native.backend_buft_get_max_size(backend.bufferType))
    for (const list of inBuffers(backend, copied, largest)) {
      const { offsets, bytes } = layOut(backend, backend.bufferType, list)
      const what = list.length === 1 ? `weight ${list[0]?.spec.name}` : `${list.length} weights`
      const buffer = own(native.backend_buft_alloc_buffer(backend.bufferType, bytes), bytes, what)
      const base = native.backend_buffer_get_base(buffer) ?? 0n
      if (backend.kind === 'cpu') adviseLargePages(base, bytes)
      for (const [i, { tensor }] of list.entries()) place(backend, buffer, tensor, base + BigInt(offsets[i] ?? 0))
      await write(backend, list, progress, options.signal)
    }
    let repackedBytes = 0
    const caches: RepackCache[] = []
    for (const [type, list] of repacked) {
      const { offsets, bytes } = layOut(backend, type, list)
      const cache = options.repackCache && RepackCache.forSet(backend, type, list, bytes, options.repackCache)
      if (cache) caches.push(cache)
      // The cache maps whole pages, so the weights start at a page and the buffer ends with spare ones.
      const size = bytes + RepackCache.page + RepackCache.alignmentOf(bytes)
      const buffer = native.backend_buft_alloc_buffer(type, size)
      const base = buffer === null ? 0n : (native.backend_buffer_get_base(buffer) ?? 0n)
      const start = RepackCache.startFrom(base, bytes)
      const isKept = cache?.exists() === true
      const whole = Math.ceil(bytes / RepackCache.page) * RepackCache.page
      const held = own(buffer, isKept ? 0 : size, `${list.length} repacked weights`)
      if (cache) owned.at(-1)!.over = { address: start, length: whole }
      for (const [i, { tensor }] of list.entries()) place(backend, held, tensor, start + BigInt(offsets[i] ?? 0))
      if (isKept) {
        cache.mapInto(start)
        ranges.push({ address: start, length: bytes })
        mappedBytes += bytes
        progress(sum(list))
      } else {
        adviseLargePages(base, size)
        await using writer = await cache?.write(start)
        await write(backend, list, progress, options.signal, async (i) => {
          if (!writer) return
          forgetSource(list[i]!)
          await writer.add(offsets[i] ?? 0, offsets[i + 1] ?? bytes)
        })
        repackedBytes += bytes
        if (writer && (await writer.finish())) {
          owned.at(-1)!.bytes = 0
          backend.account(-size, 0)
        }
        if (writer) ranges.push({ address: start, length: Math.min(bytes, writer.mapped) })
      }
    }
    if (options.repackCache && caches.length > 0) removeOthers(options.repackCache, caches)
    const bytes = { mapped: mappedBytes, copied: sum(copied), repacked: repackedBytes }
    return new WeightSet(tensors, bytes, ranges, release)
  } catch (error) {
    release()
    throw error
  }
}

function isMapped(source: WeightSource): source is MappedSource {
  return 'mapping' in source
}

/** The weights' bytes in their file, neighbours joined. */
function stretches(mapping: FileMapping, list: readonly Placed[]): MappedRange[] {
  const found: { address: Address; length: number }[] = []
  const sorted = list
    .map(({ spec, bytes }) => ({ offset: (spec.source as MappedSource).offset, bytes }))
    .toSorted((left, right) => left.offset - right.offset)
  for (const { offset, bytes } of sorted) {
    const address = mapping.address + BigInt(offset)
    const last = found.at(-1)
    const gap = last ? Number(address - last.address) - last.length : Infinity
    if (last && gap < RepackCache.page) last.length += gap + bytes
    else found.push({ address, length: bytes })
  }
  return mapping.mapped ? found : []
}

/** What has been rearranged is not read again, and its file's pages would push out what was made of them. */
function forgetSource({ spec, bytes }: Placed): void {
  if (isMapped(spec.source)) spec.source.mapping.forget(spec.source.offset, bytes)
}

function canStayInPlace(source: MappedSource): boolean {
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

function push<K>(map: Map<K, Placed[]>, key: K, value: Placed): void {
  const list = map.get(key)
  if (list) list.push(value)
  else map.set(key, [value])
}

/**
 * Splits weights into lists that fit a buffer each. One that is larger by itself stands alone; the device then says
 * whether it takes it.
 */
function inBuffers(backend: Backend, list: readonly Placed[], largest: number): Placed[][] {
  const alignment = Number(backend.native.backend_buft_get_alignment(backend.bufferType))
  const lists: Placed[][] = []
  let space = 0
  for (const placed of list) {
    const size = Number(backend.native.backend_buft_get_alloc_size(backend.bufferType, placed.tensor.handle))
    const bytes = Math.ceil(size / alignment) * alignment
    const last = lists.at(-1)
    if (last && bytes <= space) last.push(placed)
    else {
      lists.push([placed])
      space = largest
    }
    space -= bytes
  }
  return lists
}

function place(backend: Backend, buffer: Address, tensor: Tensor, address: Address): void {
  const status = backend.native.backend_tensor_alloc(buffer, tensor.handle, address)
  if (status !== 0) throw new TensorError(`weight ${describe(tensor)} could not be placed (status ${status})`)
}

/** Writes several weights at once: repacking is single-threaded inside the library. */
async function write(
  backend: Backend,
  list: readonly Placed[],
  progress: (bytes: number) => void,
  signal?: AbortSignal,
  /** Sees the index of each that is in place. */
  onWritten?: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    for (;;) {
      signal?.throwIfAborted()
      const index = next++
      const item = list[index]
      if (!item) return
      const { source } = item.spec
      const data: NativeData = isMapped(source) ? source.mapping.address + BigInt(source.offset) : source
      await callAsync(backend.native.backend_tensor_set, item.tensor.handle, data, 0, item.bytes)
      await onWritten?.(index)
      progress(item.bytes)
    }
  }
  const workers = await Promise.allSettled(Array.from({ length: Math.min(backend.threads, 4) }, worker))
  for (const result of workers) if (result.status === 'rejected') throw result.reason
}
