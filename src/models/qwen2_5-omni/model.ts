/**
 * A Qwen2.5-Omni checkpoint: declarations of its weights, and its stages over the loaded weights.
 *
 * Reference: transformers `Qwen2_5OmniForConditionalGeneration`.
 */

import { EngineError, type InputModality } from '../../contract/index.ts'
import type { CheckpointFiles } from '../../prompt/checkpoint-files.ts'
import { declareParameters, loadedParameters, type ParameterDeclaration, type Parameters } from '../../nn/index.ts'
import type { Backend, WeightSet } from '../../tensor/index.ts'
import { Thinker, ThinkerModel } from '../decoder/thinker.ts'
import type { CheckpointNaming, ModelFamily, ModelOptions } from '../family.ts'
import type { SpeechFacts } from '../speech.ts'
import type { OmniModel } from '../stages.ts'
import { AudioEncoder, AudioEncoderModel } from './audio-encoder.ts'
import type { Qwen25OmniConfig } from './config-types.ts'
import { ARCHITECTURES, parseConfig } from './config.ts'
import { createQwen25Prompt } from './prompt/prompt-builder.ts'
import { Token2WavVocoder } from './speech/code-vocoder.ts'
import { Qwen25Speech } from './speech/pipeline.ts'
import { exactSpeech, readSpeechSettings, type SpeechSettings, withDiffusion } from './speech/settings.ts'
import { Talker, TalkerModel } from './talker.ts'
import { shortestReference } from './token2wav/config.ts'
import { SAMPLE_RATE, Token2Wav, Token2WavModel } from './token2wav/token2wav.ts'
import { readVoices } from './voices/read-voices.ts'
import type { Voice } from './voices/voice.ts'
import { VisionEncoder, VisionEncoderModel } from './vision-encoder.ts'

/** Every part with its weights. */
class Modules {
  readonly thinker: ThinkerModel
  readonly audio_tower: AudioEncoderModel
  readonly visual: VisionEncoderModel
  readonly speech: { readonly talker: TalkerModel; readonly token2wav: Token2WavModel } | undefined

  constructor(parameters: Parameters, config: Qwen25OmniConfig) {
    const thinker = parameters.scope('thinker')
    this.thinker = new ThinkerModel(thinker, config.thinker)
    this.audio_tower = new AudioEncoderModel(thinker.scope('audio_tower'), config.audioEncoder)
    this.visual = new VisionEncoderModel(thinker.scope('visual'), config.visionEncoder)
    const { speech } = config
    if (!speech) return
    this.speech = {
      talker: new TalkerModel(parameters.scope('talker'), speech.talker),
      token2wav: new Token2WavModel(parameters.scope('token2wav'), speech.token2wav),
    }
  }
}

const reads: readonly InputModality[] = ['text', 'image', 'audio', 'video']

export class Qwen25OmniModel implements OmniModel {
  readonly architecture: string
  readonly reads = reads
  readonly thinker: Thinker
  readonly audioEncoder: AudioEncoder
  readonly visionEncoder: VisionEncoder
  readonly talker?: Talker
  readonly token2wav?: Token2Wav
  readonly speech?: Qwen25Speech

  constructor(
    backend: Backend,
    weights: WeightSet,
    config: Qwen25OmniConfig,
    voices: ReadonlyMap<string, Voice>,
    settings: SpeechSettings,
    options: ModelOptions,
  ) {
    const modules = new Modules(loadedParameters(weights), config)
    const { cacheType, budget } = options
    const cache = { ...(cacheType && { cacheType }), ...(budget && { budget }) }
    this.architecture = config.architecture
    this.thinker = new Thinker(backend, modules.thinker, {
      ...cache,
      // The talker uses the input of `lm_head`.
      ...(config.speech && { capture: config.thinker.layers }),
    })
    this.audioEncoder = new AudioEncoder(backend, modules.audio_tower)
    this.visionEncoder = new VisionEncoder(backend, modules.visual)
    if (!modules.speech || !config.speech) return
    const { ids, token2wav } = config.speech
    this.talker = new Talker(backend, modules.speech.talker, cache)
    // The talker does not depend on the samples, so the vocoder runs in parallel with it.
    this.token2wav = new Token2Wav(backend.parallel(), modules.speech.token2wav)
    const vocoder = new Token2WavVocoder(this.token2wav, token2wav, voices, settings.diffusion)
    this.speech = new Qwen25Speech(this.thinker, this.talker, vocoder, ids, settings)
  }

  [Symbol.dispose](): void {
    this.thinker[Symbol.dispose]()
    this.audioEncoder[Symbol.dispose]()
    this.visionEncoder[Symbol.dispose]()
    this.talker?.[Symbol.dispose]()
    this.token2wav?.[Symbol.dispose]()
  }
}

/** Module paths of transformers 5, which `save_pretrained` may write, to the hub's. */
const RENAMES: readonly (readonly [RegExp, string])[] = [
  [/^thinker\.model\.language_model\./, 'thinker.model.'],
  [/^thinker\.model\.(audio_tower|visual)\./, 'thinker.$1.'],
]

