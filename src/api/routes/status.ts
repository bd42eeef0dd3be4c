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

export function ready(services: Services) {
  return (c: Context<AppEnv>): Response => {
    const engine = services.host.status()
    const stopping = services.shutdown.stopping
    const isReady = engine.ready && !stopping
    const reason = stopping ? 'the server is stopping' : engine.reason
    const body: Ready = {
      status: isReady ? 'ready' : 'not_ready',
      ...(isReady || reason === undefined ? {} : { reason }),
      active: services.admission.active,
      waiting: services.admission.waiting,
      models: services.host.loaded.map(({ model }) => model.id),
    }
    return c.json(body, isReady ? 200 : 503)
  }
}

export function metrics(services: Services) {
  return async (c: Context<AppEnv>): Promise<Response> => {
    const { registry } = services.metrics
    c.header('content-type', registry.contentType)
    return c.body(await registry.metrics())
  }
}
