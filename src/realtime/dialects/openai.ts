/**
 * OpenAI's realtime dialect as of its general availability.
 *
 * In: its client events. Out: its server events. Items are announced by `conversation.item.added` and, once whole,
 * `conversation.item.done`. Reference: the `openai` SDK's realtime types; docs/realtime.md for what is left out.
 */
import { z } from 'zod'
import type { ReplyOverrides, SessionConfig, TurnDetection } from '../config.ts'
import type { Item } from '../conversation.ts'
import type { OutputPlace, PartType, ReplyFacts, SessionCommand, SessionEvent } from '../events.ts'
import { SessionFault } from '../fault.ts'
import { readItem } from './dashscope.ts'
import {
  base64Of,
  type Dialect,
  randomLetters,
  type ServerEvent,
  type SessionModel,
  type SessionNames,
} from './dialect.ts'
import * as fields from './fields.ts'
import type { Json } from './fields.ts'
import { realtimeUsage } from './usage.ts'

const CLIENT_EVENTS = [
  'session.update',
  'input_audio_buffer.append',
  'input_audio_buffer.commit',
  'input_audio_buffer.clear',
  'output_audio_buffer.clear',
  'conversation.item.create',
  'conversation.item.delete',
  'conversation.item.retrieve',
  'conversation.item.truncate',
  'response.create',
  'response.cancel',
] as const

const RATE = 24_000

const DEFAULT_DETECTION: TurnDetection = {
  type: 'server',
  threshold: 0.5,
  prefixPaddingMs: 300,
  silenceMs: 500,
  createResponse: true,
  interruptResponse: true,
}

const PREFIXES = {
  session: 'sess',
  conversation: 'conv',
  item: 'item',
  response: 'resp',
  event: 'event',
  call: 'call',
} as const

export class OpenAiDialect implements Dialect {
  readonly initial: SessionConfig
  readonly #model: SessionModel
  readonly #expiresAt: number
  #transcriber = 'whisper-1'

  /** `expiresAt`: when the session ends at the latest, seconds since 1970. */
  constructor(model: SessionModel, expiresAt: number) {
    this.#model = model
    this.#expiresAt = expiresAt
    this.initial = {
      instructions: '',
      voice: model.defaultVoice,
      speaks: model.speaks,
      inputRate: RATE,
      turnDetection: DEFAULT_DETECTION,
      transcribes: false,
      sampling: {},
      maxTokens: undefined,
      tools: [],
      toolChoice: 'auto',
    }
  }

  newId(kind: keyof typeof PREFIXES): string {
    return `${PREFIXES[kind]}_${randomLetters(21)}`
  }

  // ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

