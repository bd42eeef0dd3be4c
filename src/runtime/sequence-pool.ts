/**
 * Thinker sequences of requests: a new one, or one that goes on from the longest known prefix, and back into the prefix cache afterwards.
 *
 * In: what a request's prompt is, whose it is, how much room it needs. Out: a sequence with that room, and how many of its tokens are
 * computed already. Who does not fit is refused with `overloaded`, once nothing is left that could give way.
 */

import { EngineError } from '../contract/index.ts'
import type { MemoryBudget } from '../models/memory-budget.ts'
import type { ThinkerRows } from '../models/speech.ts'
import type { AudioEncoderStage, StageSequence, ThinkerStage } from '../models/stages.ts'
import type { PreparedPrompt, PromptFeature } from '../prompt/prepared-prompt.ts'
import { EncodedCache } from './encoded-cache.ts'
import { type HiddenRows, type KeptPrefix, PrefixCache } from './prefix-cache.ts'
import type { MediaRows, TokenRun } from '../models/token-run.ts'

export interface SequencePoolOptions {
  readonly thinker: ThinkerStage
  readonly audioEncoder?: Pick<AudioEncoderStage, 'padding'> | undefined
  /** Rows whose hidden states the family's speech may ask for. */
  readonly hiddenRows: ThinkerRows
  readonly budget?: MemoryBudget | undefined
  /** Most finished sequences kept. 0 reuses nothing. */
  readonly prefixes: number
  /** Most bytes of encoder outputs kept. */
  readonly encodedBytes: number
}

export interface SequenceRequest {
  readonly run: TokenRun
  /** Undefined: nothing that others sent is found, and nothing is kept. */
  readonly scope: string | undefined
  /** Most tokens it will hold. */
  readonly capacity: number
  /** Whether hidden states of what is reused are needed. */
  readonly speaks: boolean
}

export interface StartedSequence {
  readonly sequence: StageSequence
  /** Tokens that need not be run. */
  readonly reused: number
  /** Hidden states that were kept of the reused tokens. */
  readonly hidden: HiddenRows
}

/** Tokens of room that a request gets beyond its prompt before it begins. */
const HEADROOM = 64

export class SequencePool implements Disposable {
  readonly prefixes: PrefixCache
  readonly encoded: EncodedCache
  readonly #options: SequencePoolOptions

  constructor(options: SequencePoolOptions) {
    this.#options = options
    // Encoder outputs give way before prefixes, which hold their results.
    this.encoded = new EncodedCache(options.budget, options.encodedBytes)
    this.prefixes = new PrefixCache(options.budget, options.prefixes)
  }

  /** Rejects with `overloaded` when there is no room; nothing is changed then. */
  async start(request: SequenceRequest): Promise<StartedSequence> {
    const { run, scope, capacity } = request
    const room = Math.min(capacity, run.tokenIds.length + HEADROOM)
    const match = this.prefixes.find(run, scope, (prefix, common) => this.#usable(request, prefix, common))
    if (!match) return { sequence: await this.#fresh(room, capacity), reused: 0, hidden: new Map() }
    const { prefix, length } = match
    const mine = prefix.scope !== undefined
    // A sequence of which little is reused is another conversation's, which may go on.
    if (mine && 2 * length >= prefix.sequence.length) return this.#takeOver(prefix, length, room)
    try {
      return await this.#copy(prefix, length, room, capacity)
    } catch (error) {
      if (!mine || !(error instanceof EngineError && error.code === 'overloaded')) throw error
      return this.#takeOver(prefix, length, room)
    }
  }

  /** Gives a sequence back: kept when it has a scope, released otherwise. */
  finish(prefix: KeptPrefix): void {
    if (prefix.scope === undefined) prefix.sequence[Symbol.dispose]()
    else this.prefixes.keep(prefix)
  }

  /** Prefills a prefix that all may go on from. `prefill` runs its tokens. */
  async share(run: TokenRun, prefill: (sequence: StageSequence) => Promise<HiddenRows>): Promise<void> {
    const sequence = this.#options.thinker.newSequence(run.tokenIds.length)
    try {
      await sequence.reserve(run.tokenIds.length)
      this.prefixes.keep({ scope: undefined, run, sequence, hidden: await prefill(sequence) })
    } catch (error) {
      sequence[Symbol.dispose]()
      throw error
    }
  }

  /** Names of a prompt's media as their features stand in a cache: what was loaded, and what the encoder made of it. */
  mediaOf(prompt: PreparedPrompt): readonly MediaRows[] {
    return prompt.features.map((feature) => ({ rows: feature.rows, key: this.keyOf(feature, prompt) }))
  }

  /** Name of what a feature's encoder gives within a prompt. */
  keyOf(feature: PromptFeature, prompt: PreparedPrompt): string | undefined {
    if (feature.key === undefined || feature.type !== 'audio') return feature.key
    const padding = this.#options.audioEncoder?.padding?.(feature.frames, longestAudio(prompt)) ?? ''
    return `${feature.key} ${padding}`
  }

  /** Whether speech may come to read the hidden state of a row. `media`: rows of media. */
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

  /** Tokens of a common prefix that a request can go on from: at least one is run, for its logits. */
  #usable({ run, speaks }: SequenceRequest, { hidden }: KeptPrefix, common: number): number {
    const length = Math.min(common, run.tokenIds.length - 1)
    if (!speaks || this.#options.hiddenRows === 'none') return length
    const media = mediaSet(run.media)
    for (let row = 0; row < length; row += 1) if (this.wantsHidden(row, media) && !hidden.has(row)) return row
    return length
  }

  async #fresh(room: number, capacity: number): Promise<StageSequence> {
    const sequence = this.#options.thinker.newSequence(this.#options.thinker.contextLength)
    try {
      this.#checkEver(sequence, capacity)
      await sequence.reserve(room)
      return sequence
    } catch (error) {
      sequence[Symbol.dispose]()
      throw error
    }
  }

  async #copy(prefix: KeptPrefix, length: number, room: number, capacity: number): Promise<StartedSequence> {
    return this.prefixes.use(prefix, async () => {
      const sequence = await this.#fresh(room, capacity)
      try {
        await sequence.copyFrom(prefix.sequence, length)
      } catch (error) {
        sequence[Symbol.dispose]()
        throw error
      }
      return { sequence, reused: length, hidden: below(prefix.hidden, length) }
    })
  }

  async #takeOver(prefix: KeptPrefix, length: number, room: number): Promise<StartedSequence> {
    const { sequence } = prefix
    this.prefixes.take(prefix)
    try {
      await sequence.reserve(room)
    } catch (error) {
      this.prefixes.keep(prefix)
      throw error
    }
    sequence.truncate(length)
    return { sequence, reused: length, hidden: below(prefix.hidden, length) }
  }

  /** Refuses what would not fit even alone, before it has computed anything. */
  #checkEver(sequence: StageSequence, capacity: number): void {
    const limit = this.#options.budget?.limit ?? Infinity
    const bytes = sequence.bytesFor(capacity)
    if (bytes <= limit) return
    const fitting = Math.floor((capacity * limit) / bytes)
    throw new EngineError(
      'overloaded',
      `Not enough memory for this request's cache: ${capacity} tokens of prompt and reply take ${megabytes(bytes)} and ` +
        `${megabytes(limit)} may be held; about ${fitting} tokens would fit. Shorten the messages or ask for fewer max_tokens.`,
      { retryable: false },
    )
  }
}

/** Rows of media. */
export function mediaSet(media: readonly MediaRows[]): ReadonlySet<number> {
  return new Set(media.flatMap(({ rows }) => Array.from(rows)))
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
