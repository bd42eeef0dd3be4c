/**
 * Every error the server can answer with, in one place: status, type, code, text.
 *
 * The texts are the hosted service's own where they are known (clients match on them); what the service leaves vague is
 * followed by a colon and the field and the fix. Rows prefixed `<400> InternalError.Algo.InvalidParameter: ` are those
 * the service's model side answers with. `param` is filled in where the service sends null: it only adds.
 *
 * Reference: Model Studio's error code page and captured bodies; see docs/errors.md.
 */
import { ApiError } from './api-error.ts'

const INVALID = { type: 'invalid_request_error', code: 'invalid_parameter_error' } as const
const ALGO = '<400> InternalError.Algo.InvalidParameter: '

/** 400, found before the model side: body, schema, stream and thinking switches. */
function invalid(message: string, param: string | null = null): ApiError {
  return new ApiError({ status: 400, ...INVALID, message, param })
}

/** 400, with the model side's prefix. */
function algo(message: string, param: string | null = null): ApiError {
  return new ApiError({ status: 400, ...INVALID, message: ALGO + message, param })
}

/** `: hint` when there is one. */
function because(hint: string | undefined): string {
  return hint === undefined || hint === '' ? '' : `: ${hint}`
}

export type Region = 'intl' | 'cn'

const ERROR_PAGE: Readonly<Record<Region, string>> = {
  intl: 'https://www.alibabacloud.com/help/en/model-studio/error-code',
  cn: 'https://help.aliyun.com/zh/model-studio/error-code',
}

