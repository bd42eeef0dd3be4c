/** `/health` (the process answers), `/ready` (requests can be served) and `/metrics` (Prometheus). */
import type { Context } from 'hono'
import type { Health, Ready } from '../../protocol/index.ts'
import type { AppEnv, Services } from '../services.ts'

export function health(services: Services) {
  return (c: Context<AppEnv>): Response => {
    const body: Health = { status: 'ok', version: services.version, uptime_seconds: process.uptime() }
    return c.json(body)
  }
}

/** 200 when at least one checkpoint can answer; the body names those that cannot, and why. */
export function ready(services: Services) {
  return (c: Context<AppEnv>): Response => {
    const { host, shutdown, queue } = services
    const state = host.status()
    const isReady = state.ready && !shutdown.stopping
    const reason = shutdown.stopping
      ? 'the server is stopping'
      : host.loading
        ? `loading ${host.names.join(', ')}`
        : state.reason
    const body: Ready = {
      status: isReady ? 'ready' : host.loading && !shutdown.stopping ? 'loading' : 'not_ready',
      ...(isReady || reason === undefined ? {} : { reason }),
      active: queue.active,
      waiting: queue.waiting,
      models: host.loaded.map(({ model }) => model.id),
      checkpoints: host.checkpoints().map(({ checkpoint, ...status }) => ({
        checkpoint,
        ...status,
        answers_for: modelsOf(services, checkpoint),
      })),
    }
    if (!isReady) c.header('retry-after', '5')
    return c.json(body, isReady ? 200 : 503)
  }
}

/** API models that a checkpoint answers for; `MODEL:thinking` where only their thinking mode is its own. */
function modelsOf({ catalogue, host }: Services, checkpoint: string): string[] {
  return catalogue.models.flatMap(({ id, thinking }) => {
    if (host.resolve(id, false)?.model.id === checkpoint) return [id]
    return thinking !== undefined && host.resolve(id, true)?.model.id === checkpoint ? [`${id}:thinking`] : []
  })
}

export function metrics(services: Services) {
  return async (c: Context<AppEnv>): Promise<Response> => {
    const { registry } = services.metrics
    c.header('content-type', registry.contentType)
    return c.body(await registry.metrics())
  }
}
