/** The operator routes: behind a key of their own, and 404 where none is set. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import { errors } from '../../protocol/index.ts'
import type { AppEnv, Services } from '../services.ts'

export const ADMIN_OFF = 'Admin routes are off: the server was started without --admin-key.'

export function requireAdmin({ settings, catalogue }: Services): MiddlewareHandler<AppEnv> {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  const known = settings.adminKey === '' ? undefined : digest(settings.adminKey)
  return async (c, next) => {
    if (known === undefined) throw errors.notFound(c.req.path.slice(0, 200), ADMIN_OFF)
    const given = /^Bearer\s+(\S+)\s*$/i.exec(c.req.header('authorization') ?? '')?.[1]
    if (given === undefined) throw errors.apiKeyMissing()
    if (!timingSafeEqual(known, digest(given))) throw errors.apiKeyWrong(catalogue.region)
    await next()
  }
}
