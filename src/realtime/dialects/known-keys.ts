/**
 * Keys that have an effect in client events. Others are accepted, as clients send keys of later guides, and the log
 * names them.
 */
import { unknownFields } from '../../protocol/index.ts'
import type { ClientEventType } from './client-events.ts'
import type { Json } from './fields.ts'

/** `true`: a value whose own keys, if it has any, are checked elsewhere. */
export interface KnownKeys {
  readonly [key: string]: KnownKeys | true
}

/** The keys of settings, which the dialects name differently. */
export interface SettingsKeys {
  readonly session: KnownKeys
  readonly response: KnownKeys
}

/** Of both dialects, with the facts that a client may send back. */
const SESSION = {
  id: true,
  object: true,
  type: true,
  model: true,
  instructions: true,
  tools: true,
  tool_choice: true,
  parallel_tool_calls: true,
  tracing: true,
} as const

const RESPONSE = {
  instructions: true,
  tools: true,
  tool_choice: true,
  parallel_tool_calls: true,
  conversation: true,
  metadata: true,
  input: true,
} as const

const DETECTION = {
  type: true,
  threshold: true,
  prefix_padding_ms: true,
  silence_duration_ms: true,
  eagerness: true,
  create_response: true,
  interrupt_response: true,
  idle_timeout_ms: true,
} as const

const TRANSCRIPTION = { model: true, language: true, prompt: true } as const

const DASHSCOPE_SETTINGS = {
  modalities: true,
  voice: true,
  output_audio_format: true,
  max_tokens: true,
  max_output_tokens: true,
  max_response_output_token: true,
  max_response_output_tokens: true,
  temperature: true,
  top_p: true,
  top_k: true,
  presence_penalty: true,
  repetition_penalty: true,
  seed: true,
} as const

export const DASHSCOPE_KEYS: SettingsKeys = {
  session: {
    ...SESSION,
    ...DASHSCOPE_SETTINGS,
    input_audio_format: true,
    sample_rate: true,
    input_audio_transcription: TRANSCRIPTION,
    turn_detection: DETECTION,
    enable_search: true,
    smooth_output: true,
    audio: {
      input: { format: { type: true, sample_rate: true, channels: true } },
      output: { voice: true, format: { type: true, sample_rate: true } },
    },
  },
  response: { ...RESPONSE, ...DASHSCOPE_SETTINGS },
}

const OPENAI_FORMAT = { type: true, rate: true } as const

export const OPENAI_KEYS: SettingsKeys = {
  session: {
    ...SESSION,
    output_modalities: true,
    max_output_tokens: true,
    prompt: true,
    reasoning: true,
    include: true,
    truncation: true,
    audio: {
      input: { format: OPENAI_FORMAT, transcription: TRANSCRIPTION, turn_detection: DETECTION },
      output: { voice: true, speed: true, format: OPENAI_FORMAT },
    },
  },
  response: {
    ...RESPONSE,
    output_modalities: true,
    max_output_tokens: true,
    prompt: true,
    reasoning: true,
    audio: { output: { voice: true, format: OPENAI_FORMAT } },
  },
}

/** Paths of keys of an event that have no effect, such as `session.smart_turn`. @param model the session's model */
export function ignoredKeys(event: Json, settings: SettingsKeys, model: string): readonly string[] {
  const type = event['type'] as ClientEventType
  const known = { type: true, event_id: true, ...keysOf(type, settings) }
  const { session } = event
  const asked = type === 'session.update' ? (session as Json | null | undefined)?.['model'] : undefined
  return [...unknownFields(event, known), ...(asked == null || asked === model ? [] : ['session.model'])]
}

function keysOf(type: ClientEventType, { session, response }: SettingsKeys): KnownKeys {
  switch (type) {
    case 'session.update':
      return { session }
    case 'response.create':
      return { response }
    case 'response.cancel':
      return { response_id: true }
    case 'input_audio_buffer.append':
      return { audio: true }
    case 'input_image_buffer.append':
      return { image: true }
    case 'conversation.item.create':
      return { item: true, previous_item_id: true }
    case 'conversation.item.delete':
    case 'conversation.item.retrieve':
      return { item_id: true }
    case 'conversation.item.truncate':
      return { item_id: true, content_index: true, audio_end_ms: true }
    case 'session.finish':
    case 'input_audio_buffer.commit':
    case 'input_audio_buffer.clear':
    case 'output_audio_buffer.clear':
      return {}
    default:
      return type satisfies never
  }
}
