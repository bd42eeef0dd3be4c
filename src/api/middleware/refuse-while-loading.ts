/** Answers requests that need a checkpoint with 503 and `retry-after` while checkpoints are being loaded. */
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
