/**
 * Allocates thinker sequences: a new one, or one that continues the longest cached prefix. Released sequences go to
 * the prefix cache.
 *
 * In: a request's prompt, its scope, its capacity. Out: a sequence with reserved memory, and the number of tokens
 * reused. Throws `overloaded` when memory is short and nothing is left to evict.
 */

import { EngineError } from '../contract/index.ts'
import type { MemoryBudget } from '../models/memory-budget.ts'
import type { ThinkerRows } from '../models/speech.ts'
import type { AudioEncoderStage, StageSequence, ThinkerStage } from '../models/stages.ts'
import type { PreparedPrompt, PromptFeature } from '../prompt/prepared-prompt.ts'
import { EncodedCache } from './encoded-cache.ts'
import { type HiddenRows, type CachedPrefix, PrefixCache } from './prefix-cache.ts'
import type { MediaRows, TokenRun } from '../models/token-run.ts'

export interface SequencePoolOptions {
  readonly thinker: ThinkerStage
  readonly audioEncoder?: Pick<AudioEncoderStage, 'padding'> | undefined
  /** Rows whose hidden states the family's speech may need. */
  readonly hiddenRows: ThinkerRows
  readonly budget?: MemoryBudget | undefined
  /** Most sequences in the prefix cache; 0 disables it. */
  readonly prefixes: number
  /** Most bytes of cached encoder outputs. */
  readonly encodedBytes: number
}

export interface SequenceRequest {
  readonly run: TokenRun
  /** Undefined: only shared prefixes are reused, and nothing is cached. */
  readonly scope: string | undefined
  /** Most tokens in the sequence. */
  readonly capacity: number
  /** Whether speech needs the hidden states of reused tokens. */
  readonly speaks: boolean
}

export interface AcquiredSequence {
  readonly sequence: StageSequence
  /** Tokens that need no prefill. */
  readonly reused: number
  /** Cached hidden states of the reused tokens. */
  readonly hidden: HiddenRows
}

/** Tokens reserved beyond the prompt before a request starts. */
const HEADROOM = 64

export class SequencePool implements Disposable {
  readonly prefixes: PrefixCache
  readonly encoded: EncodedCache
  readonly #options: SequencePoolOptions

  constructor(options: SequencePoolOptions) {
    this.#options = options
    // The order of reclaimers: encoder outputs are evicted before prefixes, which already contain their results.
    this.encoded = new EncodedCache(options.budget, options.encodedBytes)
    this.prefixes = new PrefixCache(options.budget, options.prefixes)
  }

