/**
 * Converts a peer's deltas to events of the contract: counts tokens, and enforces limits that the peer does not
 * support.
 *
 * In: {@link ReplyDelta}s in order, then the end of the stream. Out: events. Reference: audio tokens are codec frames
 * of 1,920 samples at 24 kHz (Qwen3-Omni).
 */

import type {
  EndReason,
  EngineEvent,
  EngineUsage,
  GenerationRequest,
  PromptUsage,
  ReplyCounts,
} from '../../../contract/index.ts'
import { RemoteError } from '../remote-error.ts'
import type { PeerUsage, ReplyDelta } from './delta.ts'
import { SampleReader } from './samples.ts'

const SAMPLES_PER_FRAME = 1920

export interface ReplyRules {
  /** Whether each text delta is one token. Otherwise text tokens are known only from the peer's usage. */
  readonly tokenPerDelta: boolean
  /** Whether the peer reports prompt tokens by modality. */
  readonly promptByModality: boolean
}

export class ReplyEvents {
  readonly #request: GenerationRequest
  readonly #rules: ReplyRules
  readonly #samples = new SampleReader()
  #text = 0
  /** Tokens without text since the last token with text. The last one of a reply is its end token. */
  #tokensWithoutText = 0
  #reasoning = 0
  #sampleCount = 0
  #finish: ReplyDelta['finish']
  #usage: PeerUsage | undefined
  #limitReached = false
  #started = false

  constructor(request: GenerationRequest, rules: ReplyRules) {
    this.#request = request
    this.#rules = rules
  }

  /** Whether a limit that the peer does not support has been reached. Later events of the stream are ignored. */
  get limitReached(): boolean {
    return this.#limitReached
  }

  /** Whether a token or audio has been generated. */
  get started(): boolean {
    return this.#started
  }

  add(delta: ReplyDelta): EngineEvent[] {
    const events: EngineEvent[] = []
    if (delta.silentToken) this.#tokensWithoutText += 1
    if (delta.reasoning !== undefined) {
      this.#reasoning += 1
      events.push({ type: 'reasoning-delta', text: delta.reasoning, counts: this.#counts() })
    }
    if (delta.text !== undefined) {
      this.#text += 1 + this.#tokensWithoutText
      this.#tokensWithoutText = 0
      events.push({ type: 'text-delta', text: delta.text, counts: this.#counts() })
    }
    for (const call of delta.toolCalls ?? []) {
      this.#text += 1
      events.push({ type: 'tool-call-delta', ...call, counts: this.#counts() })
    }
    // Audio that was not requested is ignored.
    if (delta.audio !== undefined && this.#request.speech) {
      const pcm = this.#samples.read(delta.audio)
      this.#sampleCount += pcm.length
      if (pcm.length > 0) events.push({ type: 'audio-delta', pcm, counts: this.#counts() })
    }
    this.#started ||= events.length > 0 || delta.silentToken === true
    if (delta.finish) this.#finish = delta.finish
    // Audio chunks may have an empty usage.
    if (delta.usage && (delta.usage.completion > 0 || delta.usage.prompt > 0)) this.#usage = delta.usage
    this.#checkLimits()
    return events
  }

  /** The last event. @param done whether the peer completed the stream. @throws RemoteError for an incomplete reply */
  end(done: boolean): Extract<EngineEvent, { type: 'end' }> {
    if (!this.#finish && !this.#limitReached && !(done && this.#started)) {
      throw new RemoteError(
        'engine_crashed',
        this.#started ? 'The peer ended an incomplete reply.' : 'The peer ended its reply without any output.',
        'eject',
      )
    }
    const counts = this.#finalCounts()
    const prompt = this.#prompt()
    const usage: EngineUsage = { ...counts, ...(prompt && { prompt }) }
    return { type: 'end', reason: this.#reason(counts), usage }
  }

  /** With speech, the last chunk is audio and has no finish reason of the text, so a reached limit is derived. */
  #reason(counts: ReplyCounts): EndReason {
    if (this.#limitReached) return 'length'
    const reported = this.#finish?.reason ?? 'stop'
    return reported === 'stop' && this.#request.speech && (counts.textTokens ?? 0) >= this.#request.maxTokens
      ? 'length'
      : reported
  }

  #checkLimits(): void {
    if (!this.#rules.tokenPerDelta) return
    const { maxTokens, thinking } = this.#request
    if (thinking === undefined) return
    if (thinking.budget !== undefined && this.#reasoning > thinking.budget) this.#limitReached = true
    if (this.#text >= maxTokens && !this.#finish) this.#limitReached = true
  }

  #counts(): ReplyCounts {
    const text = this.#rules.tokenPerDelta ? { textTokens: this.#text, reasoningTokens: this.#reasoning } : {}
    return { ...text, audioTokens: this.#audioTokens() }
  }

  #audioTokens(): number {
    return Math.ceil(this.#sampleCount / SAMPLES_PER_FRAME)
  }

  #finalCounts(): ReplyCounts {
    const audioTokens = this.#audioTokens()
    const usage = this.#usage
    if (!usage) return { ...this.#counts(), audioTokens }
    if (usage.parts) {
      const { text, reasoning } = usage.parts
      return { textTokens: text, reasoningTokens: reasoning, audioTokens }
    }
    // The peer counts the end token; the contract does not.
    const endToken =
      this.#finish?.endToken === true || (this.#request.speech !== undefined && !this.#atLimit(usage)) ? 1 : 0
    const reported = usage.completion - endToken - this.#reasoning
    return { textTokens: Math.max(reported, this.#text), reasoningTokens: this.#reasoning, audioTokens }
  }

  #atLimit(usage: PeerUsage): boolean {
    return usage.completion >= this.#request.maxTokens
  }

  #prompt(): PromptUsage | undefined {
    const usage = this.#usage
    if (!usage || usage.prompt === 0) return undefined
    const parts = usage.promptParts
    const cached = usage.cached === undefined ? {} : { cached: usage.cached }
    if (!parts || !this.#rules.promptByModality) return { total: usage.prompt, ...cached }
    const [image, audio, video] = [parts.image ?? 0, parts.audio ?? 0, parts.video ?? 0]
    return {
      total: usage.prompt,
      text: parts.text ?? usage.prompt - image - audio - video,
      image,
      audio,
      video,
      ...cached,
    }
  }
}
