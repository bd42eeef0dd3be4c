/** The errors of fetching a checkpoint, each with its fix. */

export type PullErrorCode =
  /** The id or an option is not well formed. */
  | 'bad_request'
  /** No such model, revision or file. */
  | 'not_found'
  /** A token is missing, wrong, or has not been granted access. */
  | 'unauthorized'
  /** The hub's rate limit, after all retries. */
  | 'rate_limited'
  /** The hub cannot be reached or the connection breaks again and again. */
  | 'network'
  /** What arrived differs from what the hub announced. */
  | 'checksum'
  | 'disk_full'
  /** The listing is invalid, or has no checkpoint. */
  | 'bad_listing'

export class PullError extends Error {
  override readonly name = 'PullError'
  readonly code: PullErrorCode
  constructor(code: PullErrorCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options)
    this.code = code
  }
}
