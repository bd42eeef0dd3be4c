/**
 * A Qwen3-Omni checkpoint: declarations of its weights, and its stages over the loaded weights.
 *
 * Reference: transformers `Qwen3OmniMoeForConditionalGeneration`.
 */

import { declareParameters, loadedParameters, type ParameterDeclaration, type Parameters } from '../../nn/index.ts'
import type { Backend, WeightSet } from '../../tensor/index.ts'
import type { CheckpointNaming, ModelFamily, ModelOptions } from '../family.ts'
import type { InputModality } from '../../contract/index.ts'
import type { SpeechFacts } from '../speech.ts'
import type { OmniModel } from '../stages.ts'
import { AudioEncoder, AudioEncoderModel } from './audio-encoder.ts'
import { CodePredictor, CodePredictorModel } from './code-predictor.ts'
import { Code2Wav } from './code2wav-stream.ts'
import { Code2WavModel } from './code2wav.ts'
import type { Qwen3OmniConfig } from './config-types.ts'
import { ARCHITECTURES, parseConfig } from './config.ts'
import { createQwen3Prompt } from './prompt/prompt-builder.ts'
import { checkTurnTokens } from './speech/check-tokens.ts'
import { Qwen3Speech } from './speech/pipeline.ts'
import { exactSpeech, readSpeechSettings, type SpeechSettings } from './speech/settings.ts'
import { Talker, TalkerModel } from './talker.ts'
import { Thinker, ThinkerModel } from '../decoder/thinker.ts'
import { VisionEncoder, VisionEncoderModel } from './vision-encoder.ts'

/** Every part with its weights. */
class Modules {
  readonly thinker: ThinkerModel
  readonly audio_tower: AudioEncoderModel
  readonly visual: VisionEncoderModel
  readonly speech:
    | { readonly talker: TalkerModel; readonly code_predictor: CodePredictorModel; readonly code2wav: Code2WavModel }
    | undefined

  constructor(parameters: Parameters, config: Qwen3OmniConfig) {
    const thinker = parameters.scope('thinker')
    this.thinker = new ThinkerModel(thinker, config.thinker)
    this.audio_tower = new AudioEncoderModel(thinker.scope('audio_tower'), config.audioEncoder)
    this.visual = new VisionEncoderModel(thinker.scope('visual'), config.visionEncoder)
    const { speech } = config
    if (!speech) return
    const talker = parameters.scope('talker')
    this.speech = {
      talker: new TalkerModel(talker, speech.talker),
      code_predictor: new CodePredictorModel(
        talker.scope('code_predictor'),
        speech.codePredictor,
        speech.talker.codeGroups,
      ),
      code2wav: new Code2WavModel(parameters.scope('code2wav'), speech.code2wav),
    }
  }
}

const reads: readonly InputModality[] = ['text', 'image', 'audio', 'video']

export class Qwen3OmniModel implements OmniModel {
  readonly architecture: string
  readonly reads = reads
  readonly thinker: Thinker
  readonly audioEncoder: AudioEncoder
  readonly visionEncoder: VisionEncoder
  readonly talker?: Talker
  readonly codePredictor?: CodePredictor
  readonly code2wav?: Code2Wav
  readonly speech?: Qwen3Speech

  constructor(
    backend: Backend,
    weights: WeightSet,
    config: Qwen3OmniConfig,
    settings: SpeechSettings,
    options: ModelOptions,
  ) {
    const modules = new Modules(loadedParameters(weights), config)
    const { cacheType, budget } = options
    const cache = { ...(cacheType && { cacheType }), ...(budget && { budget }) }
    this.architecture = config.architecture
    this.thinker = new Thinker(backend, modules.thinker, {
      ...cache,
      ...(config.speech && { capture: config.speech.talker.acceptHiddenLayer }),
    })
    this.audioEncoder = new AudioEncoder(backend, modules.audio_tower)
    this.visionEncoder = new VisionEncoder(backend, modules.visual)
    if (!modules.speech || !config.speech) return
    const { talker, code_predictor, code2wav } = modules.speech
    this.talker = new Talker(backend, talker, cache)
    this.codePredictor = new CodePredictor(backend, code_predictor, talker, cache)
    // The talker does not depend on the samples, so the vocoder runs in parallel with it.
    const side = backend.parallel()
    this.code2wav = new Code2Wav(side, code2wav, {
      ...(options.speech?.onePiece && { longestPiece: Infinity }),
      ...(side !== backend && !backend.sharesThreads && { spare: backend }),
    })
    const { talker: own, codePredictor, code2wav: vocoder } = this
    this.speech = new Qwen3Speech(
      this.thinker,
      { talker: own, codePredictor, code2wav: vocoder },
      config.speech.ids,
      settings,
      budget,
    )
  }

