/** The checks of `omniserve doctor` for a cluster: each replica's facts, compared with the configuration. */
import { createCatalogue } from '../catalogue/index.ts'
import type { ClusterFile, Settings } from '../config/index.ts'
import type { EngineModel } from '../contract/index.ts'
import type { Check } from './check.ts'
import { findCheckpoint } from './find-checkpoint.ts'
import { checkModelNames, clusterPlan, openMember } from './open-cluster.ts'

/** @throws ConfigError for keys that cannot be found and models that do not exist */
export async function* checkCluster(
  file: ClusterFile,
  settings: Settings,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<Check, void, undefined> {
  checkModelNames(file, settings, path)
  const plan = await clusterPlan(file)
  const models = new Map<string, EngineModel[]>()
  for (const pool of plan.pools) {
    const found: EngineModel[] = []
    models.set(pool.name, found)
    for (const replica of pool.replicas) {
      const { check, model } = await checkReplica(pool, replica, signal)
      if (model) found.push(model)
      yield check
    }
    const contexts = [...new Set(found.map(({ contextLength }) => contextLength))]
    if (contexts.length > 1) {
      yield {
        name: pool.name,
        status: 'warn',
        found: `its replicas have contexts of ${contexts.join(' and ')} tokens`,
        fix: 'Start them with the same context, or set contextLength of the pool to the smallest.',
      }
    }
  }
  yield* checkRoutes(file, models, settings)
}

async function checkReplica(
  pool: Parameters<typeof openMember>[0],
  replica: Parameters<typeof openMember>[1],
  signal: AbortSignal,
): Promise<{ readonly check: Check; readonly model?: EngineModel }> {
  const { name } = replica
  if (pool.engine === 'local') {
    try {
      const { location } = findCheckpoint(pool.checkpoint ?? '')
      return { check: { name, status: 'ok', found: `a checkpoint on this machine: ${location}` } }
    } catch (error) {
      return { check: { name, status: 'fail', found: textOf(error) } }
    }
  }
  const member = await openMember(pool, replica, () => Promise.reject(new Error('not a local pool')))
  try {
    if (!member.probe) {
      const found = `${pool.engine} at ${replica.url ?? ''}: not checked, as it has no free health check`
      const check: Check =
        pool.peer.key === undefined
          ? { name, status: 'fail', found: `${found}; no key is set`, fix: `Set keyVariable of the pool ${pool.name}.` }
          : { name, status: 'ok', found }
      return { check, model: member.model() }
    }
    await member.probe(signal)
    await member.discover?.(signal)
    const model = member.model()
    const voices = model.voices.filter(({ native }) => native).length
    const speech = model.output.includes('audio') ? `, ${voices} voices` : ', no speech'
    const found = `${pool.engine} at ${replica.url ?? ''}: ${pool.peer.model}, context of ${model.contextLength} tokens${speech}`
    return { check: { name, status: 'ok', found }, model }
  } catch (error) {
    signal.throwIfAborted()
    const fix = `Start it, or remove it from pools.${pool.name}.replicas.`
    return { check: { name, status: 'fail', found: `${pool.engine} at ${replica.url ?? ''}: ${textOf(error)}`, fix } }
  } finally {
    await member.engine.close()
  }
}

function* checkRoutes(
  file: ClusterFile,
  models: ReadonlyMap<string, readonly EngineModel[]>,
  { region, alias }: Settings,
): Generator<Check, void, undefined> {
  const catalogue = createCatalogue(region, alias)
  for (const [route, pools] of Object.entries(file.models)) {
    const found = pools.flatMap((pool) => models.get(pool) ?? [])
    const local = pools.some((pool) => file.pools[pool]?.engine === 'local')
    if (found.length === 0 || local) continue
    const missing: string[] = []
    if (!route.endsWith(':thinking') && !found.some(({ output }) => output.includes('audio'))) missing.push('speech')
    if (route.endsWith(':thinking') && !found.some(({ thinking }) => thinking))
      missing.push('thinking (set thinking: true in the pool)')
    const limits = catalogue.find(route.split(':')[0] ?? '')?.normal
    const context = Math.max(...found.map(({ contextLength }) => contextLength))
    if (limits && context < limits.contextLength)
      missing.push(`the context of the API model: ${context} of ${limits.contextLength} tokens`)
    if (missing.length === 0) yield { name: route, status: 'ok', found: `by ${pools.join(', then ')}` }
    else yield { name: route, status: 'warn', found: `by ${pools.join(', then ')}; it lacks ${missing.join('; ')}` }
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
