/**
 * Token2wav for the speech pipeline: voices by lower-case name, windows counted in codes, noise from the request's
 * seed.
 */

import type { VocoderStream } from '../../speech.ts'
import { normalNoise } from '../token2wav/noise.ts'
import type { Token2Wav } from '../token2wav/token2wav.ts'
import type { Token2WavConfig } from '../token2wav/config.ts'
import type { Voice } from '../voices/voice.ts'
import type { CodeVocoder } from './pipeline.ts'
import type { DiffusionSettings } from './settings.ts'

export class Token2WavVocoder implements CodeVocoder {
  readonly sampleRate: number
  readonly samplesPerCode: number
  readonly codes: number
  readonly voices: ReadonlyMap<string, number>
  readonly #token2wav: Token2Wav
  readonly #config: Token2WavConfig
  readonly #voices: ReadonlyMap<string, Voice>
  readonly #settings: DiffusionSettings

  constructor(
    token2wav: Token2Wav,
    config: Token2WavConfig,
    voices: ReadonlyMap<string, Voice>,
    settings: DiffusionSettings,
  ) {
    this.#token2wav = token2wav
    this.#config = config
    this.#settings = settings
    this.#voices = voices
    this.voices = new Map([...voices].map(([name, { bosToken }]) => [name, bosToken]))
    this.sampleRate = token2wav.sampleRate
    this.samplesPerCode = token2wav.samplesPerFrame
    this.codes = config.dit.codes + 1
  }

  /** The first window also needs the block after it; later windows need only their own codes. */
  windowCodes(window: number): number {
    const { streamBlock, repeats } = this.#config.dit
    const { windowBlocks } = this.#settings
    const blocks = windowBlocks[Math.min(window, windowBlocks.length - 1)] ?? 1
    return ((window === 0 ? blocks + 1 : blocks) * streamBlock) / repeats
  }

  get mostWindowCodes(): number {
    return Math.max(...this.#settings.windowBlocks.map((_, window) => this.windowCodes(window)))
  }

  newStream(name: string, random: () => number): VocoderStream {
    const voice = this.#voices.get(name)
    if (!voice) throw new Error(`There is no voice ${name}.`)
    const { windowBlocks, ...settings } = this.#settings
    const noise = normalNoise(random, this.#config.dit.mels)
    return this.#token2wav.newStream({ voice, noise, settings, windowBlocks })
  }
}
