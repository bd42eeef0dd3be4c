/**
 * The KV cache of one sequence, for all layers of a decoder.
 *
 * A cache has no memory until it is reserved, and grows in blocks of 256 tokens. Rows are written by index, so that one
 * graph is used for many steps (`kv-step.ts`).
 */

import { TensorError, type Backend, type Tensor } from '../tensor/index.ts'
import { KvStore, type KvLayout } from './kv-store.ts'

export interface KvCacheOptions {
  readonly layers: number
  readonly keyValueHeads: number
  readonly headSize: number
  /** Maximum number of tokens. */
  readonly capacity: number
  /** f16 halves memory and bandwidth; f32 matches f32 references. Default f16. */
  readonly type?: 'f16' | 'f32'
  /** How values are stored. Default: columns on a CPU, rows elsewhere. */
  readonly values?: 'rows' | 'columns'
}

/** @internal Tokens in a bucket: caches grow by whole buckets, and attention to long contexts reads whole ones. */
export const BUCKET = 256
/** The capacity is rounded up to a multiple of this, so that columns are aligned. */
const CAPACITY_STEP = 32
/** A cache grows by at least this share of its size, so that copying stays a small part of the work. */
const GROWTH = 1 / 8

export class KvCache implements Disposable {
  readonly capacity: number
  /** Whether values are stored in columns. */
  readonly columns: boolean
  /** Elements of a token's keys in one layer, and of its values: kv heads * head. */
  readonly width: number
  readonly #store: KvStore
  #length = 0

  /** Creates a cache without memory; see {@link reserve}. */
  constructor(backend: Backend, options: KvCacheOptions) {
    if (!Number.isInteger(options.capacity) || options.capacity < 1) {
      throw new TensorError(`a cache needs a capacity of at least 1 token, got ${options.capacity}`)
    }
    const layout = layoutOf(options)
    this.capacity = options.capacity
    this.width = layout.width
    // Columns are written by i32 indices.
    const defaultLayout =
      backend.kind === 'cpu' && this.width * roundUp(options.capacity, CAPACITY_STEP) < 2 ** 31 ? 'columns' : 'rows'
    this.columns = (options.values ?? defaultLayout) === 'columns'
    this.#store = new KvStore(backend, { ...layout, columns: this.columns })
  }

  /** Unique in the process, and part of graph keys. It changes after each growth. */
  get id(): number {
    return this.#store.id
  }

  /** Number of tokens with reserved memory. */
  get reserved(): number {
    return this.#store.reserved
  }

  /** Bytes of reserved memory. */
  get bytes(): number {
    return this.#store.bytes
  }

  /** Number of tokens written. */
  get length(): number {
    return this.#length
  }

  /** Value of {@link reserved} after {@link reserve}: whole blocks, and at least an eighth more than before. */
  reservedFor(tokens: number): number {
    if (tokens > this.capacity) throw capacityError(this, tokens - this.#length)
    if (tokens <= this.reserved) return this.reserved
    const grown = roundUp(Math.max(tokens, Math.ceil(this.reserved * (1 + GROWTH))), BUCKET)
    return Math.min(grown, roundUp(this.capacity, CAPACITY_STEP))
  }

  /** Bytes of a cache with this many reserved tokens, and the peak while it grows to this size. */
  bytesOf(reserved: number): { held: number; growing: number } {
    return this.#store.bytesOf(reserved)
  }

  /**
   * Reserves memory for `tokens` tokens in total, on worker threads, and keeps the content. No step may use the cache
   * meanwhile. Rejects with {@link TensorError} when out of memory; the cache is then empty.
   */
  async reserve(tokens: number): Promise<void> {
    const reserved = this.reservedFor(tokens)
    if (reserved === this.reserved) return
    try {
      await this.#store.grow(reserved, this.#length)
    } catch (error) {
      this.#length = 0
      throw error
    }
  }

  /** Frees all memory. */
  clear(): void {
    this.#length = 0
    this.#store.clear()
  }

  /**
   * Replaces the content by the first `length` tokens of another cache of the same model. Rejects with
   * {@link TensorError} when the source is shorter or too little memory is reserved.
   */
  async copyFrom(source: KvCache, length: number): Promise<void> {
    if (length > source.length)
      throw new TensorError(`a cache of ${source.length} tokens does not have ${length} tokens to copy`)
    if (length > this.reserved)
      throw new TensorError(`the cache has memory for ${this.reserved} tokens; reserve ${length} first`)
    this.#length = 0
    if (length > 0) await this.#store.copyFrom(source.#store, length)
    this.#length = length
  }

  /** Adds to {@link length}, after a graph has written the tokens. Throws {@link TensorError} beyond the capacity. */
  advance(tokens: number): void {
    if (this.#length + tokens > this.capacity) throw capacityError(this, tokens)
    this.#length += tokens
  }

  /**
   * Removes the tokens from `length` on; their memory stays reserved. Throws {@link TensorError} for a wrong length.
   */
  truncate(length: number): void {
    if (length < 0 || length > this.#length)
      throw new TensorError(`cannot truncate a cache of ${this.#length} tokens to ${length}`)
    this.#length = length
  }

  /**
   * The tensors of a layer: keys [kv heads * head, reserved]; values the same, or in columns [reserved, kv heads *
   * head].
   */
  layer(layer: number): { keys: Tensor<'f16' | 'f32'>; values: Tensor<'f16' | 'f32'> } {
    return this.#store.layer(layer)
  }

  [Symbol.dispose](): void {
    this.clear()
  }
}

function layoutOf({ layers, keyValueHeads, headSize, type = 'f16' }: KvCacheOptions): Omit<KvLayout, 'columns'> {
  return { layers, width: keyValueHeads * headSize, type }
}

function roundUp(tokens: number, block: number): number {
  return Math.ceil(tokens / block) * block
}

/** @internal */
export function capacityError(cache: KvCache, tokens: number): TensorError {
  return new TensorError(
    `the cache holds ${cache.length} of at most ${cache.capacity} tokens; ${tokens} more do not fit`,
  )
}
