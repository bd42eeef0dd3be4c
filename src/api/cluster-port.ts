/** The API server's interface to a cluster: engines for its API models, and the operators' view and commands. */
import type { Prices } from '../catalogue/index.ts'
import type { ClusterEvent } from '../engines/remote/pool/cluster.ts'
import type { ReplicaStatus } from '../engines/remote/pool/member.ts'
import type { Bindings } from './engine-host.ts'

export interface ClusterPort {
  /** Pool names, for messages while they are opened. */
  readonly names: readonly string[]
  /** Called once. `onChange` is called with the bindings after each change of the configuration file. */
  load(onEvent: (event: ClusterEvent) => void, onChange: (bindings: Bindings) => void): Promise<Bindings>
  /** Empty until loaded. */
  status(): readonly ReplicaStatus[]
  /** False: there is no replica of that name. */
  setDraining(replica: string, draining: boolean): boolean
  /** The prices of a replica's pool, by the replica's name. */
  pricesOf(replica: string): Prices | undefined
  close(): Promise<void>
}
