/**
 * The server's side of one engine process: start, watchdog, messages, exit.
 *
 * In: load options. Out: messages, and one call of `onExit` when the process has ended for any reason. `supervisor.ts`
 * restarts it.
 */

import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { EngineError } from '../../contract/index.ts'
import { precisionEnvironment } from '../../tensor/index.ts'
import { deferred } from './deferred.ts'
import { fromErrorMessage } from './error-messages.ts'
import type { FromProcess, LoadedModel, LoadOptions, ProcessStatus, ToProcess } from './messages.ts'

export interface EngineProcessOptions {
  readonly load: LoadOptions
  /** Module that calls `hostEngine`. */
  readonly entry: URL
  /** Time without a message after which a loaded process counts as hung, milliseconds. */
  readonly hangMilliseconds: number
  readonly onMessage: (message: FromProcess) => void
  readonly onExit: (description: string) => void
  /** Called with each line of its output, such as the numeric library's last message. */
  readonly onLog: (line: string) => void
}

function environmentFor({ device = 'auto', precision = 'fast' }: LoadOptions): Readonly<Record<string, string>> {
  return device === 'auto' || device === 'vulkan' ? precisionEnvironment('vulkan', precision) : {}
}

const maxLogLines = 60
/** Matches lines that are likely to name the cause of a crash. */
const causePattern = /assert|error|fail|abort|cannot|unable|out of memory/i

export class EngineProcess {
  readonly #child: ChildProcess
  readonly #options: EngineProcessOptions
  readonly #lastLines: string[] = []
  #lastMessageAt = performance.now()
  #loaded = false
  #ended = false
  #hung = false
  readonly #watchdog: NodeJS.Timeout
  readonly #exited: Promise<void>
  status: ProcessStatus | undefined

  constructor(options: EngineProcessOptions) {
    this.#options = options
    this.#child = fork(fileURLToPath(options.entry), [], {
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      execArgv: ['--disable-warning=ExperimentalWarning'],
      // Set before the start: on Windows, libraries do not see variables that are set later.
      env: { ...environmentFor(options.load), ...process.env },
    })
    for (const stream of [this.#child.stdout, this.#child.stderr]) this.#readLines(stream)
    this.#child.on('message', (message: FromProcess) => this.#receive(message))
    this.#exited = new Promise((resolve) => {
      const onEnd = (description: string): void => {
        if (this.#ended) return
        this.#ended = true
        clearInterval(this.#watchdog)
        resolve()
        options.onExit(description)
      }
      this.#child.on('error', (error) => onEnd(`could not be started: ${error.message}`))
      // Unlike `exit`, `close` follows the last output.
      this.#child.on('close', (code, signal) => onEnd(this.#describeExit(code, signal)))
    })
    this.#watchdog = setInterval(() => this.#watch(), Math.min(1000, options.hangMilliseconds / 4))
    this.#watchdog.unref()
    void this.send({ type: 'load', options: options.load })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  get ended(): boolean {
    return this.#ended
  }

  /** Sends a message. Resolves once it has been written, or the process has ended. */
  send(message: ToProcess): Promise<void> {
    if (this.#ended || !this.#child.connected) return Promise.resolve()
    return new Promise((resolve) => {
      this.#child.send(message, () => resolve())
    })
  }

  /** Requests an orderly end, and kills the process after `grace` milliseconds. Resolves once it has ended. */
  async end(grace: number): Promise<void> {
    void this.send({ type: 'close' })
    const timer = setTimeout(() => this.kill(), grace)
    await this.#exited
    clearTimeout(timer)
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #receive(message: FromProcess): void {
    this.#lastMessageAt = performance.now()
    if (message.type === 'loaded') {
      this.#loaded = true
      this.#lastLines.length = 0 // they were about loading; they explain no later end
    }
    if (message.type === 'status') this.status = message.status
    this.#options.onMessage(message)
  }

  #watch(): void {
    // Loading may block the event loop of the process, so the watchdog starts after it.
    if (!this.#loaded || performance.now() - this.#lastMessageAt < this.#options.hangMilliseconds) return
    this.#hung = true
    this.kill()
  }

  #readLines(stream: NodeJS.ReadableStream | null): void {
    let rest = ''
    stream?.setEncoding('utf8')
    stream?.on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) this.#line(line)
    })
    stream?.on('end', () => this.#line(rest))
  }

  #line(line: string): void {
    if (line.trim() === '') return
    this.#lastLines.push(line)
    if (this.#lastLines.length > maxLogLines) this.#lastLines.shift()
    this.#options.onLog(line)
  }

  #describeExit(code: number | null, signal: NodeJS.Signals | null): string {
    const how = this.#hung ? 'hung and was killed' : signal === null ? `ended with code ${code}` : `ended by ${signal}`
    const matching = this.#lastLines.filter((line) => causePattern.test(line)).slice(0, 2)
    const lines = matching.length > 0 ? matching : this.#lastLines.slice(-2)
    const output = lines.length > 0 ? `; its last output: ${lines.join(' | ').slice(0, 500)}` : ''
    return `${how}${output}`
  }
}

/** Starts a process and waits until its model is loaded. Throws `bad_checkpoint`, or the error of the load. */
export async function startEngineProcess(
  options: EngineProcessOptions,
  signal?: AbortSignal,
): Promise<{ process: EngineProcess; loaded: LoadedModel }> {
  signal?.throwIfAborted()
  const outcome = deferred<LoadedModel>()
  const onAbort = (): void => outcome.reject(signal?.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  let waiting = true
  const engineProcess = new EngineProcess({
    ...options,
    onMessage(message) {
      if (message.type === 'loaded') outcome.resolve(message.loaded)
      else if (message.type === 'failed') outcome.reject(fromErrorMessage(message.error))
      else options.onMessage(message)
    },
    onExit(description) {
      if (waiting)
        outcome.reject(new EngineError('bad_checkpoint', `The engine process ${description} while loading the model.`))
      else options.onExit(description)
    },
  })
  try {
    const loaded = await outcome.promise
    waiting = false
    return { process: engineProcess, loaded }
  } catch (error) {
    engineProcess.kill()
    throw error
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}