  [Symbol.dispose](): void {
    this.speech?.clearCache?.()
    this.thinker[Symbol.dispose]()
    this.audioEncoder[Symbol.dispose]()
    this.visionEncoder[Symbol.dispose]()
    this.talker?.[Symbol.dispose]()
    this.codePredictor?.[Symbol.dispose]()
    this.code2wav?.[Symbol.dispose]()
  }
}

/** Module paths of transformers 5, which `save_pretrained` may write, to the hub's. */
const RENAMES: readonly (readonly [RegExp, string])[] = [
  [/^thinker\.model\.language_model\./, 'thinker.model.'],
  [/^thinker\.model\.(audio_tower|visual)\./, 'thinker.$1.'],
]

function namingOf(config: Qwen3OmniConfig): CheckpointNaming {
  const alone = config.architecture === ARCHITECTURES[1]
  return {
    canonicalName(name) {
      const full = alone ? `thinker.${name}` : name
      const rename = RENAMES.find(([pattern]) => pattern.test(full))
      return rename ? full.replace(rename[0], rename[1]) : full
    },
    ignored: [
      { pattern: /\.(original_)?inv_freq$/, reason: 'rotary frequencies follow from config.json' },
      { pattern: /\.positional_embedding\.positional_embedding$/, reason: 'sinusoids follow from config.json' },
      { pattern: /^code2wav\.code_offset$/, reason: 'offsets of the codebooks follow from config.json' },
      ...(config.thinker.tiedEmbeddings
        ? [{ pattern: /^thinker\.lm_head\.weight$/, reason: 'tied to the embeddings' }]
        : []),
      ...(config.speech ? [] : [{ pattern: /^(talker|code2wav)\./, reason: 'config.json switches speech off' }]),
    ],
  }
}

/** Of the published checkpoints; `upsample_rates` and `upsampling_ratios` multiply to the samples of a frame. */
const sampleRate = 24_000

function speechFacts({ ids, code2wav }: NonNullable<Qwen3OmniConfig['speech']>): SpeechFacts {
  const samplesPerFrame = [...code2wav.upsampleRates, ...code2wav.upsamplingRatios].reduce((a, b) => a * b, 1)
  return { speakers: [...ids.speakers.keys()], sampleRate, frameRate: sampleRate / samplesPerFrame }
}

export const qwen3Omni: ModelFamily<Qwen3OmniModel> = {
  architectures: ARCHITECTURES,
  read(files) {
    const config = parseConfig(files.requireJson('config.json'))
    const settings = readSpeechSettings(files.json('generation_config.json'))
    let declarations: ParameterDeclaration[] | undefined
    return {
      architecture: config.architecture,
      reads,
      ...(config.speech && { speaks: speechFacts(config.speech) }),
      contextLength: config.thinker.context,
      naming: namingOf(config),
      get declarations() {
        declarations ??= declareParameters((parameters) => new Modules(parameters, config))
        return declarations
      },
      prompt() {
        const prompt = createQwen3Prompt(files)
        const ids = prompt.templateIds([{ role: 'user', content: [{ type: 'text', text: 'x' }] }])
        if (config.speech) checkTurnTokens(ids, config.speech.ids)
        return prompt
      },
      build(backend, weights, options = {}) {
        const { exact = false, maxFrames = settings.maxFrames } = options.speech ?? {}
        const speech = { ...(exact ? exactSpeech(settings) : settings), maxFrames }
        return new Qwen3OmniModel(backend, weights, config, speech, options)
      },
    }
  },
}
