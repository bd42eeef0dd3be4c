/** Events of a cluster to the log and the metrics. */
import type { Logger } from 'pino'
import type { ClusterEvent } from '../engines/remote/pool/cluster.ts'
import type { Metrics } from './metrics.ts'

export function reportCluster(event: ClusterEvent, metrics: Metrics, log: Logger): void {
  switch (event.type) {
    case 'request':
      metrics.replica(event)
      return
    case 'retry':
      log.warn(event, 'another replica is tried')
      return
    case 'ejected':
    case 'suspended':
      log.warn(event, `replica ${event.type}`)
      return
    case 'returned':
    case 'drained':
      log.info(event, `replica ${event.type}`)
      return
    default:
      event satisfies never
  }
}
