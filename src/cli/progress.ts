/** Progress on standard error: a bar on a terminal, otherwise a line for each 10 %. */
import cliProgress from 'cli-progress'
import { bytesText, countText } from './output.ts'

export interface Progress {
  /** @param label the current item, such as a file's name */
  update(done: number, total: number, label: string): void
  /** Idempotent. */
  stop(): void
}

/** @param unit of the amounts */
export function createProgress(unit: 'bytes' | 'count', stream: NodeJS.WriteStream = process.stderr): Progress {
  const text = unit === 'bytes' ? bytesText : countText
  return stream.isTTY ? new Bar(text, stream) : new Lines(text, stream)
}

class Bar implements Progress {
  readonly #bar: cliProgress.SingleBar
  readonly #text: (amount: number) => string
  #started: number | undefined

  constructor(text: (amount: number) => string, stream: NodeJS.WriteStream) {
    this.#text = text
    this.#bar = new cliProgress.SingleBar(
      {
        format: '{bar} {percentage}%  {amount}  {rate}  {eta_formatted} left  {label}',
        stream,
        hideCursor: true,
        fps: 8,
        barsize: 24,
        etaBuffer: 50,
      },
      cliProgress.Presets.shades_classic,
    )
  }

  update(done: number, total: number, label: string): void {
    if (this.#started === undefined) {
      this.#started = performance.now()
      this.#first = done
      this.#bar.start(total, done, { amount: '', rate: '', label })
    }
    const seconds = (performance.now() - this.#started) / 1000
    const rate = seconds > 0.5 ? `${this.#text(Math.round((done - this.#first) / seconds))}/s` : ''
    this.#bar.update(done, { amount: `${this.#text(done)} of ${this.#text(total)}`, rate, label })
  }

  #first = 0

  stop(): void {
    if (this.#started !== undefined) this.#bar.stop()
    this.#started = undefined
  }
}

class Lines implements Progress {
  readonly #text: (amount: number) => string
  readonly #stream: NodeJS.WritableStream
  #lastTenth = -1

  constructor(text: (amount: number) => string, stream: NodeJS.WritableStream) {
    this.#text = text
    this.#stream = stream
  }

  update(done: number, total: number, label: string): void {
    const tenth = total === 0 ? 10 : Math.floor((done / total) * 10)
    if (tenth <= this.#lastTenth) return
    this.#lastTenth = tenth
    this.#stream.write(`${tenth * 10}%  ${this.#text(done)} of ${this.#text(total)}  ${label}\n`)
  }

  stop(): void {}
}