  /** Acquires a sequence. Rejects with `overloaded`, without a change, when memory is short. */
  async acquire(request: SequenceRequest): Promise<AcquiredSequence> {
    const { run, scope, capacity } = request
    const tokens = Math.min(capacity, run.tokenIds.length + HEADROOM)
    const match = this.prefixes.find(run, scope, (prefix, common) => this.#usable(request, prefix, common))
    if (!match) return { sequence: await this.#fresh(tokens, capacity), reused: 0, hidden: new Map() }
    const { prefix, length } = match
    const scoped = prefix.scope !== undefined
    // A sequence with a short common prefix belongs to another conversation, which may continue.
    if (scoped && 2 * length >= prefix.sequence.length) return this.#takeCached(prefix, length, tokens)
    try {
      return await this.#copy(prefix, length, tokens, capacity)
    } catch (error) {
      if (!scoped || !(error instanceof EngineError && error.code === 'overloaded')) throw error
      return this.#takeCached(prefix, length, tokens)
    }
  }

  /** Releases a sequence: it is cached if it has a scope, and freed otherwise. */
  release(prefix: CachedPrefix): void {
    if (prefix.scope === undefined) prefix.sequence[Symbol.dispose]()
    else this.prefixes.add(prefix)
  }

  /** Caches a prefix that requests of all scopes reuse. `prefill` computes it and returns its hidden states. */
  async share(run: TokenRun, prefill: (sequence: StageSequence) => Promise<HiddenRows>): Promise<void> {
    const sequence = this.#options.thinker.newSequence(run.tokenIds.length)
    try {
      await sequence.reserve(run.tokenIds.length)
      this.prefixes.add({ scope: undefined, run, sequence, hidden: await prefill(sequence) })
    } catch (error) {
      sequence[Symbol.dispose]()
      throw error
    }
  }

  /** Rows and cache keys of a prompt's media. */
  mediaOf(prompt: PreparedPrompt): readonly MediaRows[] {
    return prompt.features.map((feature) => ({ rows: feature.rows, key: this.keyOf(feature, prompt) }))
  }

  /** Cache key of a feature's encoder output. It includes the padding to the prompt's longest audio. */
  keyOf(feature: PromptFeature, prompt: PreparedPrompt): string | undefined {
    if (feature.key === undefined || feature.type !== 'audio') return feature.key
    const padding = this.#options.audioEncoder?.padding?.(feature.frames, longestAudio(prompt)) ?? ''
    return `${feature.key} ${padding}`
  }

  /** Whether speech may need the hidden state of a row. `media`: the rows of media. */
  needsHidden(row: number, media: ReadonlySet<number>): boolean {
    const { hiddenRows } = this.#options
    switch (hiddenRows) {
      case 'none':
        return false
      case 'all':
        return true
      case 'prompt-media':
        return media.has(row)
      default:
        return hiddenRows satisfies never
    }
  }

  [Symbol.dispose](): void {
    this.prefixes[Symbol.dispose]()
    this.encoded.clear()
  }

  /** Tokens of a common prefix that a request can reuse. The last prompt token is always computed, for its logits. */
  #usable({ run, speaks }: SequenceRequest, { hidden }: CachedPrefix, common: number): number {
    const length = Math.min(common, run.tokenIds.length - 1)
    if (!speaks || this.#options.hiddenRows === 'none') return length
    const media = mediaSet(run.media)
    for (let row = 0; row < length; row += 1) if (this.needsHidden(row, media) && !hidden.has(row)) return row
    return length
  }

  async #fresh(tokens: number, capacity: number): Promise<StageSequence> {
    const sequence = this.#options.thinker.newSequence(this.#options.thinker.contextLength)
    try {
      this.#checkEver(sequence, capacity)
      await sequence.reserve(tokens)
      return sequence
    } catch (error) {
      sequence[Symbol.dispose]()
      throw error
    }
  }

  async #copy(prefix: CachedPrefix, length: number, tokens: number, capacity: number): Promise<AcquiredSequence> {
    return this.prefixes.withPinned(prefix, async () => {
      const sequence = await this.#fresh(tokens, capacity)
      try {
        await sequence.copyFrom(prefix.sequence, length)
      } catch (error) {
        sequence[Symbol.dispose]()
        throw error
      }
      return { sequence, reused: length, hidden: below(prefix.hidden, length) }
    })
  }

  async #takeCached(prefix: CachedPrefix, length: number, tokens: number): Promise<AcquiredSequence> {
    const { sequence } = prefix
    this.prefixes.remove(prefix)
    try {
      await sequence.reserve(tokens)
    } catch (error) {
      this.prefixes.add(prefix)
      throw error
    }
    sequence.truncate(length)
    return { sequence, reused: length, hidden: below(prefix.hidden, length) }
  }

  /** Throws `overloaded` for a request that exceeds the whole budget. */
  #checkEver(sequence: StageSequence, capacity: number): void {
    const limit = this.#options.budget?.limit ?? Infinity
    const bytes = sequence.bytesFor(capacity)
    if (bytes <= limit) return
    const fitting = Math.floor((capacity * limit) / bytes)
    throw new EngineError(
      'overloaded',
      `Not enough memory for this request's cache: ${capacity} tokens of prompt and reply take ${megabytes(bytes)} and ` +
        `the limit is ${megabytes(limit)}; about ${fitting} tokens would fit. Shorten the messages, ask for fewer max_tokens, or give the server a larger --cache-memory.`,
      { retryable: false },
    )
  }
}

/** The rows of all media. */
export function mediaSet(media: readonly MediaRows[]): ReadonlySet<number> {
  return new Set(media.flatMap(({ rows }) => Array.from(rows)))
}

const mediaSets = new WeakMap<readonly MediaRows[], ReadonlySet<number>>()

/** {@link mediaSet}, cached per array. */
export function mediaSetOf(media: readonly MediaRows[]): ReadonlySet<number> {
  let rows = mediaSets.get(media)
  if (!rows) {
    rows = mediaSet(media)
    mediaSets.set(media, rows)
  }
  return rows
}

/** Mel frames of the longest audio of a prompt, to which the encoder pads the others. */
export function longestAudio(prompt: PreparedPrompt): number {
  return Math.max(0, ...prompt.features.map((feature) => (feature.type === 'audio' ? feature.frames : 0)))
}

function below(hidden: HiddenRows, length: number): HiddenRows {
  return new Map([...hidden].filter(([row]) => row < length))
}

function megabytes(bytes: number): string {
  return bytes < 1e7 ? `${Math.ceil(bytes / 1e5) / 10} MB` : `${Math.ceil(bytes / 1e6)} MB`
}
