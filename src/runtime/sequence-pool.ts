/**
 * Thinker sequences of requests: a new one, or one that continues the longest known prefix, and back into the prefix
 * cache afterwards.
 *
 * In: a request's prompt, its scope, the tokens it reserves. Out: a sequence with that memory, and how many of its
 * tokens are computed already. What does not fit is refused with `overloaded`, once nothing is left to evict.
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
  /** Most finished sequences kept. 0 reuses nothing. */
  readonly prefixes: number
  /** Most bytes of encoder outputs kept. */
  readonly encodedBytes: number
}

export interface SequenceRequest {
  readonly run: TokenRun
  /** Undefined: nothing of other requests is found, and nothing is kept. */
  readonly scope: string | undefined
  /** Most tokens it will hold. */
  readonly capacity: number
  /** Whether hidden states of what is reused are needed. */
  readonly speaks: boolean
}

export interface AcquiredSequence {
  readonly sequence: StageSequence
  /** Tokens that need no prefill. */
  readonly reused: number
  /** Hidden states that were kept of the reused tokens. */
  readonly hidden: HiddenRows
}

/** Tokens reserved for a request beyond its prompt before it begins. */
const HEADROOM = 64

export class SequencePool implements Disposable {
  readonly prefixes: PrefixCache
  readonly encoded: EncodedCache
  readonly #options: SequencePoolOptions

  constructor(options: SequencePoolOptions) {
    this.#options = options
    // Encoder outputs are evicted before prefixes, which hold their results.
    this.encoded = new EncodedCache(options.budget, options.encodedBytes)
    this.prefixes = new PrefixCache(options.budget, options.prefixes)
  }

  /** Rejects with `overloaded` when there is no memory; nothing is changed then. */
  async acquire(request: SequenceRequest): Promise<AcquiredSequence> {
    const { run, scope, capacity } = request
    const tokens = Math.min(capacity, run.tokenIds.length + HEADROOM)
    const match = this.prefixes.find(run, scope, (prefix, common) => this.#usable(request, prefix, common))
    if (!match) return { sequence: await this.#fresh(tokens, capacity), reused: 0, hidden: new Map() }
    const { prefix, length } = match
    const mine = prefix.scope !== undefined
    // A sequence with little to reuse belongs to another conversation, which may continue.
    if (mine && 2 * length >= prefix.sequence.length) return this.#takeCached(prefix, length, tokens)
    try {
      return await this.#copy(prefix, length, tokens, capacity)
    } catch (error) {
      if (!mine || !(error instanceof EngineError && error.code === 'overloaded')) throw error
      return this.#takeCached(prefix, length, tokens)
    }
  }

  /** Takes a sequence back: kept when it has a scope, freed otherwise. */
  release(prefix: CachedPrefix): void {
    if (prefix.scope === undefined) prefix.sequence[Symbol.dispose]()
    else this.prefixes.add(prefix)
  }

  /** Prefills a prefix that all may reuse. `prefill` runs its tokens. */
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

  /** Keys of a prompt's media as their features are cached: what was loaded, and the encoder's output. */
  mediaOf(prompt: PreparedPrompt): readonly MediaRows[] {
    return prompt.features.map((feature) => ({ rows: feature.rows, key: this.keyOf(feature, prompt) }))
  }

  /** Key of a feature's encoder output within a prompt. */
  keyOf(feature: PromptFeature, prompt: PreparedPrompt): string | undefined {
    if (feature.key === undefined || feature.type !== 'audio') return feature.key
    const padding = this.#options.audioEncoder?.padding?.(feature.frames, longestAudio(prompt)) ?? ''
    return `${feature.key} ${padding}`
  }

  /** Whether speech may need the hidden state of a row. `media`: rows of media. */
  wantsHidden(row: number, media: ReadonlySet<number>): boolean {
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

  /** Tokens of a common prefix that a request can reuse: at least one is run, for its logits. */
  #usable({ run, speaks }: SequenceRequest, { hidden }: CachedPrefix, common: number): number {
    const length = Math.min(common, run.tokenIds.length - 1)
    if (!speaks || this.#options.hiddenRows === 'none') return length
    const media = mediaSet(run.media)
    for (let row = 0; row < length; row += 1) if (this.wantsHidden(row, media) && !hidden.has(row)) return row
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

  /** Refuses what would not fit even by itself, before it has computed anything. */
  #checkEver(sequence: StageSequence, capacity: number): void {
    const limit = this.#options.budget?.limit ?? Infinity
    const bytes = sequence.bytesFor(capacity)
    if (bytes <= limit) return
    const fitting = Math.floor((capacity * limit) / bytes)
    throw new EngineError(
      'overloaded',
      `Not enough memory for this request's cache: ${capacity} tokens of prompt and reply take ${megabytes(bytes)} and ` +
        `${megabytes(limit)} may be held; about ${fitting} tokens would fit. Shorten the messages, ask for fewer max_tokens, or give the server a larger --cache-memory.`,
      { retryable: false },
    )
  }
}

/** Rows of media. */
export function mediaSet(media: readonly MediaRows[]): ReadonlySet<number> {
  return new Set(media.flatMap(({ rows }) => Array.from(rows)))
}

const mediaSets = new WeakMap<readonly MediaRows[], ReadonlySet<number>>()

/** {@link mediaSet}, remembered for the array. */
export function mediaSetOf(media: readonly MediaRows[]): ReadonlySet<number> {
  let rows = mediaSets.get(media)
  if (!rows) {
    rows = mediaSet(media)
    mediaSets.set(media, rows)
  }
  return rows
}

/** Frames of the longest audio of a prompt, to which the encoder pads the others. */
export function longestAudio(prompt: PreparedPrompt): number {
  return Math.max(0, ...prompt.features.map((feature) => (feature.type === 'audio' ? feature.frames : 0)))
}

function below(hidden: HiddenRows, length: number): HiddenRows {
  return new Map([...hidden].filter(([row]) => row < length))
}

function megabytes(bytes: number): string {
  return bytes < 1e7 ? `${Math.ceil(bytes / 1e5) / 10} MB` : `${Math.ceil(bytes / 1e6)} MB`
}
