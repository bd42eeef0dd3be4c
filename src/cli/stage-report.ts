/**
 * The time of replies by stage, which `omniserve bench --profile` prints.
 *
 * In: the engine's metrics of each request, and the time that the client measured. Out: means by stage, which sum to
 * the client's time.
 */
import { type RequestMetrics, stages } from '../engines/local/local-engine.ts'
import { CommandError } from './exit.ts'

/** Means over the runs, in milliseconds. */
export interface StageReport {
  /** The engine's stages, and `transport` for the API server and the connection. They sum to `total_ms`. */
  readonly stages: Readonly<Record<string, number>>
  /** Time of the vocoder, which may run in parallel with other stages. */
  readonly vocoder_ms: number
  readonly total_ms: number
}

/** @param clientTimes milliseconds that the client measured for each request */
export function stageReport(metrics: readonly RequestMetrics[], clientTimes: readonly number[]): StageReport {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
  const stageTimes: Record<string, number> = {}
  for (const stage of stages) {
    const milliseconds = mean(metrics.map((request) => request.stages[stage] ?? 0))
    if (milliseconds > 0) stageTimes[stage] = milliseconds
  }
  const total = mean(clientTimes)
  stageTimes['transport'] = total - mean(metrics.map(({ totalMs }) => totalMs))
  return { stages: stageTimes, vocoder_ms: mean(metrics.map(({ vocoderMs }) => vocoderMs)), total_ms: total }
}

/** Rows for a table: stage, milliseconds, percentage of the total. */
export function stageLines({ stages: stageTimes, total_ms: total, vocoder_ms: vocoder }: StageReport): string[][] {
  const share = (milliseconds: number): string => `${((100 * milliseconds) / total).toFixed(1)} %`
  return [
    ...Object.entries(stageTimes).map(([stage, ms]) => [stage, `${ms.toFixed(1)} ms`, share(ms)]),
    ['in all', `${total.toFixed(1)} ms`, ''],
    ...(vocoder > 0 ? [['vocoder, partly in parallel', `${vocoder.toFixed(1)} ms`, share(vocoder)]] : []),
  ]
}

/** A queue of the engine's metrics, in the order in which requests end. */
export class MetricsQueue {
  readonly #queue: RequestMetrics[] = []
  #notify: () => void = () => undefined

  readonly push = (metrics: RequestMetrics): void => {
    this.#queue.push(metrics)
    this.#notify()
  }

  /** The metrics of the next request, which may arrive after its reply. @throws CommandError if none arrive in 10 s */
  async next(signal: AbortSignal): Promise<RequestMetrics> {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(10_000)])
    while (this.#queue.length === 0) {
      await new Promise<void>((resolve) => {
        this.#notify = resolve
        limit.addEventListener('abort', () => resolve(), { once: true })
      })
      signal.throwIfAborted()
      if (limit.aborted) throw new CommandError('the engine reported no metrics for a reply')
    }
    return this.#queue.shift()!
  }
}
