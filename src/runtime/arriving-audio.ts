/**
 * Incremental encoding of one audio while its samples arrive: log-mel levels, encoder outputs, and their validity.
 *
 * In: samples. Out: encoder outputs that equal those of the complete audio. The loudest level sets a floor for all
 * levels, so a louder frame changes earlier features. An output stays valid if the floor is the same, or if all of its
 * levels are above both floors.
 */

import type { GenerationRequest } from '../contract/index.ts'
import type { MemoryBudget } from '../models/memory-budget.ts'
import type { AudioWindows } from '../models/stages.ts'
import type { MediaRows } from '../models/token-run.ts'
import type { AudioFeatureConfig } from '../prompt/log-mel.ts'
import { MelLevels } from '../prompt/mel-levels.ts'
import type { AudioFeature, EncodedAhead } from '../prompt/prepared-prompt.ts'

/** Rows of an audio in a token run that was prefilled before the audio was complete. Both fields change later. */
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
  /** The floor in use when the output was computed. */
  readonly floor: number
  readonly output: Float32Array
}

/** The end of the audio, if no more samples arrive. */
export interface PossibleEnd {
  /** Samples of trailing silence. They are not part of the levels. */
  readonly silence: number
  readonly contentKey: string
  /** Aborted when more samples arrive. */
  readonly abort: AbortController
  /** Its speculative prefill has started, or is not possible. */
  started: boolean
  /** Key of its encoder output in the cache, once it is there. */
  encodedAs: string | undefined
  /** The audio's rows in the run that was prefilled with this end. */
  rows: ArrivingRows | undefined
  /** The first of `rows` that come from whole windows: they stay valid when more samples arrive. */
  tokens: number
}

interface ArrivingAudioOptions {
  /** Content key until the audio is complete. */
  readonly name: string
  /** The request that will contain the audio. The last audio of its messages is the placeholder for it. */
  readonly request: GenerationRequest
  /** Whether the prompt may be prefilled up to the samples received so far. */
  readonly prefills: boolean
  readonly features: AudioFeatureConfig
  readonly windows: AudioWindows
  readonly budget: MemoryBudget | undefined
}

export class ArrivingAudio {
  readonly options: ArrivingAudioOptions
  readonly levels: MelLevels
  /** In order. Those that are no longer valid are computed again. */
  readonly #windows: Part[] = []
  /** Chunks of the last, incomplete window. */
  #chunks: Part[] = []
  #rows: ArrivingRows[] = []
  /** Bytes acquired from the budget. */
  #charged = 0
  /** Prefilled tokens of the audio, -1 before the first prefill. */
  prefilled = -1
  #contentKey: string | undefined
  #ending: PossibleEnd | undefined
  dropped = false

  constructor(options: ArrivingAudioOptions) {
    this.options = options
    this.levels = new MelLevels(options.features)
  }

  get bytes(): number {
    return this.#charged
  }

  /** Set once the audio is complete. */
  get contentKey(): string | undefined {
    return this.#contentKey
  }

  get ending(): PossibleEnd | undefined {
    return this.#ending
  }

