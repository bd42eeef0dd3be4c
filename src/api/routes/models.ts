/**
 * `GET /models`, `GET /models/{id}`, `GET /voices` and `GET /audio/voices`: the catalogue, and what answers for it
 * here.
 */
import type { Context } from 'hono'
import { type CatalogueModel, type ModeLimits, voiceNamed } from '../../catalogue/index.ts'
import type { EngineModel } from '../../contract/index.ts'
import {
  errors,
  type ModelList,
  type ModelListing,
  type SpeechVoices,
  type VoiceList,
  type VoiceListing,
} from '../../protocol/index.ts'
import { modelOfCheckpoint } from '../checkpoint-model.ts'
import type { AppEnv, Services } from '../services.ts'

export function listModels(services: Services) {
  return (c: Context<AppEnv>): Response => {
    const list: ModelList = { object: 'list', data: services.catalogue.models.map((model) => listing(services, model)) }
    return c.json(list)
  }
}

/** @throws ApiError 404 */
export function showModel(services: Services) {
  return (c: Context<AppEnv>): Response => {
    const name = c.req.param('id') ?? ''
    const shown = listing(services, modelNamed(services, c, name))
    return c.json(services.catalogue.find(name) === undefined ? { ...shown, id: name } : shown)
  }
}

/** On `/v1` a checkpoint's name is a model, too. @throws ApiError 404 */
function modelNamed(services: Services, c: Context<AppEnv>, name: string): CatalogueModel {
  const byCheckpoint = c.req.path.startsWith('/v1/') ? modelOfCheckpoint(services, name) : undefined
  const model = services.catalogue.find(name) ?? byCheckpoint
  if (model === undefined) throw errors.modelNotFound(name.slice(0, 200))
  return model
}

/** All models' voices, or those of `?model=`. @throws ApiError 404 */
export function listVoices(services: Services) {
  return (c: Context<AppEnv>): Response => {
    const name = c.req.query('model')
    const models = name === undefined ? services.catalogue.models : [modelNamed(services, c, name)]
    const list: VoiceList = {
      object: 'list',
      data: models.map((model) => ({
        model: model.id,
        default_voice: model.defaultVoice,
        voices: voicesOf(model, services.host.resolve(model.id, false)?.model),
      })),
    }
    return c.json(list)
  }
}

/**
 * For clients of OpenAI's audio API: those of `?model=`, or of the model that has most. @throws
 * ApiError 404
 */
export function listSpeechVoices(services: Services) {
  return (c: Context<AppEnv>): Response => {
    const name = c.req.query('model')
    const most = services.catalogue.models.toSorted((a, b) => b.voices.length - a.voices.length)[0]
    const model = name === undefined ? most : (services.catalogue.find(name) ?? modelOfCheckpoint(services, name))
    if (model === undefined) throw errors.modelNotFound(name?.slice(0, 200) ?? '')
    const voices = model.voices.map((id) => ({ id, name: voiceNamed(id).displayName }))
    return c.json({ voices } satisfies SpeechVoices)
  }
}

function voicesOf(model: CatalogueModel, checkpoint: EngineModel | undefined): VoiceListing[] {
  return model.voices.map((name): VoiceListing => {
    const voice = voiceNamed(name)
    const spoken = checkpoint?.voices.find((candidate) => candidate.name.toLowerCase() === name.toLowerCase())
    return {
      name,
      display_name: voice.displayName,
      description: voice.description,
      languages: [...model.rules.languages],
      ...(voice.dialect === undefined ? {} : { dialect: voice.dialect }),
      native: spoken?.native ?? null,
      spoken_by: spoken?.speaker ?? null,
    }
  })
}

function listing(services: Services, model: CatalogueModel): ModelListing {
  const { rules, prices } = model
  const normal = services.host.resolve(model.id, false)?.model
  const sampling = { ...rules.sampling, ...normal?.sampling }
  return {
    id: model.id,
    object: 'model',
    created: Math.floor(Date.parse(`${model.date}T00:00:00Z`) / 1000),
    owned_by: 'qwen',
    region: services.catalogue.region,
    family: model.family,
    kind: model.kind,
    ...(model.sameAs === undefined ? {} : { same_as: model.sameAs }),
    also_known_as: [...model.alsoKnownAs],
    input_modalities: ['text', 'image', 'audio', 'video'],
    output_modalities: ['text', 'audio'],
    voices: [...model.voices],
    limits: {
      normal: modeLimits(model.normal),
      ...(model.thinking === undefined ? {} : { thinking: modeLimits(model.thinking) }),
    },
    defaults: {
      temperature: sampling.temperature,
      top_p: sampling.topP,
      top_k: sampling.topK,
      presence_penalty: sampling.presencePenalty,
      repetition_penalty: sampling.repetitionPenalty,
      seed: sampling.seed,
    },
    media: {
      image: {
        max_bytes: rules.media.image.maxBytes,
        min_side_over: rules.media.image.minSideOver,
        max_aspect_ratio: rules.media.image.maxAspectRatio,
      },
      audio: { max_bytes: rules.media.audio.maxBytes, max_seconds: rules.media.audio.maxSeconds },
      video: {
        max_bytes: rules.media.video.maxBytes,
        max_seconds: rules.media.video.maxSeconds,
        min_frames: rules.media.video.minFrames,
        max_frames: rules.media.video.maxFrames,
      },
      max_data_uri_bytes: rules.media.maxDataUriBytes,
    },
    rate_limit: {
      requests_per_minute: rules.rateLimit.requestsPerMinute,
      tokens_per_minute: rules.rateLimit.tokensPerMinute,
    },
    ...(prices === undefined
      ? {}
      : {
          prices: {
            currency: prices.currency,
            per_tokens: 1_000_000 as const,
            input_text: prices.inputText,
            input_audio: prices.inputAudio,
            input_image_video: prices.inputImageVideo,
            output_text: prices.outputText,
            output_text_multimodal: prices.outputTextMultimodal,
            output_audio: prices.outputAudio,
          },
        }),
    served_by:
      normal === undefined
        ? null
        : {
            checkpoint: normal.id,
            architecture: normal.architecture,
            weights: normal.weights,
            device: normal.device,
            context_length: normal.contextLength,
            max_output: normal.maxOutputTokens,
            input_modalities: [...normal.input],
            output_modalities: [...normal.output],
            thinking: services.host.resolve(model.id, true)?.model.thinking ?? false,
            tools: model.family !== 'turbo' && normal.capabilities.tools,
          },
  }
}

function modeLimits(limits: ModeLimits) {
  return {
    context_length: limits.contextLength,
    max_input: limits.maxInput,
    ...(limits.maxReasoning === undefined ? {} : { max_reasoning: limits.maxReasoning }),
    max_output: limits.maxOutput,
  }
}
