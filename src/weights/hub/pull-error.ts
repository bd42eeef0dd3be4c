/** The errors of fetching a checkpoint, each with what to do about it. */

export type PullErrorCode =
  /** The id or an option is not well formed. */
  | 'bad_request'
  /** No such model, revision or file. */
  | 'not_found'
  /** A token is missing, wrong, or has not been granted access. */
  | 'unauthorized'
  /** The hub asks to slow down, and kept asking. */
  | 'rate_limited'
  /** The hub cannot be reached or breaks off again and again. */
  | 'network'
  /** What arrived is not what the hub announced. */
  | 'checksum'
  | 'disk_full'
  /** The listing makes no sense, or holds no checkpoint. */
  | 'bad_listing'

export class PullError extends Error {
  override readonly name = 'PullError'
  readonly code: PullErrorCode
  constructor(code: PullErrorCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options)
    this.code = code
  }
}
