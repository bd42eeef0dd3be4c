/** How commands end. Documented in `--help`. */
import { ConfigError } from '../config/index.ts'
import { EngineError } from '../engines/engine.ts'

export const EXIT = { ok: 0, failed: 1, usage: 2, checkpoint: 3 } as const

export const EXIT_HELP = `
Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 a checkpoint that cannot be loaded.`

/** A failure that is told in one line, without a stack. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly exitCode: number
  constructor(message: string, exitCode: number = EXIT.failed) {
    super(message)
    this.exitCode = exitCode
  }
}

/** The code for an error, and what to print: one line for what people can put right, a stack for what they cannot. */
export function explainFailure(error: unknown): { readonly exitCode: number; readonly text: string } {
  if (error instanceof CommandError) return { exitCode: error.exitCode, text: `omniserve: ${error.message}` }
  if (error instanceof ConfigError) return { exitCode: EXIT.usage, text: `omniserve: ${error.message}` }
  if (error instanceof EngineError) {
    const exitCode = error.code === 'bad_checkpoint' ? EXIT.checkpoint : EXIT.failed
    return { exitCode, text: `omniserve: ${error.message}` }
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { exitCode: EXIT.failed, text: `omniserve: ${text}` }
}
