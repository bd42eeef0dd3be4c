/** Assigns a uuid to each request, and answers errors with the catalogue's body. */
import type { Context, MiddlewareHandler } from 'hono'
import { ApiError, didYouMean, errors } from '../../protocol/index.ts'
import type { AppEnv, Services } from '../services.ts'

export function requestContext(services: Services): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const requestId = services.uuid()
    c.set('requestId', requestId)
    c.set('caller', 'anonymous')
    c.header('x-request-id', requestId)
    await next()
  }
}

/** Errors become responses here only. */
export function renderError(services: Services, thrown: unknown, c: Context<AppEnv>): Response {
  const error = thrown instanceof ApiError ? thrown : errors.internal(thrown)
  const hint = hintOf(services, error, c.req.path)
  // The strict route's texts are the service's letter for letter; a wrong name is followed by the right ones.
  const separately = c.req.path.startsWith('/compatible-mode/') && error.code !== 'model_not_found'
  const message = separately || hint === undefined ? error.message : `${sentence(error.message)} ${hint}`
  if (separately && hint !== undefined) c.header('x-omniserve-hint', encodeURI(hint).replaceAll('%20', ' '))
  // Set by the first middleware; absent only if that one failed.
  const requestId: string | undefined = c.get('requestId')
  const id = requestId ?? services.uuid()
  services.metrics.error(error.code, error.status)
  const facts = {
    requestId: id,
    method: c.req.method,
    path: c.req.path,
    status: error.status,
    code: error.code,
    param: error.param,
  }
  // A full queue is not logged as a fault: under load it would fill the log with stacks.
  if (error.status === 503 && error.cause === undefined) services.log.warn(facts, error.message)
  else if (error.status >= 500) services.log.error({ ...facts, err: error.cause ?? error }, error.message)
  else services.log.info(facts, error.message)
  c.header('content-type', 'application/json')
  c.header('x-request-id', id)
  if (error.retryAfter !== undefined) c.header('retry-after', String(error.retryAfter))
  const body = error.toBody(id, separately ? hint : undefined)
  // Headers set so far, those for other origins among them, stay.
  return c.body(JSON.stringify({ ...body, error: { ...body.error, message } }), error.status as 400)
}

function sentence(text: string): string {
  const trimmed = text.trimEnd()
  return /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`
}

/** The fix, where the message does not have it. For a model; on `/v1`, checkpoints by their names too. */
function hintOf({ catalogue, host }: Services, error: ApiError, path: string): string | undefined {
  const { message } = error
  if (error.code !== 'model_not_found' || !message.endsWith('do not have access to it.')) return error.hint
  const { region, models } = catalogue
  const checkpoints = path.startsWith('/v1/') && !host.loading ? host.names : []
  const known = models.map(({ id }) => id)
  const hint = didYouMean(/`([^`]*)`/.exec(message)?.[1] ?? '', [...known, ...checkpoints])
  const here = checkpoints.length === 0 ? '' : ` Checkpoints loaded here: ${checkpoints.join(', ')}.`
  return `${hint} Models of region ${region}: ${known.join(', ')}.${here}`.trimStart()
}
