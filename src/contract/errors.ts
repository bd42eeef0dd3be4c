/** The one error that engines throw. */

export type EngineErrorCode =
  /** The request needs what this checkpoint does not support (modality, voice, thinking, tools). */
  | 'unsupported'
  /** Prompt, or prompt plus `maxTokens`, over the checkpoint's context. */
  | 'context_overflow'
  /** Unknown model id. */
  | 'unknown_model'
  /** The engine ended while the request was in flight. */
  | 'engine_crashed'
  /** Not started, or closed. */
  | 'engine_closed'
  /** At capacity: too many requests waiting, or not enough memory for this one. */
  | 'overloaded'
  /** A limit of requests or tokens over time, of this server or of the one behind it. */
  | 'rate_limited'
  /** Nothing arrived within the time allowed. */
  | 'timeout'
  /** The server behind this engine could not be reached, or its answer was invalid. */
  | 'upstream_failed'
  /**
   * A checkpoint folder that cannot be loaded: missing file, unknown architecture, misshapen tensor, too little memory.
   */
  | 'bad_checkpoint'
  | 'internal'

/** Codes of which the same request may succeed later. */
const RETRYABLE: ReadonlySet<EngineErrorCode> = new Set([
  'engine_crashed',
  'overloaded',
  'rate_limited',
  'timeout',
  'upstream_failed',
])

/** An error as a server that speaks the same wire put it; the caller gets it as it is. */
export interface PassedOnError {
  readonly status: number
  readonly type: string
  readonly code: string | null
}

export interface EngineErrorOptions {
  /** The request field that is wrong. */
  readonly param?: string
  /** Default: by the code. */
  readonly retryable?: boolean
  /** When a retry may succeed, where that is known. */
  readonly retryAfterMs?: number
  /** The message and `param` are then the other server's own. */
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
