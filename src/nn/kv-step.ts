/**
 * A step of a decoder over several sequences, each with its KV cache.
 *
 * In: caches and numbers of new tokens. Out: a {@link KvStep}, which declares the graph inputs that caches need and
 * computes their data. The linear layers compute the tokens of all sequences as one matrix ([hidden, tokens of A,
 * tokens of B, ...]); only attention is per sequence. It reads the first `bucket` rows of a cache, whole steps of 256
 * (64 in short contexts on a CPU), so that graphs repeat; a mask hides rows that are not written or not visible.
 */

import { HALF_NEGATIVE_INFINITY, TensorError, type GraphBuilder, type Inputs, type Tensor } from '../tensor/index.ts'
import { maskRowsFor } from './attend-cached.ts'
import { BUCKET, capacityError, type KvCache } from './kv-cache.ts'

/** Rows in a step of short contexts. */
const FINE_BUCKET = 64

export interface StepItem {
  readonly cache: KvCache
  /** New tokens of this sequence. */
  readonly tokens: number
}

/** One sequence of a step, as attention uses it in a graph. */
export interface Segment {
  readonly cache: KvCache
  /** Index of the first token within the step's tokens. */
  readonly start: number
  readonly tokens: number
  /** Number of cache rows that attention reads. */
  readonly bucket: number
  /** Cache rows that the new tokens are written to, i64 [tokens]. */
  readonly rows: Tensor<'i64'>
  /** With values in columns: indices of the new tokens' values, i32 [kv heads * head * tokens]. */
  readonly valueIndices: Tensor<'i32'> | undefined
  /**
   * f16, 0 where visible and -infinity elsewhere: [bucket, tokens], or with each token's row repeated, see
   * `attendCached`.
   */
  readonly mask: Tensor<'f16'>
}

export interface StepOptions {
  /** Tokens attend to at most this many latest tokens, including themselves (`sliding_window`). Default: all. */
  readonly window?: number | undefined
  /**
   * Heads / kv heads. Masks of few tokens repeat each token's row this many times, so that attention can fold heads
   * into rows, which is faster. Default 1: no repetition.
   */
  readonly repeats?: number
}

/**
 * One step over several sequences.
 *
 * Use: `step.key` in the graph's key, `step.segments(g)` in its description, `...step.inputs()` among its inputs, and
 * `step.advance()` after the run.
 */
export class KvStep {
  readonly tokens: number
  readonly #items: readonly (StepItem & { readonly start: number; readonly bucket: number })[]
  readonly #window: number
  readonly #repeats: number

  /** Throws {@link TensorError} when a cache has too little memory or capacity, or is given twice. */
  constructor(items: readonly StepItem[], options: StepOptions = {}) {
    let start = 0
    this.#items = items.map(({ cache, tokens }) => {
      if (!Number.isInteger(tokens) || tokens < 1)
        throw new TensorError(`a step needs at least one token, got ${tokens}`)
      if (cache.length + tokens > cache.capacity) throw capacityError(cache, tokens)
      if (cache.length + tokens > cache.reserved)
        throw new TensorError(
          `the cache has memory for ${cache.reserved} tokens; reserve ${cache.length + tokens} first`,
        )
      const bucket = bucketFor(cache, cache.length + tokens)
      const item = { cache, tokens, start, bucket }
      start += tokens
      return item
    })
    if (new Set(items.map(({ cache }) => cache)).size !== items.length)
      throw new TensorError('a step contains the same cache twice')
    this.tokens = start
    this.#window = options.window ?? Number.POSITIVE_INFINITY
    this.#repeats = options.repeats ?? 1
  }

  /** Everything that the graph's description depends on. */
  get key(): string {
    return this.#items.map(({ cache, tokens, bucket }) => `kv${cache.id}:${tokens}/${bucket}`).join(' ')
  }

  /** Declares the inputs of all sequences; once per graph. */
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

  /** Data of the inputs, for the caches' current lengths. */
  inputs(): Inputs {
    const inputs: Record<string, BigInt64Array | Int32Array | Uint16Array> = {}
    for (const [i, { cache, tokens, bucket }] of this.#items.entries()) {
      inputs[`kv.rows.${i}`] = BigInt64Array.from({ length: tokens }, (_, token) => BigInt(cache.length + token))
      if (cache.columns) inputs[`kv.valueIndices.${i}`] = valueIndicesOf(cache, tokens)
      inputs[`kv.mask.${i}`] = causalMask(cache.length, tokens, bucket, this.#window, this.#repeated(cache, tokens))
    }
    return inputs
  }

  /** Adds the step's tokens to the length of every cache. */
  advance(): void {
    for (const { cache, tokens } of this.#items) cache.advance(tokens)
  }

  #maskRows(cache: KvCache, tokens: number): number {
    return maskRowsFor(tokens, this.#repeats, cache.columns)
  }

  #repeated(cache: KvCache, tokens: number): { repeats: number; rows: number } {
    const rows = this.#maskRows(cache, tokens)
    return { repeats: rows === tokens ? 1 : this.#repeats, rows }
  }
}

/** Rows that attention reads. Short contexts on a CPU have finer steps, because most rows would be hidden. */
function bucketFor(cache: KvCache, tokens: number): number {
  const step = cache.columns && tokens <= BUCKET ? FINE_BUCKET : BUCKET
  return Math.min(cache.reserved, Math.ceil(tokens / step) * step)
}

/** Element `width * token + i` of the new values is written to column `length + token` of row `i`. */
function valueIndicesOf(cache: KvCache, tokens: number): Int32Array {
  const valueIndices = new Int32Array(tokens * cache.width)
  let next = 0
  for (let token = cache.length; token < cache.length + tokens; token++)
    for (let i = 0; i < cache.width; i++) valueIndices[next++] = i * cache.reserved + token
  return valueIndices
}

/**
 * A causal mask, f16 [width, rows]: token i attends to columns up to `past + i`, and at most to the last `window` of
 * them. Each token has `repeats` consecutive rows; rows after those of the last token mask nothing.
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
