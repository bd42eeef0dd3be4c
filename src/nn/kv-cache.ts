/**
 * The KV cache of one sequence, for all layers of a decoder, and a batched step over several sequences.
 *
 * A cache has no memory until it is reserved, and grows in blocks of 256 tokens. Rows are written by index, so one
 * graph serves many steps. Attention reads the first `bucket` rows, a multiple of 256, so graphs repeat; a mask hides
 * the rows that are not written or not visible. In a step the linear layers compute the tokens of all sequences in one
 * matrix ([hidden, tokens of A, tokens of B, ...]); only attention is per sequence.
 */

import {
  HALF_NEGATIVE_INFINITY,
  TensorError,
  type Backend,
  type GraphBuilder,
  type Inputs,
  type Tensor,
} from '../tensor/index.ts'
import { foldedRows } from './attend-cached.ts'
import { KvStore, type KvLayout } from './kv-store.ts'

export interface KvCacheOptions {
  readonly layers: number
  readonly keyValueHeads: number
  readonly headSize: number
  /** Most tokens it may grow to. */
  readonly capacity: number
  /** f16 halves memory and bandwidth; f32 matches f32 references. Default f16. */
  readonly type?: 'f16' | 'f32'
  /** How values are stored. Default: columns on a CPU, rows elsewhere. */
  readonly values?: 'rows' | 'columns'
}

/** Attention reads whole buckets of rows, and caches grow by them. */
const BUCKET = 256
/** The last block's tokens are a multiple of this, so that columns are too. */
const ROUND = 32
/** A cache grows by at least this share of its size, so that copying stays a small part of the work. */
const GROWTH = 1 / 8

