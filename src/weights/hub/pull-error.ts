/** Errors of downloading a checkpoint; messages contain the fix. */

export type PullErrorCode =
  /** The id or an option is invalid. */
  | 'bad_request'
  /** No such model, revision or file. */
  | 'not_found'
  /** The token is missing, wrong, or has no access to the model. */
  | 'unauthorized'
  /** The hub's rate limit, after all retries. */
  | 'rate_limited'
  /** The hub cannot be reached, after all retries. */
  | 'network'
  /** The received bytes differ from the hub's size or hash. */
  | 'checksum'
  | 'disk_full'
  /** The list of files is invalid, or has no checkpoint. */
  | 'bad_listing'

export class PullError extends Error {
  override readonly name = 'PullError'
  readonly code: PullErrorCode
  constructor(code: PullErrorCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options)
    this.code = code
  }
}
