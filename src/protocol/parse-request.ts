/** From parsed JSON to a checked {@link ChatCompletionRequest}; everything that depends on the model comes later. */
import { errors } from './error-catalogue.ts'
import { type ChatCompletionRequest, chatCompletionRequestSchema, mergeExtraBody } from './request.ts'
import { requestIssueToError, shown } from './request-issue.ts'

/**
 * Parses a request body. `knows` says whether a model name exists; that is checked before the rest.
 * @throws ApiError with the code, text and field of the first thing wrong.
 */
export function parseChatRequest(json: unknown, knows: (model: string) => boolean): ChatCompletionRequest {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw errors.bodyInvalid('it should be a JSON object.')
  }
  const extra = (json as Record<string, unknown>)['extra_body'] ?? {}
  if (typeof extra !== 'object' || Array.isArray(extra)) throw errors.wrongType(shown(extra), 'object', 'extra_body')
  const body = mergeExtraBody(json as Record<string, unknown>)
  const { model } = body
  if (model === undefined || model === null || model === '') throw errors.modelMissing()
  if (typeof model !== 'string') throw errors.wrongType(shown(model), 'string', 'model')
  if (!knows(model)) throw errors.modelNotFound(model.slice(0, 200))
  const parsed = chatCompletionRequestSchema.safeParse(body)
  if (!parsed.success) throw requestIssueToError(parsed.error, body)
  return parsed.data
}
