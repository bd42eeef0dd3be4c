/** Requests that need a checkpoint, while checkpoints are being loaded: 503, and when to try again. */
import type { MiddlewareHandler } from 'hono'
import { errors } from '../../protocol/index.ts'
import type { AppEnv, Services } from '../services.ts'

const RETRY_AFTER_SECONDS = 5

export function refuseWhileLoading({ host }: Services): MiddlewareHandler<AppEnv> {
  return async (_, next) => {
    if (host.loading) {
      const what = host.names.length === 1 ? 'The checkpoint is' : 'The checkpoints are'
      throw errors.unavailable(`${what} still loading: ${host.names.join(', ')}.`, undefined, RETRY_AFTER_SECONDS)
    }
    await next()
  }
}
