/**
 * Keys and values of one sequence, for all layers of a decoder, and a step over several sequences at once.
 *
 * A cache has a fixed capacity, and rows are written by number, so one graph serves many steps. Attention reads the
 * first `bucket` rows, a multiple of 256, so graphs repeat; a mask hides the rows that are not written or not visible. In a step the
 * linear layers see the tokens of all sequences side by side ([hidden, tokens of A, tokens of B, ...]); only attention goes sequence by
 * sequence.
 *
 * On a CPU values are stored in columns, a token's value spread over all rows: then the values of a few tokens are a plain matrix product
 * over consecutive memory (`attention.ts`).
 */

import {
  allocateTensors,
  HALF_NEGATIVE_INFINITY,
  TensorError,
  type Backend,
  type GraphBuilder,
  type Inputs,
  type Tensor,
  type TensorBuffer,
} from '../tensor/index.ts'
import { foldedRows } from './attend-cached.ts'

export interface KvCacheOptions {
  readonly layers: number
  readonly keyValueHeads: number
  readonly headSize: number
  /** Most tokens it can hold. */
  readonly capacity: number
  /** f16 halves memory and time; f32 keeps parity with f32 references. Default f16. */
  readonly type?: 'f16' | 'f32'
  /** How values are stored. Default: columns on a CPU, rows elsewhere. */
  readonly values?: 'rows' | 'columns'
}

/** Attention reads whole buckets of rows. */
const BUCKET = 256
/** Room for tokens is a multiple of this, so that columns are too. */
const ROUND = 32

let nextId = 1

export class KvCache implements Disposable {
  /** Unique in the process; part of graph keys. */
  readonly id = nextId++
  readonly capacity: number
  readonly bytes: number
  /** Tokens there is room for: the capacity and a few. */
  readonly room: number
  /** Whether values are stored in columns. */
  readonly columns: boolean
  /** Elements of a token's keys, as of its values: kv heads * head. */
  readonly width: number
  readonly #options: KvCacheOptions
  readonly #buffer: TensorBuffer
  #length = 0

  /** Throws {@link TensorError} naming the size when memory is short. */
  constructor(backend: Backend, options: KvCacheOptions) {
    const { layers, keyValueHeads, headSize, type = 'f16' } = options
    if (!Number.isInteger(options.capacity) || options.capacity < 1) {
      throw new TensorError(`a cache needs a capacity of at least 1 token, got ${options.capacity}`)
    }
    this.capacity = options.capacity
    this.room = roomFor(options.capacity)
    this.width = keyValueHeads * headSize
    // Places in columns are 32-bit numbers.
    const byDefault = backend.kind === 'cpu' && this.width * this.room < 2 ** 31 ? 'columns' : 'rows'
    this.columns = (options.values ?? byDefault) === 'columns'
    this.#options = options
    const specs: Record<string, { type: 'f16' | 'f32'; shape: number[] }> = {}
    for (let layer = 0; layer < layers; layer++) {
      specs[`k${layer}`] = { type, shape: [this.width, this.room] }
      specs[`v${layer}`] = { type, shape: this.columns ? [this.room, this.width] : [this.width, this.room] }
    }
    this.#buffer = allocateTensors(backend, specs)
    this.bytes = this.#buffer.bytes
  }

  /** Bytes that a cache of these options takes. */
  static bytesFor(options: KvCacheOptions): number {
    return (
      2 *
      options.layers *
      options.keyValueHeads *
      options.headSize *
      roomFor(options.capacity) *
      (options.type === 'f32' ? 4 : 2)
    )
  }

  /** Tokens written. */
  get length(): number {
    return this.#length
  }

  /** Counts tokens as written, after the graph that wrote them has run. Throws when over the capacity. */
  advance(tokens: number): void {
    if (this.#length + tokens > this.capacity) throw overflow(this, tokens)
    this.#length += tokens
  }

  /** Forgets tokens from `length` on. */
  truncate(length: number): void {
    if (length < 0 || length > this.#length)
      throw new TensorError(`cannot cut a cache of ${this.#length} tokens to ${length}`)
    this.#length = length
  }

  /** What is stored of a layer: keys [kv heads * head, room]; values too, or in columns [room, kv heads * head]. */
  layer(layer: number): { keys: Tensor<'f16' | 'f32'>; values: Tensor<'f16' | 'f32'> } {
    const keys = this.#buffer.tensors[`k${layer}`]
    const values = this.#buffer.tensors[`v${layer}`]
    if (!keys || !values) throw new TensorError(`the cache has ${this.#options.layers} layers, not ${layer + 1}`)
    return { keys: keys as Tensor<'f16' | 'f32'>, values: values as Tensor<'f16' | 'f32'> }
  }

  [Symbol.dispose](): void {
    this.#buffer[Symbol.dispose]()
  }
}

function roomFor(capacity: number): number {
  return Math.ceil(capacity / ROUND) * ROUND
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

/** What attention needs to know of one sequence within a graph. */
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
  readonly places: Tensor<'i32'> | undefined
  /** f16, 0 where visible and -infinity elsewhere: [bucket, tokens], or with each token's row repeated (`attendCached`). */
  readonly mask: Tensor<'f16'>
}

export interface StepOptions {
  /** Tokens see at most this many latest tokens, themselves included (`sliding_window`). Default: all. */
  readonly window?: number | undefined
  /**
   * Heads / kv heads. When given, the masks of few tokens repeat each token's row so often: attention makes the heads of a group
   * into rows then, which is faster. Default 1.
   */
  readonly repeats?: number
}

/**
 * One step over several sequences: declares the inputs that caches need and computes their data.
 *
 * Use: `step.key` in the graph's key, `step.segments(g)` in its description, `...step.inputs()` among its inputs, and `step.advance()`
 * once it has run.
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
      const bucket = Math.min(cache.room, Math.ceil((cache.length + tokens) / BUCKET) * BUCKET)
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
      places: cache.columns ? g.input(`kv.places.${i}`, 'i32', [tokens * cache.width]) : undefined,
      mask: g.input(`kv.mask.${i}`, 'f16', [bucket, this.#maskRows(cache, tokens)]),
    }))
  }

  inputs(): Inputs {
    const inputs: Record<string, BigInt64Array | Int32Array | Uint16Array> = {}
    for (const [i, { cache, tokens, bucket }] of this.#items.entries()) {
      inputs[`kv.rows.${i}`] = BigInt64Array.from({ length: tokens }, (_, token) => BigInt(cache.length + token))
      if (cache.columns) inputs[`kv.places.${i}`] = placesOf(cache, tokens)
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
function placesOf(cache: KvCache, tokens: number): Int32Array {
  const places = new Int32Array(tokens * cache.width)
  let at = 0
  for (let token = cache.length; token < cache.length + tokens; token++)
    for (let i = 0; i < cache.width; i++) places[at++] = i * cache.room + token
  return places
}

/**
 * f16 mask [width, rows]: the token at `past + i` sees columns up to its own and at most `window` of them. Each token has `repeats` rows
 * one after the other; rows beyond the last token's are open.
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