  read(event: Json, config: SessionConfig): SessionCommand {
    const kind = event['type'] as (typeof CLIENT_EVENTS)[number]
    switch (kind) {
      case 'session.update':
        return { type: 'update', config: this.#update(fields.objectAt(event, 'session', 'session') ?? {}, config) }
      case 'input_audio_buffer.append':
        return { type: 'append-audio', samples: fields.audioAt(event, 'audio', 'audio') }
      case 'input_audio_buffer.commit':
        return { type: 'commit' }
      case 'input_audio_buffer.clear':
        return { type: 'clear' }
      // Over WebSocket the client plays audio itself, and clears it itself.
      case 'output_audio_buffer.clear':
        return { type: 'nothing' }
      case 'conversation.item.create': {
        const given = fields.objectAt(event, 'item', 'item')
        if (given === undefined) throw fields.wrong('item', 'an object')
        const previous = fields.optional(z.string(), event['previous_item_id'], 'previous_item_id', 'a string')
        return { type: 'create-item', item: readItem(given), previousItemId: previous }
      }
      case 'conversation.item.delete':
        return { type: 'delete-item', itemId: fields.textAt(event, 'item_id', 'item_id') }
      case 'conversation.item.retrieve':
        return { type: 'retrieve-item', itemId: fields.textAt(event, 'item_id', 'item_id') }
      case 'conversation.item.truncate':
        return {
          type: 'truncate-item',
          itemId: fields.textAt(event, 'item_id', 'item_id'),
          audioEndMs: fields.valueOf(
            z.number().min(0),
            event['audio_end_ms'],
            'audio_end_ms',
            'milliseconds, 0 or more',
          ),
        }
      case 'response.create':
        return { type: 'create-response', overrides: this.#overrides(fields.objectAt(event, 'response', 'response')) }
      case 'response.cancel':
        return {
          type: 'cancel-response',
          replyId: fields.optional(z.string(), event['response_id'], 'response_id', 'a string'),
        }
      default:
        kind satisfies never
        throw fields.unknownEvent(event['type'], CLIENT_EVENTS)
    }
  }

  #update(given: Json, config: SessionConfig): SessionConfig {
    if ('modalities' in given || 'input_audio_format' in given)
      throw new SessionFault(
        "This is the beta's form of session.update: send the header 'OpenAI-Beta: realtime=v1' for it, or output_modalities and audio.input.format.",
        {
          code: 'unknown_parameter',
          param: 'modalities' in given ? 'session.modalities' : 'session.input_audio_format',
        },
      )
    const type = fields.optional(z.string(), given['type'], 'session.type', 'realtime')
    if (type !== undefined && type !== 'realtime')
      throw fields.wrong('session.type', 'realtime: transcription sessions are not supported')
    const audio = fields.objectAt(given, 'audio', 'session.audio') ?? {}
    const input = fields.objectAt(audio, 'input', 'session.audio.input') ?? {}
    const output = fields.objectAt(audio, 'output', 'session.audio.output') ?? {}
    checkFormat(fields.objectAt(input, 'format', 'session.audio.input.format'), 'session.audio.input.format')
    checkFormat(fields.objectAt(output, 'format', 'session.audio.output.format'), 'session.audio.output.format')
    const speed = fields.optional(z.number(), output['speed'], 'session.audio.output.speed', '1') ?? 1
    if (speed !== 1) throw fields.wrong('session.audio.output.speed', '1: the checkpoint speaks at its own pace')
    const voice = fields.optional(z.string(), output['voice'], 'session.audio.output.voice', 'a voice name')
    return {
      ...config,
      instructions:
        fields.optional(z.string(), given['instructions'], 'session.instructions', 'a string') ?? config.instructions,
      voice: voice === undefined ? config.voice : this.#voice(voice, 'session.audio.output.voice'),
      speaks: this.#modalities(given['output_modalities'], 'session.output_modalities') ?? config.speaks,
      turnDetection: detectionOf(input, config),
      transcribes: this.#transcribes(input, config),
      maxTokens:
        'max_output_tokens' in given && given['max_output_tokens'] !== null
          ? fields.maxTokensOf(given['max_output_tokens'], 'session.max_output_tokens')
          : config.maxTokens,
      tools: given['tools'] == null ? config.tools : fields.toolsOf(given['tools'], this.#model, 'session.tools'),
      toolChoice:
        given['tool_choice'] == null
          ? config.toolChoice
          : fields.toolChoiceOf(given['tool_choice'], 'session.tool_choice'),
    }
  }

  /** An unknown voice leaves the session open here. */
  #voice(voice: string, param: string): string {
    try {
      return fields.voiceOf(voice, this.#model, param)
    } catch (error) {
      if (error instanceof SessionFault) throw new SessionFault(error.message.replace(/^<400> [^:]*: /, ''), { param })
      throw error
    }
  }

  #modalities(given: unknown, param: string): boolean | undefined {
    if (given === undefined || given === null) return undefined
    const list = fields.valueOf(z.array(z.enum(['text', 'audio'])).min(1), given, param, '["text"] or ["audio"]')
    const speaks = list.includes('audio')
    if (speaks && !this.#model.speaks)
      throw new SessionFault(
        `The checkpoint '${this.#model.checkpoint}' loaded here has no speech output: use ["text"].`,
        { param },
      )
    return speaks
  }

  #transcribes(input: Json, config: SessionConfig): boolean {
    if (!('transcription' in input)) return config.transcribes
    const asked = fields.objectAt(input, 'transcription', 'session.audio.input.transcription')
    if (asked === undefined) return false
    this.#transcriber =
      fields.optional(z.string(), asked['model'], 'session.audio.input.transcription.model', 'a string') ??
      this.#transcriber
    return true
  }

  #overrides(given: Json | undefined): ReplyOverrides {
    if (given === undefined) return {}
    if (given['input'] != null)
      throw new SessionFault('response.input is not supported: create the items in the conversation.', {
        param: 'response.input',
      })
    const output =
      fields.objectAt(fields.objectAt(given, 'audio', 'response.audio') ?? {}, 'output', 'response.audio.output') ?? {}
    const instructions = fields.optional(z.string(), given['instructions'], 'response.instructions', 'a string')
    const speaks = this.#modalities(given['output_modalities'], 'response.output_modalities')
    const voice = fields.optional(z.string(), output['voice'], 'response.audio.output.voice', 'a voice name')
    const metadata = fields.optional(
      z.record(z.string(), z.string()),
      given['metadata'],
      'response.metadata',
      'an object of strings',
    )
    const limit =
      given['max_output_tokens'] == null
        ? undefined
        : fields.maxTokensOf(given['max_output_tokens'], 'response.max_output_tokens')
    return {
      ...(instructions !== undefined && { instructions }),
      ...(speaks !== undefined && { speaks }),
      ...(voice !== undefined && { voice: this.#voice(voice, 'response.audio.output.voice') }),
      ...(limit !== undefined && { maxTokens: limit }),
      ...(given['tools'] != null && { tools: fields.toolsOf(given['tools'], this.#model, 'response.tools') }),
      ...(given['tool_choice'] != null && {
        toolChoice: fields.toolChoiceOf(given['tool_choice'], 'response.tool_choice'),
      }),
      ...(given['conversation'] === 'none' && { outOfBand: true }),
      ...(metadata !== undefined && { metadata }),
    }
  }

  // ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────

  write(event: SessionEvent, names: SessionNames): readonly ServerEvent[] {
    switch (event.type) {
      case 'session-created':
        return [{ type: 'session.created', session: this.#session(event.config, names) }]
      case 'session-updated':
        return [{ type: 'session.updated', session: this.#session(event.config, names) }]
      case 'speech-started':
        return [{ type: 'input_audio_buffer.speech_started', audio_start_ms: event.at, item_id: event.itemId }]
      case 'speech-stopped':
        return [{ type: 'input_audio_buffer.speech_stopped', audio_end_ms: event.at, item_id: event.itemId }]
      case 'audio-committed':
        return [
          {
            type: 'input_audio_buffer.committed',
            previous_item_id: event.previousItemId ?? null,
            item_id: event.itemId,
          },
        ]
      case 'audio-cleared':
        return [{ type: 'input_audio_buffer.cleared' }]
      case 'item-created': {
        const facts = { previous_item_id: event.previousItemId ?? null, item: itemJson(event.item) }
        const added = { type: 'conversation.item.added', ...facts }
        const whole = !('status' in event.item) || event.item.status === 'completed'
        return whole ? [added, { type: 'conversation.item.done', ...facts }] : [added]
      }
      case 'item-retrieved':
        return [{ type: 'conversation.item.retrieved', item: itemJson(event.item) }]
      case 'item-deleted':
        return [{ type: 'conversation.item.deleted', item_id: event.itemId }]
      case 'item-truncated':
        return [
          {
            type: 'conversation.item.truncated',
            item_id: event.itemId,
            content_index: 0,
            audio_end_ms: event.audioEndMs,
          },
        ]
      case 'transcription-completed':
        return [
          {
            type: 'conversation.item.input_audio_transcription.completed',
            item_id: event.itemId,
            content_index: 0,
            transcript: event.transcript,
          },
        ]
      case 'transcription-failed':
        return [
          {
            type: 'conversation.item.input_audio_transcription.failed',
            item_id: event.itemId,
            content_index: 0,
            error: { type: 'transcription_error', code: 'transcription_failed', message: event.message, param: null },
          },
        ]
      case 'reply-created':
        return [{ type: 'response.created', response: this.#response(event.reply, names) }]
      case 'reply-done':
        return [{ type: 'response.done', response: this.#response(event.reply, names) }]
      case 'output-added':
        return [
          {
            type: 'response.output_item.added',
            response_id: event.replyId,
            output_index: event.index,
            item: itemJson(event.item, true),
          },
        ]
      case 'output-done': {
        const item = itemJson(event.item)
        return [
          { type: 'response.output_item.done', response_id: event.replyId, output_index: event.index, item },
          { type: 'conversation.item.done', item },
        ]
      }
      case 'part-added':
        return [{ type: 'response.content_part.added', ...placeOf(event), part: partJson(event.part, '') }]
      case 'part-done':
        return [{ type: 'response.content_part.done', ...placeOf(event), part: partJson(event.part, event.text) }]
      case 'text-delta':
        return [{ type: 'response.output_text.delta', ...placeOf(event), delta: event.delta }]
      case 'text-done':
        return [{ type: 'response.output_text.done', ...placeOf(event), text: event.text }]
      case 'transcript-delta':
        return [{ type: 'response.output_audio_transcript.delta', ...placeOf(event), delta: event.delta }]
      case 'transcript-done':
        return [{ type: 'response.output_audio_transcript.done', ...placeOf(event), transcript: event.text }]
      case 'audio-delta':
        return [{ type: 'response.output_audio.delta', ...placeOf(event), delta: base64Of(event.pcm) }]
      case 'audio-done':
        return [{ type: 'response.output_audio.done', ...placeOf(event) }]
      case 'call-delta':
        return [
          {
            type: 'response.function_call_arguments.delta',
            ...callPlace(event),
            call_id: event.callId,
            delta: event.delta,
          },
        ]
      case 'call-done':
        return [
          {
            type: 'response.function_call_arguments.done',
            ...callPlace(event),
            call_id: event.callId,
            name: event.name,
            arguments: event.arguments,
          },
        ]
      case 'fault': {
        const { type, code, message, param } = event.fault
        return [{ type: 'error', error: { type, code, message, param, event_id: event.eventId ?? null } }]
      }
      // The dialect has no such event: the socket's close says it.
      case 'session-finished':
        return []
      default:
        return event satisfies never
    }
  }

  #session(config: SessionConfig, { sessionId }: SessionNames): Json {
    const { turnDetection: detection } = config
    return {
      type: 'realtime',
      object: 'realtime.session',
      id: sessionId,
      model: this.#model.name,
      output_modalities: [config.speaks ? 'audio' : 'text'],
      instructions: config.instructions,
      tools: config.tools.map((tool) => ({ type: 'function', ...tool })),
      tool_choice:
        typeof config.toolChoice === 'string' ? config.toolChoice : { type: 'function', ...config.toolChoice },
      max_output_tokens: config.maxTokens ?? 'inf',
      tracing: null,
      prompt: null,
      truncation: 'auto',
      expires_at: this.#expiresAt,
      audio: {
        input: {
          format: { type: 'audio/pcm', rate: RATE },
          transcription: config.transcribes ? { model: this.#transcriber } : null,
          noise_reduction: null,
          turn_detection:
            detection === undefined
              ? null
              : {
                  type: detection.type === 'server' ? 'server_vad' : 'semantic_vad',
                  threshold: detection.threshold,
                  prefix_padding_ms: detection.prefixPaddingMs,
                  silence_duration_ms: detection.silenceMs,
                  idle_timeout_ms: null,
                  create_response: detection.createResponse,
                  interrupt_response: detection.interruptResponse,
                },
        },
        output: { format: { type: 'audio/pcm', rate: RATE }, voice: config.voice, speed: 1 },
      },
      include: null,
    }
  }

  #response(reply: ReplyFacts, { conversationId }: SessionNames): Json {
    return {
      object: 'realtime.response',
      id: reply.id,
      status: reply.status,
      status_details: statusDetails(reply),
      output: reply.status === 'in_progress' ? [] : reply.output.map((item) => itemJson(item)),
      conversation_id: conversationId,
      output_modalities: [reply.speaks ? 'audio' : 'text'],
      audio: { output: { format: { type: 'audio/pcm', rate: RATE }, voice: reply.voice } },
      usage: reply.usage === undefined ? null : realtimeUsage(reply.usage),
      metadata: reply.metadata ?? null,
    }
  }
}

function statusDetails({ status, reason, message }: ReplyFacts): Json | null {
  if (reason === undefined) return null
  if (status === 'failed') return { type: 'failed', error: { type: 'server_error', code: reason, message } }
  return { type: status, reason }
}

function checkFormat(format: Json | undefined, param: string): void {
  if (format === undefined) return
  const type = fields.optional(z.string(), format['type'], `${param}.type`, 'audio/pcm') ?? 'audio/pcm'
  if (type !== 'audio/pcm') throw fields.wrong(`${param}.type`, 'audio/pcm')
  const rate = fields.optional(z.int(), format['rate'], `${param}.rate`, '24000') ?? RATE
  if (rate !== RATE) throw fields.wrong(`${param}.rate`, '24000')
}

function detectionOf(input: Json, config: SessionConfig): TurnDetection | undefined {
  if (!('turn_detection' in input)) return config.turnDetection
  const param = 'session.audio.input.turn_detection'
  const asked = fields.objectAt(input, 'turn_detection', param)
  if (asked === undefined) return undefined
  if (asked['idle_timeout_ms'] != null) throw fields.wrong(`${param}.idle_timeout_ms`, 'absent: it is not supported')
  return fields.turnDetectionOf(asked, config.turnDetection ?? DEFAULT_DETECTION, param)
}

function partJson(part: PartType, text: string): Json {
  return part === 'audio' ? { type: 'audio', transcript: text } : { type: 'text', text }
}

/** `empty`: an item of a reply that has just begun. */
function itemJson(item: Item, empty = false): Json {
  const base = { id: item.id, object: 'realtime.item' }
  switch (item.type) {
    case 'input':
      return {
        ...base,
        type: 'message',
        status: 'completed',
        role: item.role,
        content: item.parts.map((part) => {
          if (part.type === 'text') return { type: 'input_text', text: part.text }
          if (part.type === 'image') return { type: 'input_image' }
          return { type: 'input_audio', transcript: part.transcript ?? null }
        }),
      }
    case 'reply': {
      const open = empty || item.status === 'in_progress'
      const part = item.spoken
        ? { type: 'output_audio', transcript: item.text }
        : { type: 'output_text', text: item.text }
      return { ...base, type: 'message', status: item.status, role: 'assistant', content: open ? [] : [part] }
    }
    case 'call':
      return {
        ...base,
        type: 'function_call',
        status: item.status,
        name: item.name,
        call_id: item.callId,
        arguments: empty ? '' : item.arguments,
      }
    case 'call-output':
      return { ...base, type: 'function_call_output', status: 'completed', call_id: item.callId, output: item.output }
    default:
      return item satisfies never
  }
}

function placeOf(event: OutputPlace): Json {
  return { ...callPlace(event), content_index: 0 }
}

function callPlace({ replyId, itemId, index }: OutputPlace): Json {
  return { response_id: replyId, item_id: itemId, output_index: index }
}
