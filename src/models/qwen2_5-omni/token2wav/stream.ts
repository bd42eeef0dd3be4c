/**
 * One reply's streaming vocoder: converts codes to the samples that they complete.
 */

import type { RunOptions } from '../../../tensor/index.ts'
import type { DecodeOptions, VocoderStream } from '../../speech.ts'
import type { DitConfig } from './config.ts'
import type { MelSampler, PreparedVoice } from './mel-sampler.ts'
import type { SpeechOptions } from './token2wav.ts'
import type { Vocoder } from './vocoder.ts'

/** Blocks of context before and after a window: the reach of one evaluation of the network. */
const BLOCKS_BEFORE = 2
const BLOCKS_AFTER = 1
/** Most frames per vocoder call, to limit working memory. */
const LONGEST_PIECE = 240

interface Stages {
  readonly sampler: MelSampler
  readonly vocoder: Vocoder
  readonly dit: DitConfig
  voice(): Promise<PreparedVoice>
}

export class Token2WavStream implements VocoderStream {
  readonly #stages: Stages
  readonly #options: SpeechOptions
  readonly #codes: number[] = []
  /** Mel from frame {@link #melFrom} on, [frames, mels]: the vocoder's remaining input. */
  #mel = new Float32Array()
  #melFrom = 0
  /** Frames whose mel has been computed, and whose samples have been returned. */
  #sampled = 0
  #spoken = 0
  #windows = 0
  #state: 'open' | 'working' | 'finished' | 'broken' | 'disposed' = 'open'

  constructor(stages: Stages, options: SpeechOptions) {
    const { windowBlocks } = options
    if (windowBlocks.length === 0 || windowBlocks.some((count) => !(count >= 1) || (count % 1 !== 0 && count !== Infinity)))
      throw new RangeError(`windows of ${windowBlocks.join(', ')} blocks: whole numbers of 1 at least are needed`)
    this.#stages = stages
    this.#options = options
  }

  /**
   * Adds codes, one per codec frame. Returns the samples of the windows that they complete. Throws RangeError for
   * unknown codes.
   */
  push(codes: Int32Array, options: DecodeOptions = {}): Promise<Float32Array> {
    return this.#work('open', async () => {
      const { streamBlock, repeats, codes: most } = this.#stages.dit
      for (const code of codes) {
        if (code < 0 || code > most) throw new RangeError(`code ${code} is none of token2wav's 0 to ${most}`)
        this.#codes.push(code)
      }
      const pieces: Float32Array[] = []
      for (;;) {
        const end = this.#sampled + this.#nextBlocks() * streamBlock
        if (end + BLOCKS_AFTER * streamBlock > this.#codes.length * repeats) break
        await this.#sample(end, options)
        pieces.push(...(await this.#speak(false, options)))
      }
      return pieces
    })
  }

  /** The samples that remain after the last code. */
  finish(options: DecodeOptions = {}): Promise<Float32Array> {
    return this.#work('finished', async () => {
      const frames = this.#codes.length * this.#stages.dit.repeats
      if (frames > this.#sampled) await this.#sample(frames, options)
      return this.#speak(true, options)
    })
  }

  #nextBlocks(): number {
    const { windowBlocks } = this.#options
    return windowBlocks[Math.min(this.#windows, windowBlocks.length - 1)] ?? 1
  }

  async #work(next: 'open' | 'finished', job: () => Promise<Float32Array[]>): Promise<Float32Array> {
    if (this.#state !== 'open') throw new Error(`this speech stream is ${this.#state}`)
    this.#state = 'working'
    try {
      const samples = join(await job())
      this.#enter(next)
      return samples
    } catch (error) {
      // The samples of this call's earlier windows are lost.
      this.#enter('broken')
      throw error
    }
  }

  #enter(state: 'open' | 'finished' | 'broken'): void {
    if (this.#state === 'working') this.#state = state
  }

  /** Computes the mel of the frames up to `end`. */
  async #sample(end: number, options: RunOptions): Promise<void> {
    const { sampler, dit } = this.#stages
    const { streamBlock, repeats, mels } = dit
    const start = this.#sampled
    const first = Math.max(0, start - BLOCKS_BEFORE * streamBlock)
    const last = Math.min(this.#codes.length * repeats, end + BLOCKS_AFTER * streamBlock)
    const mel = await sampler.sample(
      {
        codes: Int32Array.from(this.#codes.slice(first / repeats, last / repeats)),
        noise: this.#options.noise(first, last - first),
        voice: await this.#stages.voice(),
        settings: this.#options.settings,
      },
      options,
    )
    const fresh = mel.subarray((start - first) * mels, (end - first) * mels)
    const kept = Math.max(this.#melFrom, this.#spoken - this.#stages.vocoder.model.context.before)
    this.#mel = Float32Array.from(join([this.#mel.subarray((kept - this.#melFrom) * mels), fresh]))
    this.#melFrom = kept
    this.#sampled = end
    this.#windows++
  }

  /** Samples of the frames whose neighbours are known, or of all frames if the sequence `ends` here. */
  async #speak(ends: boolean, options: RunOptions): Promise<Float32Array[]> {
    const { vocoder, dit } = this.#stages
    const { context } = vocoder.model
    const pieces: Float32Array[] = []
    const until = ends ? this.#sampled : this.#sampled - context.after
    while (this.#spoken < until) {
      const frames = Math.min(LONGEST_PIECE, until - this.#spoken)
      const end = this.#spoken + frames
      const first = Math.max(0, this.#spoken - context.before)
      const last = Math.min(this.#sampled, end + context.after)
      pieces.push(
        await vocoder.decode(
          {
            mel: this.#mel.slice((first - this.#melFrom) * dit.mels, (last - this.#melFrom) * dit.mels),
            frames,
            before: this.#spoken - first,
            after: last - end,
          },
          options,
        ),
      )
      this.#spoken = end
    }
    return pieces
  }

  [Symbol.dispose](): void {
    this.#state = 'disposed'
  }
}

function join(pieces: readonly Float32Array[]): Float32Array {
  if (pieces.length === 1 && pieces[0]) return pieces[0]
  const all = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    all.set(piece, at)
    at += piece.length
  }
  return all
}
