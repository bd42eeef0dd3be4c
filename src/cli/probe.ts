/**
 * Checks that `doctor` runs in a separate process, because the numeric library can end its process.
 *
 * In: options of `omniserve doctor` that print a {@link Probe} as JSON. Out: that probe, or a failed one with how the
 * process ended.
 */
import { spawn } from 'node:child_process'

export interface Probe {
  readonly ok: boolean
  readonly text: string
  /** A possible improvement, if there is one. */
  readonly better?: string
}

/** Milliseconds. A GPU's driver may compile the self-test's shaders first. */
const TIMEOUT = 240_000

/** Runs `omniserve doctor` with `args` in a child process. Rejects with the signal's reason once aborted. */
export async function runProbe(args: readonly string[], signal: AbortSignal): Promise<Probe> {
  const main = process.argv[1] ?? ''
  const child = spawn(process.execPath, [...process.execArgv, main, 'doctor', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT,
    signal,
  })
  let output = ''
  let errors = ''
  child.stdout.on('data', (text: Buffer) => {
    output += text.toString()
  })
  child.stderr.on('data', (text: Buffer) => {
    errors = (errors + text.toString()).slice(-400)
  })
  const ended = await new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code, killed) => resolve(killed === null ? `code ${code}` : killed))
  })
  signal.throwIfAborted()
  try {
    const probe: Probe = JSON.parse(output)
    return probe
  } catch {
    const outcome = ended === 'SIGTERM' ? `did not answer within ${TIMEOUT / 1000} s` : `exited (${ended})`
    return { ok: false, text: `the numeric library ${outcome} ${errors.trim()}` }
  }
}
