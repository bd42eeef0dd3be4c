/**
 * Starts the cluster of a configuration file, and updates it when the file changes.
 *
 * In: the cluster part of the file, settings. Out: a {@link ClusterPort} for the API server. If the changed file is
 * invalid, the fault is logged and the running cluster stays unchanged.
 */
import { unwatchFile, watchFile } from 'node:fs'
import type { ClusterPort } from '../api/cluster-port.ts'
import type { Bindings } from '../api/engine-host.ts'
import { createCatalogue, type Prices, VOICES } from '../catalogue/index.ts'
import {
  type ClusterFile,
  ConfigError,
  loadClusterFile,
  type PoolFile,
  poolKey,
  type Settings,
} from '../config/index.ts'
import type { Engine } from '../contract/index.ts'
import { mapVoices } from '../engines/local/voices.ts'
import { ADAPTERS } from '../engines/remote/adapters.ts'
import { Cluster, type ClusterEvent } from '../engines/remote/pool/cluster.ts'
import { ClusterEngine } from '../engines/remote/pool/cluster-engine.ts'
import type { MemberEngine, ReplicaStatus } from '../engines/remote/pool/member.ts'
import type { ClusterPlan, PoolPlan, ReplicaPlan } from '../engines/remote/pool/plan.ts'
import { DEFAULT_HEALTH } from '../engines/remote/pool/health.ts'
import { RemoteEngine } from '../engines/remote/remote-engine.ts'

export interface ClusterHostOptions {
  /** Path of the configuration file. */
  readonly file: string
  /** The cluster part of the file at the start. */
  readonly cluster: ClusterFile
  readonly settings: Settings
  readonly log: (text: string, facts: Readonly<Record<string, unknown>>) => void
  readonly warn: (text: string, facts: Readonly<Record<string, unknown>>) => void
  /** Loads a checkpoint on this machine. */
  readonly openLocal: (checkpoint: string) => Promise<Engine>
  /** Milliseconds between checks for changes of the file; 0 for none. Default 1000. */
  readonly watchEvery?: number
}

/** The key of `models` that stands for all API models without a key of their own. */
const DEFAULT_ROUTE = '*'

export class ClusterHost implements ClusterPort {
  readonly #options: ClusterHostOptions
  readonly #engines = new Map<string, ClusterEngine>()
  #current: ClusterFile
  #cluster: Cluster | undefined
  #onChange: ((bindings: Bindings) => void) | undefined
  #reloading: Promise<void> = Promise.resolve()

  constructor(options: ClusterHostOptions) {
    this.#options = options
    this.#current = options.cluster
    checkModelNames(options.cluster, options.settings, options.file)
  }

  get names(): readonly string[] {
    return Object.keys(this.#current.pools)
  }

  async load(onEvent: (event: ClusterEvent) => void, onChange: (bindings: Bindings) => void): Promise<Bindings> {
    this.#onChange = onChange
    this.#cluster = await Cluster.start({
      plan: await clusterPlan(this.#current),
      open: (pool, replica) => openMember(pool, replica, this.#options.openLocal),
      onEvent,
    })
    const interval = this.#options.watchEvery ?? 1000
    if (interval > 0) {
      watchFile(this.#options.file, { interval, persistent: false }, () => {
        this.#reloading = this.#reloading.then(() => this.reload())
      })
    }
    return this.#bindings(this.#cluster)
  }

  /** Reads the file again and applies its changes. Never rejects: errors are logged. */
  async reload(): Promise<void> {
    const { file, settings, warn, log } = this.#options
    try {
      const next = await loadClusterFile(file)
      if (!next) throw new ConfigError(`the configuration file ${file} no longer has any pools.`)
      checkModelNames(next, settings, file)
      await this.#cluster?.apply(await clusterPlan(next))
      this.#current = next
      if (this.#cluster) this.#onChange?.(this.#bindings(this.#cluster))
      log('configuration file reloaded', { file, pools: this.names })
    } catch (error) {
      warn('configuration file has errors; the previous configuration stays in effect', {
        file,
        reason: error instanceof Error ? error.message : String(error),
      })
    }
  }

  #bindings(cluster: Cluster): Bindings {
    const { models } = this.#current
    const { region, alias } = this.#options.settings
    const catalogue = createCatalogue(region, alias)
    const engines = new Map<string, Engine>()
    const bind: Record<string, string> = {}
    for (const route of Object.keys(models)) {
      const engine =
        this.#engines.get(route) ?? new ClusterEngine(cluster, route, route === DEFAULT_ROUTE ? 'default' : route)
      this.#engines.set(route, engine)
      engines.set(route, engine)
      if (route === DEFAULT_ROUTE) continue
      const [name = '', mode] = route.split(':')
      bind[(catalogue.find(name)?.id ?? name) + (mode === undefined ? '' : `:${mode}`)] = route
    }
    return { engines, model: DEFAULT_ROUTE in models ? DEFAULT_ROUTE : undefined, bind }
  }

  status(): readonly ReplicaStatus[] {
    return this.#cluster?.status() ?? []
  }

  setDraining(replica: string, draining: boolean): boolean {
    return this.#cluster?.setDraining(replica, draining) ?? false
  }

