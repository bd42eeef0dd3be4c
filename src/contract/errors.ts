/** The error that all engines throw. */

export type EngineErrorCode =
  /** The checkpoint does not support the request (modality, voice, thinking, tools). */
  | 'unsupported'
  /** The prompt, or the prompt plus `maxTokens`, exceeds the checkpoint's context. */
  | 'context_overflow'
  /** Unknown model id. */
  | 'unknown_model'
  /** The engine ended while the request was running. */
  | 'engine_crashed'
  /** The engine is not started, or closed. */
  | 'engine_closed'
  /** At capacity: too many requests are waiting, or there is not enough memory for this one. */
  | 'overloaded'
  /** A rate limit of requests or tokens, of this server or of a peer. */
  | 'rate_limited'
  /** Nothing arrived within the time limit. */
  | 'timeout'
  /** The peer could not be reached, or its response was invalid. */
  | 'upstream_failed'
  /**
   * The checkpoint cannot be loaded: missing file, unknown architecture, wrong shape of a tensor, too little memory.
   */
  | 'bad_checkpoint'
  | 'internal'

/** Codes after which the same request may succeed later. */
const RETRYABLE: ReadonlySet<EngineErrorCode> = new Set([
  'engine_crashed',
  'overloaded',
  'rate_limited',
  'timeout',
  'upstream_failed',
])

/** An error of a peer with the same API, which the caller gets unchanged. */
export interface PassedOnError {
  readonly status: number
  readonly type: string
  readonly code: string | null
}

export interface EngineErrorOptions {
  /** The request field that is wrong. */
  readonly param?: string
  /** Default: depends on the code. */
  readonly retryable?: boolean
  /** Time until a retry may succeed, milliseconds, if known. */
  readonly retryAfterMs?: number
  /** Set for an error of a peer, whose message and `param` are then unchanged. */
  readonly passedOn?: PassedOnError
  readonly cause?: unknown
}

/** `message` names the field or file and the fix. */
export class EngineError extends Error {
  override readonly name = 'EngineError'
  readonly code: EngineErrorCode
  readonly param: string | undefined
  /** Whether the same request may succeed later, here or elsewhere. */
  readonly retryable: boolean
  readonly retryAfterMs: number | undefined
  readonly passedOn: PassedOnError | undefined

  constructor(code: EngineErrorCode, message: string, options: EngineErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.param = options.param
    this.retryable = options.retryable ?? RETRYABLE.has(code)
    this.retryAfterMs = options.retryAfterMs
    this.passedOn = options.passedOn
  }
}
