/** A setting that does not fit. The message says where it came from and what it must be. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}
