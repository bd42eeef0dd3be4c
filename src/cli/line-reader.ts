/** Reads lines from a terminal, with editing and Tab. Lines typed while a reply streams wait in a queue. */
import { createInterface, type Interface } from 'node:readline'

export interface LineReaderOptions {
  readonly complete: (line: string) => [string[], string]
  /**
   * Handles Ctrl-C. If it returns false, the typed line is cleared; if the line is empty, a second Ctrl-C ends the
   * input.
   */
  readonly onInterrupt: () => boolean
}

export class LineReader implements Disposable {
  readonly #lines: Interface
  readonly #queue: string[] = []
  #notify: (() => void) | undefined
  #ended = false
  /** Whether the last key was Ctrl-C at an empty line. */
  #interruptedOnce = false
  readonly #onKey = (_: unknown, key: { readonly name?: string; readonly ctrl?: boolean } | undefined): void => {
    if (key?.ctrl !== true || key.name !== 'c') this.#interruptedOnce = false
  }

  constructor(options: LineReaderOptions) {
    this.#lines = createInterface({
      input: process.stdin,
      output: process.stdout,
      completer: options.complete,
      terminal: true,
    })
    this.#lines.on('line', (line) => {
      this.#queue.push(line)
      this.#notify?.()
    })
    this.#lines.on('close', () => {
      this.#ended = true
      this.#notify?.()
    })
    this.#lines.on('SIGINT', () => {
      if (options.onInterrupt()) return
      if (this.#lines.line !== '') this.#lines.write(null, { ctrl: true, name: 'u' })
      else if (this.#interruptedOnce) this.#lines.close()
      else {
        this.#interruptedOnce = true
        process.stdout.write('\n(Ctrl-C again ends the conversation)\n')
        this.#lines.prompt()
      }
    })
    process.stdin.on('keypress', this.#onKey)
  }

  /** The next line; undefined once the input has ended. */
  async read(prompt: string): Promise<string | undefined> {
    if (this.#queue.length === 0 && !this.#ended) {
      this.#lines.setPrompt(prompt)
      this.#lines.prompt(true)
      await new Promise<void>((resolve) => {
        this.#notify = resolve
      })
      this.#notify = undefined
      this.#lines.setPrompt('')
    } else if (this.#queue.length > 0) process.stdout.write(`${prompt}${this.#queue[0]}\n`)
    return this.#queue.shift()
  }

  [Symbol.dispose](): void {
    process.stdin.off('keypress', this.#onKey)
    this.#lines.close()
  }
}
