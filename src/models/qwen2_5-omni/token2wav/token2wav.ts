/**
 * Token2wav of Qwen2.5-Omni: streams 24 kHz samples in a voice from codec codes.
 *
 * The diffusion transformer computes mel window by window. Each window includes blocks before and after it as context,
 * whose mel is discarded; all windows share one noise tensor. The vocoder returns the samples whose neighbours are
 * known. So streamed speech differs slightly from a single pass over the whole sequence (`windowBlocks: [Infinity]`),
 * which transformers computes.
 *
 * Reference: transformers `Qwen2_5OmniToken2WavModel`. Windows are those of Qwen's own engine.
 */

import type { Parameters } from '../../../nn/index.ts'
import type { Backend } from '../../../tensor/index.ts'
import type { VocoderStream } from '../../speech.ts'
import type { Voice } from '../voices/voice.ts'
import { BigVganModel } from './bigvgan.ts'
import type { Token2WavConfig } from './config.ts'
import { DitModel } from './dit.ts'
import { MelSampler, type PreparedVoice, type SolverSettings } from './mel-sampler.ts'
import type { NoiseSource } from './noise.ts'
import { Token2WavStream } from './stream.ts'
import { Vocoder } from './vocoder.ts'

/** Sample rate, hertz. No config file contains it. */
export const SAMPLE_RATE = 24_000

/** All weights. `parameters`: the scope `token2wav`. */
export class Token2WavModel {
  readonly dit: DitModel
  readonly vocoder: BigVganModel

  constructor(parameters: Parameters, config: Token2WavConfig) {
    this.dit = new DitModel(parameters.scope('code2wav_dit_model'), config.dit)
    this.vocoder = new BigVganModel(parameters.scope('code2wav_bigvgan_model'), config.vocoder)
  }
}

export interface SpeechOptions {
  readonly voice: Voice
  /** The request's noise: {@link normalNoise} of its seed, or given. */
  readonly noise: NoiseSource
  readonly settings: SolverSettings
  /**
   * New blocks of frames in each window; the last entry repeats. Longer windows compute less context and have more
   * latency. `Infinity`: one window over the complete reply.
   */
  readonly windowBlocks: readonly number[]
}

export class Token2Wav implements Disposable {
  readonly sampleRate = SAMPLE_RATE
  /** Samples of one code. */
  readonly samplesPerFrame: number
  readonly sampler: MelSampler
  readonly vocoder: Vocoder
  readonly #model: Token2WavModel
  readonly #voices = new WeakMap<Voice, Promise<PreparedVoice>>()

  constructor(backend: Backend, model: Token2WavModel) {
    this.#model = model
    this.samplesPerFrame = model.vocoder.hop * model.dit.config.repeats
    this.sampler = new MelSampler(backend, model.dit)
    this.vocoder = new Vocoder(backend, model.vocoder)
  }

  /** Codes required for the first sample. */
  codesBeforeFirst({ windowBlocks }: Pick<SpeechOptions, 'windowBlocks'>): number {
    const { streamBlock, repeats } = this.#model.dit.config
    return (((windowBlocks[0] ?? 1) + 1) * streamBlock) / repeats
  }

  /** Starts a reply. Throws RangeError for windows that are not positive integers. */
  newStream(options: SpeechOptions): VocoderStream {
    const { dit } = this.#model
    return new Token2WavStream(
      { sampler: this.sampler, vocoder: this.vocoder, dit: dit.config, voice: () => this.#prepare(options.voice) },
      options,
    )
  }

  /** Prepares a voice, once. The first request that needs it does not abort it. */
  #prepare(voice: Voice): Promise<PreparedVoice> {
    let prepared = this.#voices.get(voice)
    if (!prepared) {
      prepared = this.sampler.prepareVoice(voice.referenceMel, voice.condition)
      prepared.catch(() => this.#voices.delete(voice))
      this.#voices.set(voice, prepared)
    }
    return prepared
  }

  [Symbol.dispose](): void {
    this.sampler[Symbol.dispose]()
    this.vocoder[Symbol.dispose]()
  }
}
