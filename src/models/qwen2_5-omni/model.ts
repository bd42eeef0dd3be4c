/**
 * A Qwen2.5-Omni checkpoint put together: its parts' weights, declared and then loaded, and its stages.
 *
 * Reference: transformers `Qwen2_5OmniForConditionalGeneration`.
 */

import type { InputModality } from '../../contract/index.ts'
import { declareParameters, loadedParameters, type ParameterDeclaration, type Parameters } from '../../nn/index.ts'
import type { Backend, WeightSet } from '../../tensor/index.ts'
import { Thinker, ThinkerModel } from '../decoder/thinker.ts'
import type { CheckpointNaming, ModelFamily, ModelOptions } from '../family.ts'
import type { OmniModel } from '../stages.ts'
import { AudioEncoder, AudioEncoderModel } from './audio-encoder.ts'
import type { Qwen25OmniConfig } from './config-types.ts'
import { ARCHITECTURES, parseConfig } from './config.ts'
import { createQwen25Prompt } from './prompt/prompt-builder.ts'
import { Talker, TalkerModel } from './talker.ts'
import { VisionEncoder, VisionEncoderModel } from './vision-encoder.ts'

/** Every part with its weights. */
class Modules {
  readonly thinker: ThinkerModel
  readonly audio_tower: AudioEncoderModel
  readonly visual: VisionEncoderModel
  readonly speech: { readonly talker: TalkerModel } | undefined

  constructor(parameters: Parameters, config: Qwen25OmniConfig) {
    const thinker = parameters.scope('thinker')
    this.thinker = new ThinkerModel(thinker, config.thinker)
    this.audio_tower = new AudioEncoderModel(thinker.scope('audio_tower'), config.audioEncoder)
    this.visual = new VisionEncoderModel(thinker.scope('visual'), config.visionEncoder)
    const { speech } = config
    if (!speech) return
    this.speech = { talker: new TalkerModel(parameters.scope('talker'), speech.talker) }
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

  constructor(backend: Backend, weights: WeightSet, config: Qwen25OmniConfig, options: ModelOptions) {
    const modules = new Modules(loadedParameters(weights), config)
    const { cacheType, budget } = options
    const cache = { ...(cacheType && { cacheType }), ...(budget && { budget }) }
    this.architecture = config.architecture
    this.thinker = new Thinker(backend, modules.thinker, {
      ...cache,
      // The talker reads what `lm_head` reads.
      ...(config.speech && { capture: config.thinker.layers }),
    })
    this.audioEncoder = new AudioEncoder(backend, modules.audio_tower)
    this.visionEncoder = new VisionEncoder(backend, modules.visual)
    if (!modules.speech) return
    this.talker = new Talker(backend, modules.speech.talker, cache)
  }

  [Symbol.dispose](): void {
    this.thinker[Symbol.dispose]()
    this.audioEncoder[Symbol.dispose]()
    this.visionEncoder[Symbol.dispose]()
    this.talker?.[Symbol.dispose]()
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
      { pattern: /^token2wav\./, reason: 'not read yet' },
      ...(config.speech ? [] : [{ pattern: /^(talker|token2wav)\./, reason: 'config.json switches speech off' }]),
    ],
  }
}

export const qwen25Omni: ModelFamily<Qwen25OmniModel> = {
  architectures: ARCHITECTURES,
  read(files) {
    const config = parseConfig(files.requireJson('config.json'))
    let declarations: ParameterDeclaration[] | undefined
    return {
      architecture: config.architecture,
      reads,
      contextLength: config.thinker.context,
      naming: namingOf(config),
      get declarations() {
        declarations ??= declareParameters((parameters) => new Modules(parameters, config))
        return declarations
      },
      prompt: () => createQwen25Prompt(files),
      build: (backend, weights, options = {}) => new Qwen25OmniModel(backend, weights, config, options),
    }
  },
}
