/**
 * Access control: keys, web origins, and the `Host` header of a server without keys.
 *
 * A keyless server listens on the loopback address only; still a web page elsewhere could reach it through a visitor's
 * browser, directly or by a name that resolves to 127.0.0.1. So without keys only pages of this machine may call, and
 * only under a loopback name.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import { isLoopback } from '../../config/index.ts'
import { errors } from '../../protocol/index.ts'
import type { AppEnv, Services } from '../services.ts'

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

/** Requires `Authorization: Bearer KEY` when keys are set. Keys are compared by digest, in constant time. */
export function requireKey(services: Services): MiddlewareHandler<AppEnv> {
  const known = services.settings.apiKey.map(digest)
  return async (c, next) => {
    const given =
      /^Bearer\s+(\S+)\s*$/i.exec(c.req.header('authorization') ?? '')?.[1] ??
      subprotocolKey(c.req.header('sec-websocket-protocol'))
    if (known.length > 0) {
      if (given === undefined) throw errors.apiKeyMissing()
      const hash = digest(given)
      let matches = false
      for (const key of known) if (timingSafeEqual(key, hash)) matches = true
      if (!matches) throw errors.apiKeyWrong(services.catalogue.region)
      c.set('caller', hash.toString('hex').slice(0, 12))
    }
    await next()
  }
}

/** Browsers cannot set headers on a WebSocket: OpenAI's clients send the key among the subprotocols. */
function subprotocolKey(header: string | undefined): string | undefined {
  return /(?:^|,)\s*openai-insecure-api-key\.([^\s,]+)/.exec(header ?? '')?.[1]
}

/** CORS, and refusal of foreign pages and names where no key protects the server. */
export function guardOrigin(services: Services): MiddlewareHandler<AppEnv> {
  const { corsOrigin, apiKey, host } = services.settings
  const keyless = apiKey.length === 0
  const allows = (origin: string): boolean => {
    if (corsOrigin.length > 0) return corsOrigin.includes('*') || corsOrigin.includes(origin)
    return !keyless || isLoopbackOrigin(origin)
  }
  return async (c, next) => {
    const origin = c.req.header('origin')
    if (keyless && isLoopback(host)) {
      const name = hostName(c.req.header('host'))
      if (name !== undefined && !isLoopback(name)) throw errors.accessDenied()
      if (origin !== undefined && !allows(origin)) throw errors.accessDenied()
    }
    if (origin !== undefined && allows(origin)) {
      c.header('access-control-allow-origin', origin)
      c.header('vary', 'Origin')
      c.header(
        'access-control-expose-headers',
        'x-request-id, x-omniserve-warnings, x-omniserve-hint, x-omniserve-served-by, retry-after',
      )
    }
    if (c.req.method === 'OPTIONS' && c.req.header('access-control-request-method') !== undefined) {
      c.header('access-control-allow-methods', 'GET, POST, OPTIONS')
      c.header('access-control-allow-headers', c.req.header('access-control-request-headers') ?? '*')
      c.header('access-control-max-age', '600')
      return c.body(null, 204)
    }
    return next()
  }
}

function isLoopbackOrigin(origin: string): boolean {
  try {
    return isLoopback(new URL(origin).hostname)
  } catch {
    return false
  }
}

/** The name in a `Host` header, without its port. */
function hostName(header: string | undefined): string | undefined {
  if (header === undefined || header === '') return undefined
  return header.startsWith('[') ? header.slice(0, header.indexOf(']') + 1) : header.split(':')[0]
}
