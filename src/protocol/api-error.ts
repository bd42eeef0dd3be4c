/**
 * The one error of the API server, and the body it is rendered to.
 *
 * In: an {@link ApiError} (made by `error-catalogue.ts`) and the request's uuid. Out: the JSON body of the compatible
 * mode. Gateway errors carry `request_id` only, model errors carry `id` as well.
 */
import { z } from 'zod'

export const apiErrorBodySchema = z
  .object({
    error: z.object({
      message: z.string().describe('What is wrong, and how to fix it.'),
      type: z.string(),
      param: z.string().nullable().describe('Path of the wrong field, with dots, or null.'),
      code: z.string().nullable(),
      hint: z.string().optional().describe("The fix, where `message` is the service's own text."),
    }),
    id: z
      .string()
      .optional()
      .describe('`chatcmpl-` and the request id. Absent if the error occurs before the model is known.'),
    request_id: z.string().describe('The uuid also sent as `x-request-id`.'),
  })
  .meta({ id: 'Error' })

export type ApiErrorBody = z.infer<typeof apiErrorBodySchema>

export interface ApiErrorInit {
  readonly status: number
  readonly type: string
  readonly code: string | null
  readonly message: string
  readonly param?: string | null
  /** `gateway` when the request never reached a model: such bodies have no `id`. */
  readonly scope?: 'gateway' | 'model'
  /** Seconds until another try may succeed; sent as `retry-after`. */
  readonly retryAfter?: number
  /** The valid values, in addition to the hosted service's text. */
  readonly hint?: string
  readonly cause?: unknown
}

export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly status: number
  readonly type: string
  readonly code: string | null
  readonly param: string | null
  readonly scope: 'gateway' | 'model'
  readonly retryAfter: number | undefined
  readonly hint: string | undefined

  constructor(init: ApiErrorInit) {
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause })
    this.status = init.status
    this.type = init.type
    this.code = init.code
    this.param = init.param ?? null
    this.scope = init.scope ?? 'model'
    this.retryAfter = init.retryAfter
    this.hint = init.hint
  }

  /** The same error of another field, for endpoints that name it differently. */
  withParam(param: string): ApiError {
    const { status, type, code, message, scope, retryAfter, hint, cause } = this
    return new ApiError({
      status,
      type,
      code,
      message,
      param,
      scope,
      cause,
      ...(retryAfter !== undefined && { retryAfter }),
      ...(hint !== undefined && { hint }),
    })
  }

  /**
   * The body sent over HTTP, and inside a stream that has begun. `requestId`: a uuid with dashes; `hint`: next to the
   * message.
   */
  toBody(requestId: string, hint?: string): ApiErrorBody {
    const { message, type, param, code } = this
    const error = { message, type, param, code, ...(hint !== undefined && { hint }) }
    return this.scope === 'gateway'
      ? { error, request_id: requestId }
      : { error, id: `chatcmpl-${requestId}`, request_id: requestId }
  }
}