export class KvCache implements Disposable {
  readonly capacity: number
  /** Whether values are stored in columns. */
  readonly columns: boolean
  /** Elements of a token's keys, as of its values: kv heads * head. */
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
    // Positions in columns are 32-bit numbers.
    const byDefault =
      backend.kind === 'cpu' && this.width * roundUp(options.capacity, ROUND) < 2 ** 31 ? 'columns' : 'rows'
    this.columns = (options.values ?? byDefault) === 'columns'
    this.#store = new KvStore(backend, { ...layout, columns: this.columns })
  }

  /** Unique in the process, and part of graph keys. It changes after each growth. */
  get id(): number {
    return this.#store.id
  }

  /** Tokens for which memory is reserved. */
  get reserved(): number {
    return this.#store.reserved
  }

  /** Bytes of reserved memory. */
  get bytes(): number {
    return this.#store.bytes
  }

  /** Tokens written. */
  get length(): number {
    return this.#length
  }

  /** Tokens reserved after {@link reserve}: whole blocks, and at least an eighth more than now when it grows. */
  reservedFor(tokens: number): number {
    if (tokens > this.capacity) throw overflow(this, tokens - this.#length)
    if (tokens <= this.reserved) return this.reserved
    const wanted = roundUp(Math.max(tokens, Math.ceil(this.reserved * (1 + GROWTH))), BUCKET)
    return Math.min(wanted, roundUp(this.capacity, ROUND))
  }

  /** Bytes of a cache with this many reserved tokens, and the peak while it grows to that size. */
  bytesOf(reserved: number): { held: number; growing: number } {
    return this.#store.bytesOf(reserved)
  }

  /**
   * Reserves memory for `tokens` tokens in total, on worker threads; the content stays. No step may run with this cache
   * meanwhile. Rejects with {@link TensorError} when memory is short; the cache is then empty.
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

  /** Replaces its content by the first `length` tokens of another cache of the same model. Memory must be reserved. */
  async copyFrom(source: KvCache, length: number): Promise<void> {
    if (length > source.length) throw new TensorError(`a cache of ${source.length} tokens has no first ${length}`)
    if (length > this.reserved)
      throw new TensorError(`a cache with memory for ${this.reserved} tokens cannot take ${length}`)
    this.#length = 0
    if (length > 0) await this.#store.copyFrom(source.#store, length)
    this.#length = length
  }

  /** Counts tokens as written, after the graph that wrote them has run. Throws when over the capacity. */
  advance(tokens: number): void {
    if (this.#length + tokens > this.capacity) throw overflow(this, tokens)
    this.#length += tokens
  }

  /** Removes tokens from `length` on; their memory stays reserved. */
  truncate(length: number): void {
    if (length < 0 || length > this.#length)
      throw new TensorError(`cannot cut a cache of ${this.#length} tokens to ${length}`)
    this.#length = length
  }

  /**
   * The tensors of a layer: keys [kv heads * head, reserved]; values likewise, or in columns [reserved, kv heads *
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

function overflow(cache: KvCache, tokens: number): TensorError {
  return new TensorError(
    `the cache holds ${cache.length} of at most ${cache.capacity} tokens; ${tokens} more do not fit`,
  )
}

export interface StepItem {
  readonly cache: KvCache
  /** New tokens of this sequence. */
  readonly tokens: number
}

/** One sequence of a step, as attention uses it in a graph. */
export interface Segment {
  readonly cache: KvCache
  /** First token within the step's tokens. */
  readonly start: number
  readonly tokens: number
  /** Cache rows that attention reads. */
  readonly bucket: number
  /** Cache rows that the new tokens are written to, i64 [tokens]. */
  readonly rows: Tensor<'i64'>
  /** Where the new tokens' values go when they are stored in columns, i32 [kv heads * head, tokens] as one row. */
  readonly valueIndices: Tensor<'i32'> | undefined
  /**
   * f16, 0 where visible and -infinity elsewhere: [bucket, tokens], or with each token's row repeated (`attendCached`).
   */
  readonly mask: Tensor<'f16'>
}

export interface StepOptions {
  /** Tokens see at most this many latest tokens, themselves included (`sliding_window`). Default: all. */
  readonly window?: number | undefined
  /**
   * Heads / kv heads. When given, the masks of few tokens repeat each token's row so often: attention then computes the
   * heads of a group as rows, which is faster. Default 1.
   */
  readonly repeats?: number
}

/**
 * One step over several sequences: declares the inputs that caches need and computes their data.
 *
 * Use: `step.key` in the graph's key, `step.segments(g)` in its description, `...step.inputs()` among its inputs, and
 * `step.advance()` once it has run.
 */
export class KvStep {
  readonly tokens: number
  readonly #items: readonly (StepItem & { readonly start: number; readonly bucket: number })[]
  readonly #window: number
  readonly #repeats: number

  /** Throws {@link TensorError} when tokens do not fit in a cache, or a cache is given twice. */
  constructor(items: readonly StepItem[], options: StepOptions = {}) {
    let start = 0
    this.#items = items.map(({ cache, tokens }) => {
      if (!Number.isInteger(tokens) || tokens < 1)
        throw new TensorError(`a step needs at least one token, got ${tokens}`)
      if (cache.length + tokens > cache.capacity) throw overflow(cache, tokens)
      if (cache.length + tokens > cache.reserved)
        throw new TensorError(
          `the cache has memory for ${cache.reserved} tokens; reserve ${cache.length + tokens} first`,
        )
      const bucket = Math.min(cache.reserved, Math.ceil((cache.length + tokens) / BUCKET) * BUCKET)
      const item = { cache, tokens, start, bucket }
      start += tokens
      return item
    })
    if (new Set(items.map(({ cache }) => cache)).size !== items.length)
      throw new TensorError('a step names a cache twice')
    this.tokens = start
    this.#window = options.window ?? Number.POSITIVE_INFINITY
    this.#repeats = options.repeats ?? 1
  }

  /** All that the graph's description depends on. */
  get key(): string {
    return this.#items.map(({ cache, tokens, bucket }) => `kv${cache.id}:${tokens}/${bucket}`).join(' ')
  }

  /** Declares the inputs, once per graph. */
  segments(g: GraphBuilder): Segment[] {
    return this.#items.map(({ cache, tokens, start, bucket }, i) => ({
      cache,
      tokens,
      start,
      bucket,
      rows: g.input(`kv.rows.${i}`, 'i64', [tokens]),
      valueIndices: cache.columns ? g.input(`kv.valueIndices.${i}`, 'i32', [tokens * cache.width]) : undefined,
      mask: g.input(`kv.mask.${i}`, 'f16', [bucket, this.#maskRows(cache, tokens)]),
    }))
  }

  inputs(): Inputs {
    const inputs: Record<string, BigInt64Array | Int32Array | Uint16Array> = {}
    for (const [i, { cache, tokens, bucket }] of this.#items.entries()) {
      inputs[`kv.rows.${i}`] = BigInt64Array.from({ length: tokens }, (_, token) => BigInt(cache.length + token))
      if (cache.columns) inputs[`kv.valueIndices.${i}`] = valueIndicesOf(cache, tokens)
      inputs[`kv.mask.${i}`] = causalMask(cache.length, tokens, bucket, this.#window, this.#repeated(cache, tokens))
    }
    return inputs
  }

  /** Counts the step's tokens as written in every cache. */
  advance(): void {
    for (const { cache, tokens } of this.#items) cache.advance(tokens)
  }

  #maskRows(cache: KvCache, tokens: number): number {
    return foldedRows(tokens, this.#repeats, cache.columns)
  }

  #repeated(cache: KvCache, tokens: number): { repeats: number; rows: number } {
    const rows = this.#maskRows(cache, tokens)
    return { repeats: rows === tokens ? 1 : this.#repeats, rows }
  }
}

/** Element `width * token + i` of the new values goes to column `length + token` of row `i`. */
function valueIndicesOf(cache: KvCache, tokens: number): Int32Array {
  const valueIndices = new Int32Array(tokens * cache.width)
  let at = 0
  for (let token = cache.length; token < cache.length + tokens; token++)
    for (let i = 0; i < cache.width; i++) valueIndices[at++] = i * cache.reserved + token
  return valueIndices
}

/**
 * f16 mask [width, rows]: the token at `past + i` sees columns up to its own and at most `window` of them. Each token
 * has `repeats` rows one after the other; rows beyond the last token's are open.
 */
export function causalMask(
  past: number,
  tokens: number,
  width: number,
  window = Number.POSITIVE_INFINITY,
  { repeats = 1, rows = tokens * repeats }: { repeats?: number; rows?: number } = {},
): Uint16Array {
  const mask = new Uint16Array(width * rows)
  for (let row = 0; row < tokens * repeats; row++) {
    const position = past + Math.floor(row / repeats)
    mask.fill(HALF_NEGATIVE_INFINITY, row * width + position + 1, (row + 1) * width)
    const hidden = position + 1 - window
    if (hidden > 0) mask.fill(HALF_NEGATIVE_INFINITY, row * width, row * width + hidden)
  }
  return mask
}