export const errors = {
  // ── gateway ──────────────────────────────────────────────────────────────────────────────────────────────────
  apiKeyMissing: () =>
    new ApiError({
      status: 401,
      type: 'invalid_request_error',
      code: null,
      scope: 'gateway',
      message:
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY). ",
    }),
  apiKeyWrong: (region: Region) =>
    new ApiError({
      status: 401,
      type: 'invalid_request_error',
      code: 'invalid_api_key',
      scope: 'gateway',
      message: `Incorrect API key provided. For details, see: ${ERROR_PAGE[region]}#apikey-error`,
    }),
  notFound: (path: string, why = 'The API is at /compatible-mode/v1 and /v1; see /openapi.json.') =>
    new ApiError({
      status: 404,
      type: 'invalid_request_error',
      code: 'not_found',
      scope: 'gateway',
      message: `No such path: ${path}. ${why}`,
    }),
  methodNotSupported: (method: string) =>
    new ApiError({
      status: 400,
      ...INVALID,
      scope: 'gateway',
      message: `Request method '${method}' is not supported.`,
    }),
  upgradeRequired: (path: string) =>
    new ApiError({
      status: 426,
      type: 'invalid_request_error',
      code: 'upgrade_required',
      scope: 'gateway',
      message: `${path} is a WebSocket: connect to it with ws:// or wss://.`,
    }),
  listedModelUnknown: (model: string, hint: string) =>
    new ApiError({
      status: 404,
      type: 'invalid_request_error',
      code: 'model_not_found',
      param: 'model',
      message: `The model \`${model}\` does not exist or you do not have access to it.${hint}`,
    }),
  requestMalformed: (reason: string) =>
    new ApiError({ status: 400, ...INVALID, scope: 'gateway', message: `The request is not HTTP/1.1: ${reason}.` }),
  headersTooLarge: (limit: number) =>
    new ApiError({
      status: 431,
      ...INVALID,
      scope: 'gateway',
      message: `The request's headers are over ${limit} bytes. Send fewer or shorter headers.`,
    }),
  bodyTooLarge: (limit: number) =>
    new ApiError({
      status: 413,
      ...INVALID,
      scope: 'gateway',
      message: `Required body invalid, please check the request body format: it is over ${limit} bytes. Pass media by URL.`,
    }),
  bodyTimedOut: (seconds: number) =>
    new ApiError({
      status: 408,
      ...INVALID,
      scope: 'gateway',
      message: `Required body invalid, please check the request body format: it did not arrive within ${seconds} s. Pass media by URL.`,
    }),
  /** `retryAfter` in seconds, here and below. */
  rateLimited: (region: Region, retryAfter = 1) =>
    new ApiError({
      retryAfter,
      status: 429,
      type: 'limit_requests',
      code: 'limit_requests',
      scope: 'gateway',
      message: `You have exceeded your current request limit. For details, see: ${ERROR_PAGE[region]}#rate-limit`,
    }),
  tokenQuotaExceeded: (retryAfter = 1) =>
    new ApiError({
      retryAfter,
      status: 429,
      type: 'insufficient_quota',
      code: 'insufficient_quota',
      scope: 'gateway',
      message: 'Allocated quota exceeded, please increase your quota limit.',
    }),

  // ── body and schema ──────────────────────────────────────────────────────────────────────────────────────────
  bodyInvalid: (hint?: string) =>
    invalid(`Required body invalid, please check the request body format${hint === undefined ? '.' : `: ${hint}`}`),
  modelMissing: () =>
    new ApiError({
      status: 400,
      type: 'invalid_request_error',
      code: null,
      param: 'model',
      message: 'you must provide a model parameter',
    }),
  modelNotFound: (model: string) =>
    new ApiError({
      status: 404,
      type: 'invalid_request_error',
      code: 'model_not_found',
      param: 'model',
      message: `The model \`${model}\` does not exist or you do not have access to it.`,
    }),
  modelNotSupported: (model: string) =>
    new ApiError({
      status: 404,
      type: 'invalid_request_error',
      code: 'model_not_supported',
      param: 'model',
      message: `Unsupported model \`${model}\` for OpenAI compatibility mode.`,
    }),
  fieldRequired: (param: string) => invalid(`Field required: ${param}`, param),
  contentRequired: (param: string) => invalid('The content field is a required field.', param),
  tooShort: (value: string, param: string) => invalid(`${value} is too short - '${param}'`, param),
  wrongType: (value: string, expected: string | readonly string[], param: string) =>
    invalid(`${value} is not of type '${[expected].flat().join("' or '")}' - '${param}'`, param),
  belowMinimum: (value: string, minimum: number | bigint, param: string) =>
    invalid(`${value} is lesser than the minimum of ${minimum} - '${param}'`, param),
  aboveMaximum: (value: string, maximum: number | bigint, param: string) =>
    invalid(`${value} is greater than the maximum of ${maximum} - '${param}'`, param),
  roleUnknown: (role: string, param: string) =>
    invalid(`${role} is not one of ['system', 'assistant', 'user', 'tool', 'function'] - '${param}'`, param),
  partTypeUnknown: (type: string, param: string) =>
    new ApiError({
      status: 400,
      type: 'invalid_request_error',
      code: 'invalid_value',
      param,
      message: `Invalid value: ${type}. Supported values are: 'text','image_url','video_url' and 'video'.`,
    }),
  notOneOf: (values: readonly string[], param: string) =>
    invalid(`${param} should be one of ${values.map((value) => `'${value}'`).join(', ')}.`, param),
  givenTwice: (param: string) => invalid(`${param} may be given only once.`, param),
  notSupportedHere: (param: string, hint: string) => invalid(`${param} is not supported: ${hint}`, param),
  /** A text the schema carries itself: ranges of sampling parameters. */
  parameterRange: (text: string, param: string) => algo(text, param),

  // ── modes ────────────────────────────────────────────────────────────────────────────────────────────────────
  streamOnly: () =>
    new ApiError({
      status: 400,
      ...INVALID,
      param: 'stream',
      // The service's text ends in a space.
      message: 'This model only support stream mode, please enable the stream parameter to access the model. ',
      hint: 'On this server, /v1 also answers without it; so does --lenient-non-stream, for text.',
    }),
  audioNeedsStream: () => invalid("'audio' output only support with stream=true", 'stream'),
  thinkingNotSupported: (model: string) =>
    new ApiError({
      status: 400,
      type: 'invalid_request_error',
      code: 'InvalidParameter.NotSupportEnableThinking',
      param: 'enable_thinking',
      message: `The model ${model} does not support enable_thinking.`,
    }),
  thinkingNeedsStream: () => invalid('parameter.enable_thinking only support stream call', 'enable_thinking'),
  thinkingExcludesAudio: () =>
    algo(
      'Audio output is not supported when enable_thinking is true: set modalities to ["text"], or enable_thinking to false.',
      'modalities',
    ),
  thinkingBudget: (maximum: number) =>
    invalid(
      `The thinking_budget parameter must be a positive integer and not greater than ${maximum}`,
      'thinking_budget',
    ),
  modalitiesUnsupported: (given: readonly string[]) =>
    algo(
      `Invalid modalities: [${given.map((name) => `'${name}'`).join(', ')}]. Supported combinations are: ['text'] and ['text', 'audio'].`,
      'modalities',
    ),
  /** `hint` is sent next to the message. */
  voiceUnsupported: (voice: string, detail = '', hint?: string) =>
    new ApiError({
      status: 400,
      ...INVALID,
      message: `${ALGO}Voice '${voice}' is not supported.${detail}`,
      param: 'audio.voice',
      ...(hint !== undefined && { hint }),
    }),
  /** Turbo and open models: the list is written as `'A', 'B' or 'C'`. */
  voiceNotInList: (voices: readonly string[]) => {
    const quoted = voices.map((voice) => `'${voice}'`)
    const list = quoted.length > 1 ? `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}` : quoted.join('')
    return algo(`Input should be ${list}: parameters.audio.voice`, 'audio.voice')
  },
  audioFormatUnsupported: (hint = '') => algo(`Input should be 'wav': parameters.audio.format${hint}`, 'audio.format'),
  toolsUnsupported: (param: string, hint?: string) =>
    algo(`The tool call is not supported.${hint === undefined ? '' : ` ${hint}`}`, param),
  toolInvalid: (param: string) =>
    invalid(
      `${param} is not valid: a tool is {"type": "function", "function": {"name", "description", "parameters"}} with a name of up to 64 letters, digits, _ and -; a call has an id, a name and arguments as JSON text; tool_choice names one of the tools.`,
      param,
    ),
  toolChoiceWithoutTools: () =>
    invalid('tool_choice cannot force a call without tools: give tools, or leave tool_choice out.', 'tool_choice'),
  toolChoiceWithThinking: () =>
    invalid(
      'tool_choice cannot force a call when enable_thinking is true: set tool_choice to "auto", or enable_thinking to false.',
      'tool_choice',
    ),
  audioIdUnknown: (param: string) =>
    invalid('This audio id is unknown or has expired: send the text of the message as content.', param),
  logprobsUnsupported: (param: 'logprobs' | 'top_logprobs') =>
    algo('This model does not support logprobs: leave out logprobs and top_logprobs.', param),
  searchUnsupported: () => algo('This model does not support enable_search.', 'enable_search'),
  responseFormatUnsupported: (type: string) =>
    algo(
      `Unknown format of response_format: this model answers in plain text only, so response_format.type may be 'text', not '${type}'.`,
      'response_format.type',
    ),
  jsonWithThinking: () =>
    algo('Json mode response is not supported when enable_thinking is true', 'response_format.type'),
  toolChoiceUnknown: () => algo('tool_choice is one of the strings that should be ["none", "auto"]', 'tool_choice'),
  onlyOneChoice: () => algo('Range of n should be [1, 1]: this model gives one choice per request.', 'n'),
  stopMixed: () => algo('stop should be a string, a list of strings or a list of token ids, not a mix.', 'stop'),

  // ── messages and lengths ─────────────────────────────────────────────────────────────────────────────────────
  noUserMessage: () => algo('The input messages do not contain elements with the role of user.', 'messages'),
  lastMessageNotUser: (param: string) => algo('The last message should have the role of user.', param),
  assistantTextOnly: (param: string) =>
    algo('An assistant message may contain text only: move media to a user message.', param),
  systemTextOnly: (param: string) =>
    algo('A system message may contain text only: move media to a user message.', param),
  mixedModalities: (param: string) =>
    algo(
      'Multiple inputs of the same modality or mixed modality inputs are currently not applicable to the omni model',
      param,
    ),
  /** `hint` is sent next to the message. */
  inputLength: (maximum: number, { detail, hint }: { detail?: string; hint?: string } = {}) =>
    new ApiError({
      status: 400,
      ...INVALID,
      param: 'messages',
      message: `${ALGO}Range of input length should be [1, ${maximum}]${because(detail)}`,
      ...(hint !== undefined && { hint }),
    }),
  maxTokensRange: (maximum: number, param: string) => algo(`Range of ${param} should be [1, ${maximum}]`, param),
  framesRange: (minimum: number, maximum: number, param: string) =>
    algo(
      `The video modality input does not meet the requirements because: the range of sequence images shoule be (${minimum}, ${maximum}).`,
      param,
    ),

  // ── media ────────────────────────────────────────────────────────────────────────────────────────────────────
  urlInvalid: (param: string, hint?: string) =>
    algo(
      `The provided URL does not appear to be valid. Ensure it is correctly formatted.${hint ? ` ${hint}` : ''}`,
      param,
    ),
  hostForbidden: (param: string, hint?: string) =>
    algo(`Don't have authorization to access the media resource${because(hint)}`, param),
  mediaNotFound: (param: string, hint?: string) =>
    algo(`Failed to find the requested media resource${because(hint)}`, param),
  downloadFailed: (param: string, hint?: string) =>
    algo(`Failed to download multimodal content.${hint ? ` ${hint}` : ''}`, param),
  downloadTimeout: (param: string, hint?: string) => algo(`Download multimodal file timed out${because(hint)}`, param),
  contentTypeWrong: (param: string, hint?: string) =>
    algo(`Wrong Content-Type of multimodal url${because(hint)}`, param),
  dataUriTooLarge: (param: string) => algo("Exceeded limit on max bytes per data-uri item : 10485760'.", param),
  fileTooLarge: (param: string, hint?: string) => algo(`Multimodal file size is too large${because(hint)}`, param),
  imageDimensions: (param: string, hint?: string) =>
    algo(`The image length and width do not meet the model restrictions.${hint ? ` [${hint}]` : ''}`, param),
  imageIllegal: (param: string, hint?: string) =>
    algo(`The image format is illegal and cannot be opened${because(hint)}`, param),
  audioIllegal: (param: string, hint?: string) =>
    algo(`The audio format is illegal and cannot be opened${because(hint)}`, param),
  audioEmpty: (param: string, hint?: string) => algo(`The audio is empty${because(hint)}`, param),
  audioTooLong: (param: string, hint?: string) => algo(`The audio is too long${because(hint)}`, param),
  videoInvalid: (param: string, hint?: string) => algo(`Invalid video file.${hint ? ` ${hint}` : ''}`, param),
  videoTooLong: (param: string, hint?: string) =>
    algo(
      `The video modality input does not meet the requirements because: The video file is too long.${hint ? ` ${hint}` : ''}`,
      param,
    ),
  videoTooShort: (param: string, hint?: string) =>
    algo(
      `The video modality input does not meet the requirements because: The video file is too short.${hint ? ` ${hint}` : ''}`,
      param,
    ),

  // ── the checkpoint behind the name ───────────────────────────────────────────────────────────────────────────
  /** The loaded checkpoint does not support what the API model has; the text names the missing part. */
  checkpointUnsupported: (text: string, param: string | null) => algo(text, param),
  accessDenied: () =>
    new ApiError({
      status: 403,
      type: 'access_denied',
      code: 'access_denied',
      scope: 'gateway',
      message: 'Access denied.',
    }),
  overloaded: (hint?: string, retryAfter = 2) =>
    new ApiError({
      retryAfter,
      status: 503,
      type: 'ModelServingError',
      code: 'ModelServingError',
      message: `Too many requests. Your requests are being throttled due to system capacity limits. Please try again later.${hint ? ` ${hint}` : ''}`,
    }),
  unavailable: (hint?: string, cause?: unknown, retryAfter = 2) =>
    new ApiError({
      retryAfter,
      status: 503,
      type: 'ModelUnavailable',
      code: 'ModelUnavailable',
      message: `Model is unavailable, please try again later.${hint ? ` ${hint}` : ''}`,
      cause,
    }),
  timedOut: () =>
    new ApiError({
      status: 500,
      type: 'RequestTimeOut',
      code: 'RequestTimeOut',
      message: 'Request timed out, please try again later.',
    }),
  internal: (cause?: unknown) =>
    new ApiError({
      status: 500,
      type: 'internal_error',
      code: 'internal_error',
      message: 'An internal error has occured, please try again later or contact service support.',
      cause,
    }),
} as const

export type ErrorName = keyof typeof errors