function namingOf(config: Qwen25OmniConfig): CheckpointNaming {
  const alone = config.architecture === ARCHITECTURES[2]
  return {
    canonicalName(name) {
      const full = alone ? `thinker.${name}` : name
      const rename = RENAMES.find(([pattern]) => pattern.test(full))
      return rename ? full.replace(rename[0], rename[1]) : full
    },
    ignored: [
      { pattern: /^(thinker|talker)\..*\.(original_)?inv_freq$/, reason: 'rotary frequencies follow from config.json' },
      { pattern: /\.positional_embedding\.positional_embedding$/, reason: 'sinusoids follow from config.json' },
      {
        pattern: /^thinker\.audio_tower\.audio_bos_eos_token\.weight$/,
        reason: 'read by no graph: the marks around audio are ordinary text tokens',
      },
      ...(config.thinker.tiedEmbeddings
        ? [{ pattern: /^thinker\.lm_head\.weight$/, reason: 'tied to the embeddings' }]
        : []),
      ...(config.speech ? [] : [{ pattern: /^(talker|token2wav)\./, reason: 'config.json switches speech off' }]),
    ],
  }
}

/** The voices in this project's format, which takes precedence over the published file. */
const voiceFiles = ['voices.safetensors', 'spk_dict.pt'] as const

/**
 * Voices by lower-case name, in the file's order. None without a file. Throws `bad_checkpoint` for a file that cannot
 * be read.
 */
function voicesOf(files: CheckpointFiles): ReadonlyMap<string, Voice> {
  for (const name of voiceFiles) {
    const bytes = files.bytes(name)
    if (bytes) return new Map([...readVoices(bytes, name).values()].map((voice) => [voice.name.toLowerCase(), voice]))
  }
  return new Map()
}

function checkVoices(
  voices: ReadonlyMap<string, Voice>,
  { thinker, speech }: Qwen25OmniConfig,
  { location }: CheckpointFiles,
): void {
  if (!speech) return
  if (voices.size === 0)
    throw new EngineError(
      'bad_checkpoint',
      `${location} has no spk_dict.pt, which holds the voices; copy it from the checkpoint's hub page, or set enable_audio_output to ` +
        'false in config.json',
    )
  const { conditionWidth, mels, speaker } = speech.token2wav.dit
  const shortest = shortestReference(speaker)
  for (const { name, bosToken, condition, referenceMel, referenceFrames } of voices.values()) {
    if (bosToken >= thinker.vocabulary)
      throw new EngineError('bad_checkpoint', `voice ${name}: bos_token is ${bosToken}, outside the vocabulary`)
    if (referenceFrames < shortest)
      throw new EngineError(
        'bad_checkpoint',
        `config.json: token2wav_config.dit_config.enc_dilations need a reference of ${shortest} frames; voice ${name} has ${referenceFrames}`,
      )
    if (condition.length !== conditionWidth || referenceMel.length !== referenceFrames * mels)
      throw new EngineError(
        'bad_checkpoint',
        `voice ${name} is of another model: cond has ${condition.length} values and ref_mel ${referenceMel.length / referenceFrames} bands, ` +
          `config.json says ${conditionWidth} and ${mels}`,
      )
  }
}

function speechFacts(
  { token2wav }: NonNullable<Qwen25OmniConfig['speech']>,
  voices: ReadonlyMap<string, Voice>,
): SpeechFacts {
  const samplesPerCode = token2wav.dit.repeats * token2wav.vocoder.rates.reduce((product, rate) => product * rate, 1)
  return { speakers: [...voices.keys()], sampleRate: SAMPLE_RATE, frameRate: SAMPLE_RATE / samplesPerCode }
}

export const qwen25Omni: ModelFamily<Qwen25OmniModel> = {
  architectures: ARCHITECTURES,
  binaryFiles: voiceFiles,
  read(files) {
    const config = parseConfig(files.requireJson('config.json'))
    const settings = readSpeechSettings(files.json('generation_config.json'))
    const voices = config.speech ? voicesOf(files) : new Map<string, Voice>()
    let declarations: ParameterDeclaration[] | undefined
    return {
      architecture: config.architecture,
      reads,
      ...(config.speech && { speaks: speechFacts(config.speech, voices) }),
      contextLength: config.thinker.context,
      naming: namingOf(config),
      get declarations() {
        declarations ??= declareParameters((parameters) => new Modules(parameters, config))
        return declarations
      },
      prompt() {
        // Prompts are prepared before weights are read, so a missing file is reported early.
        checkVoices(voices, config, files)
        return createQwen25Prompt(files)
      },
      build(backend, weights, options = {}) {
        checkVoices(voices, config, files)
        const { exact = false, maxFrames = settings.maxFrames, diffusion, onePiece } = options.speech ?? {}
        const asked = { ...diffusion, ...(onePiece && { windows: [Infinity] }) }
        const speech = withDiffusion(exact ? exactSpeech(settings) : settings, asked)
        return new Qwen25OmniModel(backend, weights, config, voices, { ...speech, maxFrames }, options)
      },
    }
  },
}
