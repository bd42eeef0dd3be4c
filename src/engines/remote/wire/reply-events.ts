/**
 * A peer's deltas to the contract's events, with running counts, limits that the peer does not keep, and one end.
 *
 * In: {@link ReplyDelta}s in order, then the end of the stream. Out: events. Pure but for the counts.
 * Reference: audio tokens are codec frames of 1,920 samples at 24 kHz (Qwen3-Omni).
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
  /** Whether a delta of text is one token; otherwise text is only counted when the peer reports usage. */
  readonly tokenPerDelta: boolean
  /** Whether the peer reports the prompt by modality. */
  readonly promptByModality: boolean
}

export class ReplyEvents {
  readonly #request: GenerationRequest
  readonly #rules: ReplyRules
  readonly #samples = new SampleReader()
  #text = 0
  /** Tokens without text since the last one with; the last of a reply is its end token. */
  #silent = 0
  #reasoning = 0
  #sampleCount = 0
  #finish: ReplyDelta['finish']
  #usage: PeerUsage | undefined
  #over = false
  #began = false

  constructor(request: GenerationRequest, rules: ReplyRules) {
    this.#request = request
    this.#rules = rules
  }

  /** Whether a limit was reached that the peer does not keep: the rest of the stream is ignored. */
  get over(): boolean {
    return this.#over
  }

  /** Whether anything was generated yet. */
  get began(): boolean {
    return this.#began
  }

  add(delta: ReplyDelta): EngineEvent[] {
    const events: EngineEvent[] = []
    if (delta.silentToken) this.#silent += 1
    if (delta.reasoning !== undefined) {
      this.#reasoning += 1
      events.push({ type: 'reasoning-delta', text: delta.reasoning, counts: this.#counts() })
    }
    if (delta.text !== undefined) {
      this.#text += 1 + this.#silent
      this.#silent = 0
      events.push({ type: 'text-delta', text: delta.text, counts: this.#counts() })
    }
    for (const call of delta.toolCalls ?? []) {
      this.#text += 1
      events.push({ type: 'tool-call-delta', ...call, counts: this.#counts() })
    }
    // Speech that was not requested is left out.
    if (delta.audio !== undefined && this.#request.speech) {
      const pcm = this.#samples.read(delta.audio)
      this.#sampleCount += pcm.length
      if (pcm.length > 0) events.push({ type: 'audio-delta', pcm, counts: this.#counts() })
    }
    this.#began ||= events.length > 0 || delta.silentToken === true
    if (delta.finish) this.#finish = delta.finish
    // A chunk of audio may carry an empty usage.
    if (delta.usage && (delta.usage.completion > 0 || delta.usage.prompt > 0)) this.#usage = delta.usage
    this.#checkLimits()
    return events
  }

  /** @param done whether the peer completed the stream. @throws RemoteError for a reply that was cut off. */
  end(done: boolean): Extract<EngineEvent, { type: 'end' }> {
    if (!this.#finish && !this.#over && !(done && this.#began)) {
      throw new RemoteError(
        'engine_crashed',
        this.#began ? 'The peer ended its reply in the middle.' : 'The peer ended its reply before it began.',
        'eject',
      )
    }
    const counts = this.#finalCounts()
    const prompt = this.#prompt()
    const usage: EngineUsage = { ...counts, ...(prompt && { prompt }) }
    return { type: 'end', reason: this.#reason(counts), usage }
  }

  /** With speech the peer's last chunk is one of audio, and the text's finish reason is not reported. */
  #reason(counts: ReplyCounts): EndReason {
    if (this.#over) return 'length'
    const reported = this.#finish?.reason ?? 'stop'
    return reported === 'stop' && this.#request.speech && (counts.textTokens ?? 0) >= this.#request.maxTokens
      ? 'length'
      : reported
  }

  #checkLimits(): void {
    if (!this.#rules.tokenPerDelta) return
    const { maxTokens, thinking } = this.#request
    if (thinking === undefined) return
    if (thinking.budget !== undefined && this.#reasoning > thinking.budget) this.#over = true
    if (this.#text >= maxTokens && !this.#finish) this.#over = true
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
    // The end token is counted by the peer and not by the contract.
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
