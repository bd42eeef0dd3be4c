/** `POST /tokens/count`: the billed prompt tokens of a chat completion, and whether it fits, without running it. */
import type { Context } from 'hono'
import { buildUsage, costOf, NO_COMPLETION } from '../../accounting/index.ts'
import { ApiError, errors, type TokensCount } from '../../protocol/index.ts'
import { checkpointPromptTokens, disposeInBackground, knownModelName, planRequest, prepare } from '../chat/prepare.ts'
import { bodyLimits, readJson } from '../read-body.ts'
import { RequestScope } from '../request-scope.ts'
import type { AppEnv, Services } from '../services.ts'

export function tokensCount(services: Services, lenient = false) {
  return async (c: Context<AppEnv>): Promise<Response> => {
    const { requestId, caller } = c.var
    let modelName = 'unknown'
    const scope = new RequestScope(services, c.req.raw.signal)
    try {
      const share = services.bodies.share()
      scope.own(share)
      const json = await readJson(c.req.raw, bodyLimits(services.settings), share)
      modelName = knownModelName(services, json) ?? modelName
      const plan = planRequest(services, json, { forCounting: true, lenient, caller })
      services.rateLimiter?.take(caller, plan.model.id, plan.model.rules.rateLimit)
      scope.own(await services.queue.enter(scope.signal))
      const prepared = await prepare(services, plan, { id: requestId, caller, traceparent: undefined }, scope.signal)
      scope.own(disposeInBackground(prepared.media))
      const { model } = prepared.loaded
      const usage = buildUsage(prepared.prompt(), NO_COMPLETION)
      const warnings = [...prepared.warnings()]
      let checkpointTokens: number | null = null
      try {
        checkpointTokens = await checkpointPromptTokens(prepared, scope.signal)
      } catch (error) {
        // Counting answers even where running would not; the reason is included.
        if (!(error instanceof ApiError) || error.status >= 500) throw error
        warnings.push(error.message)
      }
      const answer: TokensCount = {
        object: 'tokens.count',
        model: plan.modelName,
        usage,
        cost: plan.model.prices === undefined ? null : costOf(usage, plan.model.prices),
        limits: {
          max_input: plan.maxInput,
          checkpoint: model.id,
          checkpoint_prompt_tokens: checkpointTokens,
          checkpoint_context: model.contextLength,
        },
        warnings,
      }
      services.metrics.request('tokens-count', modelName, 200)
      return c.json(answer)
    } catch (error) {
      const explained = scope.explain((other) => (other instanceof ApiError ? other : errors.internal(other)))(error)
      services.metrics.request('tokens-count', modelName, explained?.status ?? 499)
      if (explained === undefined) return c.body(null, 499 as 400)
      throw explained
    } finally {
      scope.end()
    }
  }
}
