/**
 * A model's rules, and the reasons, so that the page can disable a choice and show why.
 *
 * In: a model as the server lists it, the settings, the attachments. Out: keys of reasons (under `reason` in the
 * translations) with their values. Pure. Reference: the Qwen-Omni guide (December 2025), "How to use" and "Limits".
 */
import type { Media, MediaKind } from '../state/conversation.ts'
import type { Settings } from '../state/settings.ts'
import type { ModelListing } from './types.ts'

export interface Reason {
  key: string
  values?: Record<string, string | number>
}

/** The audio and video modality of a frame list is video. */
function modalityOf(kind: MediaKind): 'image' | 'audio' | 'video' {
  switch (kind) {
    case 'image':
    case 'audio':
      return kind
    case 'video':
    case 'frames':
      return 'video'
    default:
      return kind satisfies never
  }
}

/** Why the model has no thinking mode, if so. */
export function thinkingReason(model: ModelListing): Reason | undefined {
  if (model.limits.thinking === undefined) return { key: 'modelNoThinking', values: { model: model.id } }
  if (model.served_by && !model.served_by.thinking)
    return { key: 'checkpointNoThinking', values: { checkpoint: model.served_by.checkpoint } }
  return undefined
}

/** Whether the request uses thinking: chosen and possible. */
export function thinks(model: ModelListing, settings: Settings): boolean {
  return settings.thinking && thinkingReason(model) === undefined
}

/** Why the reply has no speech, if so. */
export function speechReason(model: ModelListing, settings: Settings): Reason | undefined {
  if (!model.output_modalities.includes('audio')) return { key: 'modelNoSpeech', values: { model: model.id } }
  if (model.served_by && !model.served_by.output_modalities.includes('audio'))
    return { key: 'checkpointNoSpeech', values: { checkpoint: model.served_by.checkpoint } }
  if (thinks(model, settings)) return { key: 'thinkingNoSpeech' }
  return undefined
}

export function speaks(model: ModelListing, settings: Settings): boolean {
  return settings.speech && speechReason(model, settings) === undefined
}

/** Why the system message has no effect, if so. */
export function systemReason(model: ModelListing, settings: Settings): Reason | undefined {
  return model.family === 'turbo' && speaks(model, settings) ? { key: 'turboSystem' } : undefined
}

/** Why nothing can be sent with this model, if so. */
export function modelReason(model: ModelListing): Reason | undefined {
  return model.served_by === null ? { key: 'notServed', values: { model: model.id } } : undefined
}

/** Why one more file of this kind cannot go into the message being written, if so. */
export function attachReason(model: ModelListing, kind: MediaKind, attached: readonly Media[]): Reason | undefined {
  const modality = modalityOf(kind)
  if (!model.input_modalities.includes(modality)) return { key: 'modelNoInput', values: { model: model.id } }
  if (model.served_by && !model.served_by.input_modalities.includes(modality))
    return { key: 'checkpointNoInput', values: { checkpoint: model.served_by.checkpoint } }
  const first = attached[0]
  if (first === undefined) return undefined
  if (modalityOf(first.kind) !== modality) return { key: 'oneModality' }
  if (modality === 'audio') return { key: 'oneAudio' }
  if (modality === 'video') return { key: 'oneVideo' }
  return undefined
}

/** Bytes of a file whose data URI still fits the API. */
export function rawByteLimit(model: ModelListing): number {
  return Math.floor(((model.media.max_data_uri_bytes - 64) / 4) * 3)
}

/** Why this model does not accept a file, if so. The server checks the bytes of links. */
export function mediaReason(model: ModelListing, media: Media): Reason | undefined {
  const { source, kind } = media
  if (source.type === 'blob' && source.blob.size > rawByteLimit(model))
    return { key: 'tooManyBytes', values: { size: source.blob.size, limit: rawByteLimit(model), kind } }
  if (kind === 'image' && media.width !== undefined && media.height !== undefined) {
    const { min_side_over: side, max_aspect_ratio: ratio } = model.media.image
    if (Math.min(media.width, media.height) <= side) return { key: 'imageSmall', values: { side } }
    if (Math.max(media.width / media.height, media.height / media.width) > ratio)
      return { key: 'imageNarrow', values: { ratio } }
  }
  if (kind === 'audio' || kind === 'video') {
    const limit = model.media[kind].max_seconds
    if (media.duration !== undefined && media.duration > limit)
      return { key: 'tooLong', values: { seconds: Math.ceil(media.duration), limit, kind } }
  }
  if (source.type === 'frames') {
    const { min_frames: min, max_frames: max } = model.media.video
    if (source.frames.length < min || source.frames.length > max)
      return { key: 'frameCount', values: { count: source.frames.length, min, max } }
  }
  return undefined
}
