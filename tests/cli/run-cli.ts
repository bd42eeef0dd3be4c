/** The `omniserve` command as a process, and as a process at a terminal. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'

const repository = fileURLToPath(new URL('../../', import.meta.url))
export const mainFile = path.join(repository, 'src', 'cli', 'main.ts')

/** A whole checkpoint with speech and random weights. */
export const tinyCheckpoint = path.join(repository, 'testdata', 'checkpoints', 'tiny-mixed')

export function testMedia(name: string): string {
  return path.join(repository, 'testdata', 'media', name)
}

export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly errors: string
}

export interface CliOptions {
  readonly input?: string
  readonly environment?: Readonly<Record<string, string>>
  readonly folder?: string
  /** Ctrl-C is pressed then, or once the output matches. */
  readonly interrupt?: Promise<unknown> | RegExp
}

function environmentOf(options: CliOptions): NodeJS.ProcessEnv {
  // Settings of the user's environment must not apply.
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('OMNISERVE_'))
  // Tests of other files run at the same time: threads that wait for each other would only wait longer.
  return { ...Object.fromEntries(inherited), NO_COLOR: '1', OMNISERVE_THREADS: '1', ...options.environment }
}

/** Starts a command. Without `input` standard input is empty. */
export function startOmniserve(args: readonly string[], options: CliOptions = {}) {
  const child = spawn(process.execPath, [mainFile, ...args], { cwd: options.folder, env: environmentOf(options) })
  let out = ''
  let errors = ''
  child.stdout.on('data', (bytes: Buffer) => (out += bytes.toString()))
  child.stderr.on('data', (bytes: Buffer) => (errors += bytes.toString()))
  child.stdin.on('error', () => undefined)
  child.stdin.end(options.input ?? '')
  const ended = new Promise<Ended>((resolve) => void child.once('close', (code) => resolve({ code, out, errors })))
  return { child, ended, out: () => out, errors: () => errors }
}

/** Runs a command to its end. */
export async function omniserve(args: readonly string[], options: CliOptions = {}): Promise<Ended> {
  const { child, ended, out } = startOmniserve(args, options)
  const { interrupt } = options
  if (interrupt instanceof RegExp) {
    const look = (): void => {
      if (!interrupt.test(out())) return
      child.stdout.off('data', look)
      child.kill('SIGINT')
    }
    child.stdout.on('data', look)
  } else void interrupt?.then(() => child.kill('SIGINT'))
  return ended
}

/** Debian's `script` gives a command a terminal. */
export const hasTerminal = process.platform === 'linux' && spawnSync('script', ['--version']).status === 0

export class TerminalSession implements AsyncDisposable {
  readonly #child
  #seen = ''
  #from = 0
  readonly ended: Promise<number | null>

  constructor(args: readonly string[], options: CliOptions = {}) {
    const quoted = [process.execPath, mainFile, ...args].map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`)
    this.#child = spawn('script', ['-qfec', quoted.join(' '), '/dev/null'], {
      cwd: options.folder,
      env: { ...environmentOf(options), TERM: 'xterm' },
    })
    this.#child.stdout.on('data', (bytes: Buffer) => (this.#seen += bytes.toString()))
    this.#child.stdin.on('error', () => undefined)
    this.ended = new Promise((resolve) => this.#child.once('close', resolve))
  }

  /** All output, without control sequences. */
  get screen(): string {
    return stripVTControlCharacters(this.#seen).replaceAll('\r', '')
  }

  /** Waits for a text after the last one waited for. */
  async see(wanted: RegExp): Promise<void> {
    const deadline = performance.now() + 150_000
    for (;;) {
      const found = wanted.exec(this.screen.slice(this.#from))
      if (found !== null) {
        this.#from += found.index + found[0].length
        return
      }
      if (performance.now() > deadline) throw new Error(`${String(wanted)} was not seen in:\n${this.screen}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  type(keys: string): void {
    this.#child.stdin.write(keys)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill()
    await this.ended
  }
}

export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const folder = await mkdtemp(path.join(tmpdir(), 'omniserve-cli-'))
  return { path: folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) }
}
