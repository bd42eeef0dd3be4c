/** One reply's times, usage and cost, during and after it. Feeds the log line, the metrics and the rate limit. */
import { audioTokens, buildUsage, costOf } from '../../accounting/index.ts'
import type { EndReason, PromptUsage, ReplyCounts } from '../../contract/index.ts'
import type { ApiError, Cost, Usage } from '../../protocol/index.ts'
import type { Services } from '../services.ts'
import type { Prepared } from './prepare.ts'

const SAMPLES_PER_SECOND = 24_000

export type Outcome = EndReason | 'error' | 'cancelled'

export class ReplyRecord {
  readonly #services: Services
  readonly #prepared: Prepared
  readonly #caller: string
  readonly #arrived: number
  readonly #begun = performance.now()
  #firstText: number | undefined
  #firstAudio: number | undefined
  #samples = 0
  #counts: ReplyCounts = {}
  #prompt: PromptUsage | undefined
  #written = false
  #servedBy: string | undefined

  /** `arrived` by `performance.now()`, in milliseconds. */
  constructor(services: Services, prepared: Prepared, caller: string, arrived: number) {
    this.#services = services
    this.#prepared = prepared
    this.#caller = caller
    this.#arrived = arrived
  }

  /** The engine has started: the prompt as the checkpoint counts it. */
  started(prompt: PromptUsage | undefined): void {
    this.#prompt = prompt
    if (prompt) this.#services.metrics.prompt(this.#prepared.loaded.model.id, prompt)
  }

  /** The name of the replica that answers. */
  servedBy(replica: string | undefined): void {
    this.#servedBy = replica
  }

  /** Records text, reasoning or a tool call. `counts`: tokens generated so far. */
  text(counts?: ReplyCounts): void {
    this.#firstText ??= this.#sinceArrival()
    this.#count(counts)
  }

  audio(samples: number, counts?: ReplyCounts): void {
    this.#firstAudio ??= this.#sinceArrival()
    this.#samples += samples
    this.#count(counts)
  }

  #count(counts: ReplyCounts | undefined): void {
    if (counts) this.#counts = counts
  }

  /** The reply's usage, as billed: text by the engine's count, speech by its length. */
  usage(counts: ReplyCounts = this.#counts): Usage {
    const rules = { ...this.#prepared.plan.model.rules.tokens, audioMinSeconds: 0 }
    return buildUsage(this.#prepared.prompt(), {
      text: counts.textTokens ?? 0,
      reasoning: counts.reasoningTokens ?? 0,
      audio: this.#samples === 0 ? 0 : audioTokens(this.#samples / SAMPLES_PER_SECOND, rules),
    })
  }

  /**
   * Writes the log line and the metrics, once. A reply that was cut off counts what was generated. Only the log has the
   * cause of an internal error.
   */
  finish(outcome: Outcome, usage: Usage = this.usage(), error?: ApiError): void {
    if (this.#written) return
    this.#written = true
    const { plan, loaded, generation } = this.#prepared
    const warnings = this.#prepared.warnings()
    const { metrics, log, rateLimiter } = this.#services
    const total = this.#sinceArrival()
    const cost: Cost | undefined = plan.model.prices === undefined ? undefined : costOf(usage, plan.model.prices)
    if (error !== undefined) metrics.error(error.code, error.status)
    if (outcome === 'cancelled') metrics.cancelled(plan.modelName)
    metrics.usage(plan.modelName, usage, cost)
    const poolCost = this.#poolCost(usage)
    if (outcome !== 'cancelled' && outcome !== 'error') {
      metrics.reply({
        model: plan.modelName,
        firstText: this.#firstText,
        firstAudio: this.#firstAudio,
        total,
        speechSeconds: this.#samples / SAMPLES_PER_SECOND,
        speechWall: (performance.now() - this.#begun) / 1000,
      })
    }
    rateLimiter?.charge(this.#caller, plan.model.id, plan.model.rules.rateLimit, usage.total_tokens)
    const failed = error !== undefined && error.status >= 500
    log[failed ? 'error' : 'info'](
      {
        requestId: generation.id,
        caller: this.#caller,
        model: plan.modelName,
        checkpoint: loaded.model.id,
        ...(this.#servedBy === undefined ? {} : { served_by: this.#servedBy }),
        outcome,
        ...(error === undefined ? {} : { code: error.code }),
        ...(failed ? { err: error.cause ?? error } : {}),
        usage,
        cost,
        checkpointPromptTokens: this.#prompt?.total,
        cachedTokens: this.#prompt && (this.#prompt.cached ?? 0),
        ...(poolCost === undefined ? {} : { poolCost }),
        firstTextSeconds: this.#firstText,
        firstAudioSeconds: this.#firstAudio,
        totalSeconds: total,
        speechSeconds: this.#samples / SAMPLES_PER_SECOND,
        ...(warnings.length > 0 ? { warnings } : {}),
      },
      'chat completion',
    )
  }

  #poolCost(usage: Usage): Cost | undefined {
    const { cluster, metrics } = this.#services
    const replica = this.#servedBy?.split('/')[0]
    const prices = replica === undefined ? undefined : cluster?.pricesOf(replica)
    if (replica === undefined || prices === undefined) return undefined
    const cost = costOf(usage, prices)
    metrics.poolCost(replica, cost)
    return cost
  }

  #sinceArrival(): number {
    return (performance.now() - this.#arrived) / 1000
  }
}
