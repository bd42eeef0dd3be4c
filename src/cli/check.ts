/** One result of `omniserve doctor`. */
export interface Check {
  readonly name: string
  /** `warn` does not prevent serving; `absent` is not installed and not needed. */
  readonly status: 'ok' | 'warn' | 'fail' | 'absent'
  readonly found: string
  readonly fix?: string
}