  /** Samples received, and the silence of the possible end. */
  get samples(): number {
    return this.levels.samples + (this.#ending?.silence ?? 0)
  }

  /** Adds samples, in [-1, 1]. */
  append(samples: Float32Array): void {
    if (this.dropped || this.#contentKey !== undefined) return
    this.#discardEnd()
    this.levels.push(samples)
    this.#charge()
  }

  /** Announces that the audio may be over, with `silence` samples of silence at its end. */
  mayEnd(silence: number, contentKey: string): void {
    if (this.dropped || this.#contentKey !== undefined) return
    this.#discardEnd()
    const abort = new AbortController()
    this.#ending = { silence, contentKey, abort, started: false, encodedAs: undefined, rows: undefined, tokens: 0 }
  }

  /** No more samples follow. */
  complete(contentKey: string): void {
    if (this.#ending?.contentKey !== contentKey) this.#discardEnd()
    this.#contentKey = contentKey
  }

  /** More samples arrived after the possible end: only whole windows of its prefill stay valid. */
  #discardEnd(): void {
    const ending = this.#ending
    if (!ending) return
    this.#ending = undefined
    ending.abort.abort(new DOMException('More audio arrived.', 'AbortError'))
    const { rows } = ending
    if (!rows) return
    rows.rows = rows.rows.subarray(0, ending.tokens)
    this.#rows.push(rows)
  }

  /** Frees all memory. Prefixes that were prefilled stay in the prefix cache until they are evicted. */
  drop(): void {
    this.dropped = true
    this.#windows.length = 0
    this.#chunks = []
    this.#rows = []
    this.#ending = undefined
    const charged = this.#charged
    this.#charged = 0
    this.options.budget?.release(charged)
  }

  /** Leading tokens whose windows are valid for a floor. */
  validTokens(floor: number): number {
    const invalid = this.#windows.findIndex((part) => !this.#isValid(part, floor))
    return (invalid < 0 ? this.#windows.length : invalid) * this.options.windows.tokens
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

  /** The first part that is invalid for the current floor: {@link encode} has to compute it again. */
  get stale(): { readonly from: number; readonly until: number } | undefined {
    const { floor } = this.levels
    return [...this.#windows, ...this.#chunks].find((part) => !this.#isValid(part, floor))
  }

  /** The next part to encode for the first time: a chunk, or a complete window. Undefined when samples are missing. */
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

  /** Encodes a chunk or a window, given by its frames. The floor must stay the same meanwhile. */
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
      const invalid = chunks.findIndex((known) => !this.#isValid(known, floor))
      const known = chunks.slice(0, invalid < 0 ? undefined : invalid).map(({ output }) => output)
      const window = part(await windows.window(mel, known, signal))
      if (this.dropped) return
      this.#chunks = this.#chunks.filter((chunk) => !chunks.includes(chunk))
      this.#put(this.#windows, window)
      // Rows that were prefilled with the window's previous output are invalid.
      this.cut(from)
    }
    this.#charge()
  }

  #put(parts: Part[], part: Part): void {
    const at = parts.findIndex(({ from }) => from === part.from)
    if (at < 0) parts.push(part)
    else parts[at] = part
  }

  /** Registers the first `tokens` rows in a run that is about to be prefilled. `rows`: of the whole audio. */
  mark(rows: Int32Array, tokens: number): ArrivingRows {
    const marked = new ArrivingRows(rows.slice(0, tokens), this.options.name)
    this.#rows.push(marked)
    return marked
  }

  /** Registers all rows in a run that is about to be prefilled with a possible end. `floor`: of its feature. */
  markEnding(ending: PossibleEnd, rows: Int32Array, floor: number): ArrivingRows {
    ending.rows = new ArrivingRows(rows, this.options.name)
    ending.tokens = this.validTokens(floor)
    return ending.rows
  }

  /** Marks prefilled rows as valid only for frames before `frame`. */
  cut(frame: number): void {
    const { frames, tokens } = this.options.windows
    const most = Math.floor(frame / frames) * tokens
    for (const marked of this.#rows) marked.rows = marked.rows.subarray(0, most)
    if (this.#ending) this.#ending.tokens = Math.min(this.#ending.tokens, most)
    this.prefilled = Math.min(this.prefilled, most)
  }

  /** Marks prefilled rows as valid only for windows that are valid for a floor. */
  cutToFloor(floor: number): void {
    const { windows } = this.options
    this.cut((this.validTokens(floor) / windows.tokens) * windows.frames)
  }

  /**
   * The feature of the complete audio, with the valid encoder outputs. All levels must have been computed. Valid
   * prefilled rows get `key`. Returns undefined when the number of samples differs.
   */
  finalize(feature: AudioFeature, key: string | undefined): AudioFeature | undefined {
    if (feature.source?.samples !== this.samples) return undefined
    const { floor, whole } = this.completed(feature)
    this.cutToFloor(floor)
    const marked = this.#ending?.rows ? [...this.#rows, this.#ending.rows] : this.#rows
    if (key !== undefined) for (const rows of marked) rows.key = key
    this.#rows = []
    return whole
  }

  /** The feature of the audio with its possible end, and its floor. All levels must have been computed. */
  completed(feature: AudioFeature): { whole: AudioFeature; floor: number } {
    const { mel, floor } = this.levels.complete(feature.frames, feature.source!.padded)
    const find = (parts: readonly Part[], from: number): Float32Array | undefined => {
      const part = parts.find((candidate) => candidate.from === from)
      return part && this.#isValid(part, floor) ? part.output : undefined
    }
    const [whole, chunks] = [[...this.#windows], [...this.#chunks]]
    const ahead: EncodedAhead = { window: (from) => find(whole, from), chunk: (from) => find(chunks, from) }
    return { whole: { ...feature, ahead, load: () => Promise.resolve(mel) }, floor }
  }

  #isValid(part: Part, floor: number): boolean {
    return part.floor === floor || this.levels.lowest(part.from, part.until) >= Math.max(part.floor, floor)
  }

  /** Updates the bytes acquired from the budget. Drops the audio when the budget is exhausted. */
  #charge(): void {
    const outputs = [...this.#windows, ...this.#chunks].reduce((sum, { output }) => sum + output.byteLength, 0)
    const bytes = this.levels.bytes + outputs
    const { budget } = this.options
    if (bytes < this.#charged) budget?.release(this.#charged - bytes)
    else if (budget && bytes > this.#charged && !budget.acquire(bytes - this.#charged, { spare: true })) {
      this.drop()
      return
    }
    this.#charged = budget ? bytes : 0
  }
}
