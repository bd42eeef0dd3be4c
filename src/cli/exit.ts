/** Exit codes, and the text of failures: one line without a stack. Documented in `--help` and docs/cli.md. */
import { ConfigError } from '../config/config-error.ts'
import { EngineError } from '../contract/index.ts'
import { PullError } from '../weights/hub/pull-error.ts'

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  checkpoint: 3,
  unreachable: 4,
  refused: 5,
  interrupted: 130,
} as const

export const EXIT_HELP = `
Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 checkpoint cannot be loaded, 4 server or hub cannot be
reached, 5 request refused by the API, 130 interrupted.`

/** A failure that is printed as one line, without a stack. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly exitCode: number
  constructor(message: string, exitCode: number = EXIT.failed) {
    super(message)
    this.exitCode = exitCode
  }
}

/** Ctrl-C or SIGTERM. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
}

/**
 * The exit code for an error, and the text to print. With `OMNISERVE_DEBUG=1` the stack follows, for bug reports.
 *
 * @param environment contains `OMNISERVE_DEBUG`
 */
export function explainFailure(
  error: unknown,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): { readonly exitCode: number; readonly text: string } {
  const { exitCode, message } = explain(error)
  const stack = environment['OMNISERVE_DEBUG'] === '1' && error instanceof Error ? `\n${error.stack ?? ''}` : ''
  return { exitCode, text: `omniserve: ${message}${stack}` }
}

/** The text of {@link explainFailure} without the program's name. */
export function failureText(
  error: unknown,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string {
  return explainFailure(error, environment).text.replace(/^omniserve: /, '')
}

function explain(error: unknown): { readonly exitCode: number; readonly message: string } {
  if (error instanceof CommandError) return { exitCode: error.exitCode, message: error.message }
  if (error instanceof ConfigError) return { exitCode: EXIT.usage, message: error.message }
  if (error instanceof Interrupted) return { exitCode: EXIT.interrupted, message: 'interrupted' }
  if (error instanceof PullError) return { exitCode: pullExit(error), message: error.message }
  if (error instanceof EngineError) {
    switch (error.code) {
      case 'bad_checkpoint':
        return { exitCode: EXIT.checkpoint, message: error.message }
      case 'unsupported':
        return { exitCode: EXIT.usage, message: error.message }
      default:
        return { exitCode: EXIT.failed, message: error.message }
    }
  }
  if (error instanceof Error && 'code' in error && typeof error.code === 'string' && 'syscall' in error) {
    return { exitCode: EXIT.failed, message: systemMessage(error.code, error) }
  }
  const message = error instanceof Error ? error.message : String(error)
  return {
    exitCode: EXIT.failed,
    message: `${message}\nThis looks like a bug in omniserve. Run again with OMNISERVE_DEBUG=1 and report the output.`,
  }
}

function pullExit(error: PullError): number {
  switch (error.code) {
    case 'bad_request':
      return EXIT.usage
    case 'not_found':
    case 'unauthorized':
    case 'rate_limited':
    case 'network':
      return EXIT.unreachable
    case 'checksum':
    case 'disk_full':
    case 'bad_listing':
      return EXIT.failed
    default:
      return error.code satisfies never
  }
}

const systemTexts: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder',
  EACCES: 'permission denied',
  EISDIR: 'it is a folder, not a file',
  ENOTDIR: 'part of the path is not a folder',
  ENOSPC: 'the disk is full',
  EROFS: 'the disk is read-only',
}

function systemMessage(code: string, error: Error): string {
  const where = 'path' in error && typeof error.path === 'string' ? `${error.path}: ` : ''
  return `${where}${systemTexts[code] ?? error.message}`
}