  pricesOf(replica: string): Prices | undefined {
    const pool = this.status().find(({ name }) => name === replica)?.pool
    return pool === undefined ? undefined : this.#current.pools[pool]?.prices
  }

  async close(): Promise<void> {
    unwatchFile(this.#options.file)
    await this.#reloading
    await this.#cluster?.close()
  }
}

/** @throws ConfigError for a key of `models` that is not an API model */
export function checkModelNames({ models }: ClusterFile, { region, alias }: Settings, file: string): void {
  const catalogue = createCatalogue(region, alias)
  for (const route of Object.keys(models)) {
    if (route === DEFAULT_ROUTE) continue
    const [name = '', mode] = route.split(':')
    if (catalogue.find(name) === undefined) {
      const known = catalogue.models.map(({ id }) => id).join(', ')
      throw new ConfigError(
        `${file}: models.${route} names ${name}, which is not an API model of region ${region}. Models: ${known}.`,
      )
    }
    if (mode !== undefined && mode !== 'thinking')
      throw new ConfigError(`${file}: models.${route} names the mode "${mode}"; the only mode is "thinking".`)
  }
}

/** Converts the file's cluster part: adds defaults, resolves keys, seconds to milliseconds. @throws ConfigError */
export async function clusterPlan(file: ClusterFile): Promise<ClusterPlan> {
  const pools: PoolPlan[] = []
  for (const [name, pool] of Object.entries(file.pools)) pools.push(await poolPlan(name, pool))
  const balancing = file.balancing ?? {}
  return {
    pools,
    routes: file.models,
    balancing: {
      strategy: balancing.strategy ?? 'least-pending',
      affinity: balancing.affinity ?? 'none',
      probeEvery: (balancing.probeEvery ?? 5) * 1000,
      health: {
        strikes: balancing.ejectAfter ?? DEFAULT_HEALTH.strikes,
        goodProbes: balancing.returnAfter ?? DEFAULT_HEALTH.goodProbes,
        out: [
          balancing.ejectFor === undefined ? DEFAULT_HEALTH.out[0] : balancing.ejectFor * 1000,
          balancing.ejectForAtMost === undefined ? DEFAULT_HEALTH.out[1] : balancing.ejectForAtMost * 1000,
        ],
      },
      speechCost: balancing.speechCost ?? 2,
      retries: balancing.retries ?? 2,
      moveWithin: (balancing.moveWithin ?? 60) * 1000,
    },
  }
}

async function poolPlan(name: string, pool: PoolFile): Promise<PoolPlan> {
  const { engine, checkpoint, replicas, requestsPerMinute, timeouts = {}, maxPending = 16, prices: _prices } = pool
  const key = await poolKey(name, pool)
  const { key: _key, keyVariable: _variable, keyFile: _file, model = '', ...rest } = pool
  const peer = {
    model,
    ...(key !== undefined && { key }),
    ...defined({
      architecture: rest.architecture,
      contextLength: rest.contextLength,
      maxOutputTokens: rest.maxOutputTokens,
      input: rest.input,
      output: rest.output,
      thinking: rest.thinking,
      tools: rest.tools,
      speakers: rest.speakers,
      anyVoice: rest.anyVoice,
      talker: rest.talker,
    }),
  }
  const replicaPlans = (replicas ?? [{ url: undefined, name }]).map((entry, index): ReplicaPlan => {
    const replica = typeof entry === 'string' ? { url: entry } : entry
    return {
      name: replica.name ?? `${name}-${index + 1}`,
      ...(replica.url !== undefined && { url: replica.url.replace(/\/+$/, '') }),
      weight: ('weight' in replica ? replica.weight : undefined) ?? 1,
      maxPending: ('maxPending' in replica ? replica.maxPending : undefined) ?? maxPending,
      draining: ('drain' in replica ? replica.drain : undefined) ?? false,
    }
  })
  const milliseconds = Object.fromEntries(
    Object.entries(timeouts).flatMap(([limit, value]) => (value === undefined ? [] : [[limit, value * 1000]])),
  )
  return {
    name,
    engine,
    replicas: replicaPlans,
    peer,
    limits: milliseconds,
    ...(checkpoint !== undefined && { checkpoint }),
    ...(requestsPerMinute !== undefined && { requestsPerMinute }),
  }
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

function defined<T extends object>(values: T): Defined<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>
}

/** Opens the engine of one replica. Rejects if `openLocal` does. */
export async function openMember(
  pool: PoolPlan,
  replica: ReplicaPlan,
  openLocal: (checkpoint: string) => Promise<Engine>,
): Promise<MemberEngine> {
  if (pool.engine === 'local') {
    const engine = await openLocal(pool.checkpoint ?? '')
    const [model] = await engine.models()
    if (!model) throw new ConfigError(`the pool ${pool.name} has a checkpoint without a model.`)
    return { engine, model: () => model }
  }
  const engine = new RemoteEngine({
    adapter: ADAPTERS[pool.engine],
    id: replica.name,
    url: replica.url ?? '',
    peer: { ...pool.peer, voices: mapVoices(VOICES) },
    limits: pool.limits,
  })
  return {
    engine,
    model: () => engine.model,
    ...(engine.probes && {
      probe: (signal: AbortSignal) => engine.probe(signal),
      discover: (signal: AbortSignal) => engine.discover(signal),
    }),
  }
}
