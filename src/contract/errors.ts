/** The one error that engines throw. */

export type EngineErrorCode =
  /** The request asks for what this checkpoint cannot do (modality, voice, thinking). */
  | 'unsupported'
  /** Prompt, or prompt plus `maxTokens`, over the checkpoint's context. */
  | 'context_overflow'
  /** Unknown model id. */
  | 'unknown_model'
  /** The engine process ended while the request was in flight; it is being restarted. */
  | 'engine_crashed'
  /** Not started, or closed. */
  | 'engine_closed'
  /** No room: too many requests waiting, or not enough memory for this one's cache. */
  | 'overloaded'
  /** A checkpoint folder that cannot be loaded: missing file, unknown architecture, misshapen tensor, too little memory. */
  | 'bad_checkpoint'
  | 'internal'

/** The one error engines throw. `message` names the field or file and the fix; `param` is the request field, if one. */
export class EngineError extends Error {
  override readonly name = 'EngineError'
  readonly code: EngineErrorCode
  readonly param: string | undefined
  constructor(code: EngineErrorCode, message: string, options: { param?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.param = options.param
  }
}
