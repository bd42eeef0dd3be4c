/** `GET /admin/cluster`: the replicas and their state. `POST /admin/cluster/replicas/NAME`: drains or resumes one. */
import type { Context } from 'hono'
import { adminDrainSchema, type ClusterState, errors } from '../../protocol/index.ts'
import { bodyLimits, readJson } from '../read-body.ts'
import type { AppEnv, Services } from '../services.ts'

export function showCluster(services: Services) {
  return (c: Context<AppEnv>): Response => c.json(stateOf(services))
}

/** @throws ApiError 404 for an unknown replica */
export function drainReplica(services: Services) {
  return async (c: Context<AppEnv>): Promise<Response> => {
    const name = c.req.param('name') ?? ''
    using share = services.bodies.share()
    const parsed = adminDrainSchema.safeParse(
      await readJson(c.req.raw, { ...bodyLimits(services.settings), maxBytes: 10_000 }, share),
    )
    if (!parsed.success) throw errors.fieldRequired('draining')
    if (services.cluster?.setDraining(name, parsed.data.draining) !== true)
      throw errors.notFound(`/admin/cluster/replicas/${name.slice(0, 100)}`)
    services.log.info({ replica: name, draining: parsed.data.draining }, 'replica drained by an operator')
    return c.json(stateOf(services))
  }
}

function stateOf({ cluster }: Services): ClusterState {
  const replicas = (cluster?.status() ?? []).map(({ maxPending, url, reason, counts, ...replica }) => ({
    ...replica,
    ...(url !== undefined && { url }),
    ...(reason !== undefined && { reason }),
    max_pending: maxPending,
    requests: counts.requests,
    errors: counts.errors,
    retries: counts.retries,
    ejections: counts.ejections,
  }))
  return { object: 'cluster', replicas }
}
