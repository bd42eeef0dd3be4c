/**
 * One audio while it arrives: its levels, what was encoded of it, and which of that still holds.
 *
 * In: samples, outputs of windows and chunks. Out: those that were made of the values the complete audio has. The
 * loudest level so far raises the quiet ones, so an output holds while the floor it was made over is the floor, or
 * none of its levels lies under the floor.
 */

import type { GenerationRequest } from '../contract/index.ts'
import type { MemoryBudget } from '../models/memory-budget.ts'
import type { AudioWindows } from '../models/stages.ts'
import type { MediaRows } from '../models/token-run.ts'
import type { AudioFeatureConfig } from '../prompt/log-mel.ts'
import { MelLevels } from '../prompt/mel-levels.ts'
import type { AudioFeature, EncodedAhead } from '../prompt/prepared-prompt.ts'

/**
 * Rows of an audio in a run that was prefilled before it was complete. They get the audio's name, and may become
 * fewer.
 */
class ArrivingRows implements MediaRows {
  rows: Int32Array
  key: string

  constructor(rows: Int32Array, key: string) {
    this.rows = rows
    this.key = key
  }
}

interface Part {
  readonly from: number
  readonly until: number
  /** That its values were raised to. */
  readonly floor: number
  readonly output: Float32Array
}

/** How an audio ends if nothing more comes of it. */
export interface Ending {
  /** Samples of silence that it ends in. They are not in its levels. */
  readonly silence: number
  readonly contentKey: string
  /** Aborted when more has come. */
  readonly abort: AbortController
  /** What can be done for it was begun. */
  begun: boolean
  /** Under which its encoder's output is kept, once it is. */
  encodedAs: string | undefined
  /** In the run that was prefilled with it, and the first of them that are of windows. */
  rows: ArrivingRows | undefined
  tokens: number
}

interface ArrivingAudioOptions {
  /** Names it until it is complete. */
  readonly name: string
  /** The last audio of its messages stands for this one. */
  readonly request: GenerationRequest
  /** Whether the prompt up to what has come may be prefilled. */
  readonly prefills: boolean
  readonly features: AudioFeatureConfig
  readonly windows: AudioWindows
  readonly budget: MemoryBudget | undefined
}

export class ArrivingAudio {
  readonly options: ArrivingAudioOptions
  readonly levels: MelLevels
  /** By number; those that do not hold any more are made again. */
  readonly #windows: Part[] = []
  /** Of the window that is not complete yet. */
  #chunks: Part[] = []
  #rows: ArrivingRows[] = []
  #charged = 0
  /** Tokens of it that were prefilled, -1 before anything was. */
  prefilled = -1
  #contentKey: string | undefined
  #ending: Ending | undefined
  dropped = false

  constructor(options: ArrivingAudioOptions) {
    this.options = options
    this.levels = new MelLevels(options.features)
  }

  get bytes(): number {
    return this.#charged
  }

  /** Set once it is complete. */
  get contentKey(): string | undefined {
    return this.#contentKey
  }

  get ending(): Ending | undefined {
    return this.#ending
  }

