/**
 * The time of measured replies by stage, which `omniserve bench --profile` prints.
 *
 * In: what the engine reports of each request, and how long the client waited for it. Out: means by stage that sum to
 * the client's time.
 */
import { type RequestMetrics, stages } from '../engines/local/local-engine.ts'
import { CommandError } from './exit.ts'

/** Milliseconds, means over the runs. */
export interface StageReport {
  /**
   * Stages of the engine, and `transport`: the API server, and the way from and to the client. They sum to `total_ms`.
   */
  readonly stages: Readonly<Record<string, number>>
  /** Time in which audio was being made, in parallel with other stages or not. */
  readonly vocoder_ms: number
  readonly total_ms: number
}

/** `waited`: milliseconds of the client for each request. */
export function stageReport(metrics: readonly RequestMetrics[], waited: readonly number[]): StageReport {
  const mean = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0) / values.length
  const spent: Record<string, number> = {}
  for (const stage of stages) {
    const milliseconds = mean(metrics.map((one) => one.stages[stage] ?? 0))
    if (milliseconds > 0) spent[stage] = milliseconds
  }
  const total = mean(waited)
  spent['transport'] = total - mean(metrics.map(({ totalMs }) => totalMs))
  return { stages: spent, vocoder_ms: mean(metrics.map(({ vocoderMs }) => vocoderMs)), total_ms: total }
}

/** Lines for a table: stage, milliseconds, share of the whole. */
export function stageLines({ stages: spent, total_ms: total, vocoder_ms: vocoder }: StageReport): string[][] {
  const share = (milliseconds: number): string => `${((100 * milliseconds) / total).toFixed(1)} %`
  return [
    ...Object.entries(spent).map(([stage, ms]) => [stage, `${ms.toFixed(1)} ms`, share(ms)]),
    ['in all', `${total.toFixed(1)} ms`, ''],
    ...(vocoder > 0 ? [['vocoder, partly in parallel', `${vocoder.toFixed(1)} ms`, share(vocoder)]] : []),
  ]
}

/** Reports of requests in the order in which they end. */
export class MetricsInbox {
  readonly #reports: RequestMetrics[] = []
  #wake: () => void = () => undefined

  readonly take = (metrics: RequestMetrics): void => {
    this.#reports.push(metrics)
    this.#wake()
  }

  /** The next report, which may arrive after its reply. @throws CommandError when none arrives */
  async next(signal: AbortSignal): Promise<RequestMetrics> {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(10_000)])
    while (this.#reports.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
        limit.addEventListener('abort', () => resolve(), { once: true })
      })
      signal.throwIfAborted()
      if (limit.aborted) throw new CommandError('the engine reported no times for a reply')
    }
    return this.#reports.shift()!
  }
}
