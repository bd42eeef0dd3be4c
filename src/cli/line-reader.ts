/** Lines typed at a terminal, with editing and Tab; lines typed while an answer streams wait for their turn. */
import { createInterface, type Interface } from 'node:readline'

export interface LineReaderOptions {
  readonly complete: (line: string) => [string[], string]
  /**
   * Ctrl-C. False when there was nothing to stop: the line is cleared then; at an empty one, a second Ctrl-C ends the
   * input.
   */
  readonly onInterrupt: () => boolean
}

export class LineReader implements Disposable {
  readonly #lines: Interface
  readonly #waiting: string[] = []
  #wake: (() => void) | undefined
  #ended = false
  /** Whether Ctrl-C was the last key, at an empty line. */
  #asked = false
  readonly #onKey = (_: unknown, key: { readonly name?: string; readonly ctrl?: boolean } | undefined): void => {
    if (key?.ctrl !== true || key.name !== 'c') this.#asked = false
  }

  constructor(options: LineReaderOptions) {
    this.#lines = createInterface({
      input: process.stdin,
      output: process.stdout,
      completer: options.complete,
      terminal: true,
    })
    this.#lines.on('line', (line) => {
      this.#waiting.push(line)
      this.#wake?.()
    })
    this.#lines.on('close', () => {
      this.#ended = true
      this.#wake?.()
    })
    this.#lines.on('SIGINT', () => {
      if (options.onInterrupt()) return
      if (this.#lines.line !== '') this.#lines.write(null, { ctrl: true, name: 'u' })
      else if (this.#asked) this.#lines.close()
      else {
        this.#asked = true
        process.stdout.write('\n(Ctrl-C again ends the conversation)\n')
        this.#lines.prompt()
      }
    })
    process.stdin.on('keypress', this.#onKey)
  }

  /** Undefined once the input has ended. */
  async read(prompt: string): Promise<string | undefined> {
    if (this.#waiting.length === 0 && !this.#ended) {
      this.#lines.setPrompt(prompt)
      this.#lines.prompt(true)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
      this.#lines.setPrompt('')
    } else if (this.#waiting.length > 0) process.stdout.write(`${prompt}${this.#waiting[0]}\n`)
    return this.#waiting.shift()
  }

  [Symbol.dispose](): void {
    process.stdin.off('keypress', this.#onKey)
    this.#lines.close()
  }
}