  /** With the silence that it may end in. */
  get samples(): number {
    return this.levels.samples + (this.#ending?.silence ?? 0)
  }

  /** Takes samples in. */
  append(samples: Float32Array): void {
    if (this.dropped || this.#contentKey !== undefined) return
    this.#goOn()
    this.levels.push(samples)
    this.#charge()
  }

  /** Nothing may come but so many samples of silence. */
  mayEnd(silence: number, contentKey: string): void {
    if (this.dropped || this.#contentKey !== undefined) return
    this.#goOn()
    const abort = new AbortController()
    this.#ending = { silence, contentKey, abort, begun: false, encodedAs: undefined, rows: undefined, tokens: 0 }
  }

  /** Nothing more comes. */
  complete(contentKey: string): void {
    if (this.#ending?.contentKey !== contentKey) this.#goOn()
    this.#contentKey = contentKey
  }

  /** It did not end where it might have: of what was prefilled, windows stay. */
  #goOn(): void {
    const ending = this.#ending
    if (!ending) return
    this.#ending = undefined
    ending.abort.abort(new DOMException('The audio goes on.', 'AbortError'))
    const { rows } = ending
    if (!rows) return
    rows.rows = rows.rows.subarray(0, ending.tokens)
    this.#rows.push(rows)
  }

  /** Lets go of everything. What was prefilled is of no more use to anybody and gives way by itself. */
  drop(): void {
    this.dropped = true
    this.#windows.length = 0
    this.#chunks = []
    this.#rows = []
    this.#ending = undefined
    const charged = this.#charged
    this.#charged = 0
    this.options.budget?.give(charged)
  }

  /** Tokens, from the first on, whose windows hold over a floor. */
  tokensOver(floor: number): number {
    const fresh = this.#windows.findIndex((part) => !this.#holds(part, floor))
    return (fresh < 0 ? this.#windows.length : fresh) * this.options.windows.tokens
  }

  /** Embeddings of the first `tokens` tokens, [tokens, thinker hidden]. */
  embeddings(tokens: number, hidden: number): Float32Array {
    const joined = new Float32Array(tokens * hidden)
    let at = 0
    for (const { output } of this.#windows) {
      if (at >= joined.length) break
      joined.set(output, at)
      at += output.length
    }
    return joined
  }

  /** The first part that does not hold over the floor as it is now: to be made again by {@link encode}. */
  get stale(): { readonly from: number; readonly until: number } | undefined {
    const { floor } = this.levels
    return [...this.#windows, ...this.#chunks].find((part) => !this.#holds(part, floor))
  }

  /** What can be encoded for the first time: a chunk, or a window once it is complete. */
  get next(): { readonly from: number; readonly until: number } | undefined {
    if (this.dropped) return undefined
    const { frames: length, chunkFrames } = this.options.windows
    const start = this.#windows.length * length
    if (chunkFrames !== undefined) {
      const from = start + this.#chunks.length * chunkFrames
      if (from + chunkFrames <= Math.min(start + length, this.levels.frames)) return { from, until: from + chunkFrames }
    }
    return this.levels.frames >= start + length ? { from: start, until: start + length } : undefined
  }

  /** Encodes a chunk or a window. The floor may not rise meanwhile. */
  async encode({ from, until }: { readonly from: number; readonly until: number }, signal: AbortSignal): Promise<void> {
    const { windows } = this.options
    const { floor } = this.levels
    const mel = this.levels.features(from, until, floor)
    const part = (output: Float32Array): Part => ({ from, until, floor, output })
    if (until - from < windows.frames) {
      const chunk = part(await windows.chunk!(mel, signal))
      if (!this.dropped) this.#put(this.#chunks, chunk)
    } else {
      const chunks = this.#chunks.filter((known) => known.from >= from && known.until <= until)
      const holding = chunks.findIndex((known) => !this.#holds(known, floor))
      const known = chunks.slice(0, holding < 0 ? undefined : holding).map(({ output }) => output)
      const window = part(await windows.window(mel, known, signal))
      if (this.dropped) return
      this.#chunks = this.#chunks.filter((chunk) => !chunks.includes(chunk))
      this.#put(this.#windows, window)
      // What was prefilled of the window's last output is not what it gives now.
      this.cut(from)
    }
    this.#charge()
  }

  #put(parts: Part[], part: Part): void {
    const at = parts.findIndex(({ from }) => from === part.from)
    if (at < 0) parts.push(part)
    else parts[at] = part
  }

  /** Rows of the first `tokens` tokens in a run that is prefilled now. `rows`: of the whole audio. */
  mark(rows: Int32Array, tokens: number): ArrivingRows {
    const marked = new ArrivingRows(rows.slice(0, tokens), this.options.name)
    this.#rows.push(marked)
    return marked
  }

  /** Rows of all of it in a run that is prefilled for how it may end. `floor`: of its feature. */
  markEnding(ending: Ending, rows: Int32Array, floor: number): ArrivingRows {
    ending.rows = new ArrivingRows(rows, this.options.name)
    ending.tokens = this.tokensOver(floor)
    return ending.rows
  }

  /** Whatever was prefilled holds for frames before `frame` only. */
  cut(frame: number): void {
    const { frames, tokens } = this.options.windows
    const most = Math.floor(frame / frames) * tokens
    for (const marked of this.#rows) marked.rows = marked.rows.subarray(0, most)
    if (this.#ending) this.#ending.tokens = Math.min(this.#ending.tokens, most)
    this.prefilled = Math.min(this.prefilled, most)
  }

  /** Whatever was prefilled holds for windows over a floor only. */
  cutOver(floor: number): void {
    const { windows } = this.options
    this.cut((this.tokensOver(floor) / windows.tokens) * windows.frames)
  }

  /**
   * The feature of the complete audio, computed from what is here; `levels` must have nothing left to compute. What
   * was prefilled gets `key`, as far as it holds. Undefined when it is another audio.
   */
  settle(feature: AudioFeature, key: string | undefined): AudioFeature | undefined {
    if (feature.source?.samples !== this.samples) return undefined
    const { floor, whole } = this.completed(feature)
    this.cutOver(floor)
    const marked = this.#ending?.rows ? [...this.#rows, this.#ending.rows] : this.#rows
    if (key !== undefined) for (const rows of marked) rows.key = key
    this.#rows = []
    return whole
  }

  /** The feature of an audio that ends as this one may, and its floor. `levels` must have nothing left to compute. */
  completed(feature: AudioFeature): { whole: AudioFeature; floor: number } {
    const { mel, floor } = this.levels.complete(feature.frames, feature.source!.padded)
    const find = (parts: readonly Part[], from: number): Float32Array | undefined => {
      const part = parts.find((candidate) => candidate.from === from)
      return part && this.#holds(part, floor) ? part.output : undefined
    }
    const [whole, chunks] = [[...this.#windows], [...this.#chunks]]
    const ahead: EncodedAhead = { window: (from) => find(whole, from), chunk: (from) => find(chunks, from) }
    return { whole: { ...feature, ahead, load: () => Promise.resolve(mel) }, floor }
  }

  #holds(part: Part, floor: number): boolean {
    return part.floor === floor || this.levels.lowest(part.from, part.until) >= Math.max(part.floor, floor)
  }

  /** Counts what it holds; without memory for it, it is dropped. */
  #charge(): void {
    const outputs = [...this.#windows, ...this.#chunks].reduce((sum, { output }) => sum + output.byteLength, 0)
    const bytes = this.levels.bytes + outputs
    const { budget } = this.options
    if (bytes < this.#charged) budget?.give(this.#charged - bytes)
    else if (budget && bytes > this.#charged && !budget.take(bytes - this.#charged, { spare: true })) {
      this.drop()
      return
    }
    this.#charged = budget ? bytes : 0
  }
}
