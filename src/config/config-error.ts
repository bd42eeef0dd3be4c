/** An invalid setting. The message names its origin and the allowed values. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}
