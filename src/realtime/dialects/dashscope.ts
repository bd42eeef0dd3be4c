/**
 * DashScope's realtime dialect, and OpenAI's beta, which it was modelled on.
 *
 * In: client events of the flash era, with the later spellings. Out: server events with the flash era's keys.
 * Reference: Model Studio's client-events, server-events and realtime guide (December 2025), the official SDKs;
 * docs/realtime.md.
 */
import { z } from 'zod'
import type { ReplyOverrides, SessionConfig, TurnDetection } from '../config.ts'
import type { Item } from '../conversation.ts'
import type { GivenItem, GivenPart, ReplyFacts, SessionCommand, SessionEvent } from '../events.ts'
import { SessionFault } from '../fault.ts'
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
  'input_image_buffer.append',
  'conversation.item.create',
  'conversation.item.delete',
  'conversation.item.truncate',
  'response.create',
  'response.cancel',
  'session.finish',
] as const

const DEFAULT_DETECTION: TurnDetection = {
  type: 'server',
  threshold: 0.5,
  prefixPaddingMs: 300,
  silenceMs: 800,
  createResponse: true,
  interruptResponse: true,
}

const PREFIXES = { session: 'sess', conversation: 'conv', item: 'item', response: 'resp', event: 'event' } as const

/** Raw size of one image, bytes. */
const MAX_IMAGE_BYTES = 500 * 1024

export interface DashScopeOptions {
  readonly model: SessionModel
  /** OpenAI's beta: 24 kHz in, and its own rules for `modalities`. */
  readonly beta?: boolean
}

export class DashScopeDialect implements Dialect {
  readonly initial: SessionConfig
  readonly #model: SessionModel
  readonly #beta: boolean
  /** As clients wrote them, to be sent back. */
  #inputFormat: string = 'pcm16'
  #outputFormat: string
  #transcriber: string | null
  #extra: Record<string, unknown> = {}

  constructor({ model, beta = false }: DashScopeOptions) {
    this.#model = model
    this.#beta = beta
    this.#outputFormat = beta ? 'pcm16' : 'pcm24'
    this.#transcriber = beta ? null : 'gummy-realtime-v1'
    this.initial = {
      instructions: '',
      voice: model.defaultVoice,
      speaks: model.speaks,
      inputRate: beta ? 24_000 : 16_000,
      turnDetection: beta ? { ...DEFAULT_DETECTION, silenceMs: 500 } : DEFAULT_DETECTION,
      transcribes: !beta,
      sampling: {},
      maxTokens: undefined,
      tools: [],
      toolChoice: 'auto',
    }
  }

  newId(kind: keyof typeof PREFIXES | 'call'): string {
    if (kind === 'call') return `call_${Buffer.from(crypto.getRandomValues(new Uint8Array(12))).toString('hex')}`
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
      case 'input_image_buffer.append':
        return { type: 'append-image', source: this.#image(event) }
      case 'conversation.item.create':
        return this.#createItem(event)
      case 'conversation.item.delete':
        return { type: 'delete-item', itemId: fields.textAt(event, 'item_id', 'item_id') }
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
      case 'session.finish':
        return { type: 'finish' }
      default:
        kind satisfies never
        throw fields.unknownEvent(event['type'], CLIENT_EVENTS)
    }
  }

  /** Null keeps what is set, except where it means "off". */
  #update(given: Json, config: SessionConfig): SessionConfig {
    const audio = fields.objectAt(given, 'audio', 'session.audio') ?? {}
    const input = fields.objectAt(
      fields.objectAt(audio, 'input', 'session.audio.input') ?? {},
      'format',
      'session.audio.input.format',
    )
    const output = fields.objectAt(audio, 'output', 'session.audio.output') ?? {}
    const voiceParam = typeof output['voice'] === 'string' ? 'session.audio.output.voice' : 'session.voice'
    const voice = fields.optional(z.string(), output['voice'] ?? given['voice'], voiceParam, 'a voice name')
    const speaks = this.#modalities(given['modalities'], 'session.modalities')
    const next: SessionConfig = {
      ...config,
      instructions:
        fields.optional(z.string(), given['instructions'], 'session.instructions', 'a string') ?? config.instructions,
      voice: voice === undefined ? config.voice : fields.voiceOf(voice, this.#model, voiceParam),
      speaks: speaks ?? config.speaks,
      inputRate: this.#inputRate(given, input) ?? config.inputRate,
      turnDetection: this.#detection(given, config),
      transcribes: this.#transcribes(given, config),
      sampling: { ...config.sampling, ...samplingOf(given) },
      maxTokens: this.#maxTokens(given, config),
      tools: given['tools'] == null ? config.tools : fields.toolsOf(given['tools'], this.#model, 'session.tools'),
      toolChoice:
        given['tool_choice'] == null
          ? config.toolChoice
          : fields.toolChoiceOf(given['tool_choice'], 'session.tool_choice'),
    }
    if (given['enable_search'] === true)
      throw new SessionFault('This model does not support enable_search.', { param: 'session.enable_search' })
    this.#checkOutputFormat(given, fields.objectAt(output, 'format', 'session.audio.output.format'))
    if ('smooth_output' in given) this.#extra['smooth_output'] = given['smooth_output']
    return next
  }

  #modalities(given: unknown, param: string): boolean | undefined {
    if (given === undefined || given === null) return undefined
    const list = fields.valueOf(z.array(z.string()), given, param, 'a list')
    const set = new Set(list)
    const known = [...set].every((name) => name === 'text' || name === 'audio')
    const speaks = set.has('audio')
    if (!known || set.size === 0 || (!set.has('text') && !this.#beta)) {
      const shown = list.slice(0, 8).map((name) => `'${name.slice(0, 40)}'`)
      throw new SessionFault(
        `Invalid modalities: [${shown.join(', ')}]. Supported combinations are: ['text'] and ['text', 'audio'].`,
        { param },
      )
    }
    if (speaks && !this.#model.speaks)
      throw new SessionFault(
        `The checkpoint '${this.#model.checkpoint}' loaded here has no speech output: set modalities to ["text"].`,
        { param },
      )
    return speaks
  }

  #inputRate(given: Json, format: Json | undefined): number | undefined {
    if (format !== undefined) {
      const type = fields.optional(z.string(), format['type'], 'session.audio.input.format.type', 'pcm') ?? 'pcm'
      if (type !== 'pcm' && type !== 'pcm16') throw fields.wrong('session.audio.input.format.type', 'pcm')
      const channels = fields.optional(z.int(), format['channels'], 'session.audio.input.format.channels', '1') ?? 1
      if (channels !== 1) throw fields.wrong('session.audio.input.format.channels', '1')
      const rate = fields.optional(z.int(), format['sample_rate'], 'session.audio.input.format.sample_rate', 'a number')
      if (rate !== undefined && ![8000, 16_000, 24_000, 48_000].includes(rate))
        throw fields.wrong('session.audio.input.format.sample_rate', '8000, 16000, 24000 or 48000')
      return rate
    }
    const name = fields.optional(z.string(), given['input_audio_format'], 'session.input_audio_format', 'pcm16')
    if (name === undefined) return undefined
    if (!['pcm', 'pcm16', 'pcm24'].includes(name)) throw fields.wrong('session.input_audio_format', 'pcm16')
    this.#inputFormat = name
    return undefined
  }

  #checkOutputFormat(given: Json, format: Json | undefined): void {
    const type = fields.optional(z.string(), format?.['type'], 'session.audio.output.format.type', 'pcm')
    if (type !== undefined && type !== 'pcm' && type !== 'pcm16' && type !== 'pcm24')
      throw fields.wrong('session.audio.output.format.type', 'pcm')
    const rate = fields.optional(z.int(), format?.['sample_rate'], 'session.audio.output.format.sample_rate', '24000')
    if (rate !== undefined && rate !== 24_000) throw fields.wrong('session.audio.output.format.sample_rate', '24000')
    const name = fields.optional(z.string(), given['output_audio_format'], 'session.output_audio_format', 'pcm24')
    if (name === undefined) return
    if (!['pcm', 'pcm16', 'pcm24'].includes(name))
      throw fields.wrong('session.output_audio_format', 'pcm24, pcm16 or pcm')
    this.#outputFormat = name
  }

  #detection(given: Json, config: SessionConfig): TurnDetection | undefined {
    if (!('turn_detection' in given)) return config.turnDetection
    const asked = fields.objectAt(given, 'turn_detection', 'session.turn_detection')
    if (asked === undefined || asked['type'] === 'none') return undefined
    return fields.turnDetectionOf(
      asked,
      config.turnDetection ?? this.initial.turnDetection ?? DEFAULT_DETECTION,
      'session.turn_detection',
    )
  }

  #transcribes(given: Json, config: SessionConfig): boolean {
    if (!('input_audio_transcription' in given)) return config.transcribes
    const asked = fields.objectAt(given, 'input_audio_transcription', 'session.input_audio_transcription')
    if (asked === undefined) {
      this.#transcriber = null
      return false
    }
    const name = fields.optional(z.string(), asked['model'], 'session.input_audio_transcription.model', 'a string')
    this.#transcriber = name ?? this.#transcriber ?? 'gummy-realtime-v1'
    return true
  }

  #maxTokens(given: Json, config: SessionConfig): number | undefined {
    for (const key of ['max_tokens', 'max_response_output_tokens', 'max_response_output_token']) {
      if (given[key] !== undefined && given[key] !== null) return fields.maxTokensOf(given[key], `session.${key}`)
    }
    return config.maxTokens
  }

  #image(event: Json): string {
    const text = fields.textAt(event, 'image', 'image')
    const base64 = text.replace(/^data:[^,]*,/, '')
    if (base64.length > Math.ceil(MAX_IMAGE_BYTES / 3) * 4)
      throw new SessionFault(`Invalid value: 'image' is over ${MAX_IMAGE_BYTES / 1024} KB; make the JPEG smaller.`, {
        param: 'image',
      })
    if (!this.#model.images)
      throw new SessionFault(`The checkpoint '${this.#model.checkpoint}' loaded here takes no images.`, {
        param: 'image',
      })
    return `data:;base64,${base64}`
  }

  #createItem(event: Json): SessionCommand {
    const given = fields.objectAt(event, 'item', 'item')
    if (given === undefined) throw fields.wrong('item', 'an object')
    const previous = fields.optional(z.string(), event['previous_item_id'], 'previous_item_id', 'a string')
    return { type: 'create-item', item: readItem(given), previousItemId: previous }
  }

  #overrides(given: Json | undefined): ReplyOverrides {
    if (given === undefined) return {}
    const instructions = fields.optional(z.string(), given['instructions'], 'response.instructions', 'a string')
    const speaks = this.#modalities(given['modalities'], 'response.modalities')
    const voice = fields.optional(z.string(), given['voice'], 'response.voice', 'a voice name')
    return {
      ...(instructions !== undefined && { instructions }),
      ...(speaks !== undefined && { speaks }),
      ...(voice !== undefined && { voice: fields.voiceOf(voice, this.#model, 'response.voice') }),
      ...(given['tools'] != null && { tools: fields.toolsOf(given['tools'], this.#model, 'response.tools') }),
      ...(given['tool_choice'] != null && {
        toolChoice: fields.toolChoiceOf(given['tool_choice'], 'response.tool_choice'),
      }),
      ...(given['conversation'] === 'none' && { outOfBand: true }),
    }
  }

  // ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────

  write(event: SessionEvent, names: SessionNames): readonly ServerEvent[] {
    switch (event.type) {
      case 'session-created':
        return [{ type: 'session.created', session: this.#session(event.config, names, false) }]
      case 'session-updated':
        return [{ type: 'session.updated', session: this.#session(event.config, names, true) }]
      case 'speech-started':
        return [{ type: 'input_audio_buffer.speech_started', audio_start_ms: event.at, item_id: event.itemId }]
      case 'speech-stopped':
        return [{ type: 'input_audio_buffer.speech_stopped', audio_end_ms: event.at, item_id: event.itemId }]
      case 'audio-committed':
        return [{ type: 'input_audio_buffer.committed', ...previousOf(event.previousItemId), item_id: event.itemId }]
      case 'audio-cleared':
        return [{ type: 'input_audio_buffer.cleared' }]
      case 'item-created':
        return [
          {
            type: 'conversation.item.created',
            ...previousOf(event.previousItemId),
            item: itemJson(event.item, 'opened'),
          },
        ]
      case 'item-retrieved':
        return [{ type: 'conversation.item.retrieved', item: itemJson(event.item, 'whole') }]
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
        return [outputEvent('response.output_item.added', event, 'opened')]
      case 'output-done':
        return [outputEvent('response.output_item.done', event, 'named')]
      case 'part-added':
        return [{ type: 'response.content_part.added', ...placeOf(event), part: { type: event.part, text: '' } }]
      case 'part-done':
        return [{ type: 'response.content_part.done', ...placeOf(event), part: { type: event.part, text: event.text } }]
      case 'text-delta':
        return [{ type: 'response.text.delta', ...placeOf(event), delta: event.delta }]
      case 'text-done':
        return [{ type: 'response.text.done', ...placeOf(event), text: event.text }]
      case 'transcript-delta':
        return [{ type: 'response.audio_transcript.delta', ...placeOf(event), delta: event.delta }]
      case 'transcript-done':
        return [{ type: 'response.audio_transcript.done', ...placeOf(event), transcript: event.text }]
      case 'audio-delta':
        return [{ type: 'response.audio.delta', ...placeOf(event), delta: base64Of(event.pcm) }]
      case 'audio-done':
        return [{ type: 'response.audio.done', ...placeOf(event) }]
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
        const { fault, eventId } = event
        const { type, code, param, message } = fault
        return [
          { type: 'error', error: { type, code, message, param, ...(eventId !== undefined && { event_id: eventId }) } },
        ]
      }
      case 'session-finished':
        return [{ type: 'session.finished' }]
      default:
        return event satisfies never
    }
  }

  #session(config: SessionConfig, { sessionId }: SessionNames, updated: boolean): Json {
    const { turnDetection: detection, sampling } = config
    return {
      id: sessionId,
      object: 'realtime.session',
      model: this.#model.name,
      modalities: config.speaks ? ['text', 'audio'] : ['text'],
      ...(updated && { instructions: config.instructions }),
      voice: config.voice,
      input_audio_format: this.#inputFormat,
      output_audio_format: this.#outputFormat,
      input_audio_transcription: config.transcribes ? { model: this.#transcriber } : null,
      turn_detection:
        detection === undefined
          ? null
          : {
              type: detection.type === 'server' ? 'server_vad' : 'semantic_vad',
              threshold: detection.threshold,
              prefix_padding_ms: detection.prefixPaddingMs,
              silence_duration_ms: detection.silenceMs,
              create_response: detection.createResponse,
              interrupt_response: detection.interruptResponse,
            },
      tools: config.tools.map((tool) =>
        this.#beta ? { type: 'function', ...tool } : { type: 'function', function: tool },
      ),
      tool_choice:
        typeof config.toolChoice === 'string' ? config.toolChoice : { type: 'function', ...config.toolChoice },
      temperature: sampling.temperature ?? 0.8,
      ...(updated && {
        max_response_output_tokens: config.maxTokens ?? 'inf',
        ...(sampling.topP !== undefined && { top_p: sampling.topP }),
        ...(sampling.topK !== undefined && { top_k: sampling.topK }),
        ...(sampling.presencePenalty !== undefined && { presence_penalty: sampling.presencePenalty }),
        ...(sampling.repetitionPenalty !== undefined && { repetition_penalty: sampling.repetitionPenalty }),
        seed: sampling.seed ?? -1,
        ...this.#extra,
      }),
    }
  }

  #response(reply: ReplyFacts, { conversationId }: SessionNames): Json {
    const done = reply.status !== 'in_progress'
    return {
      id: reply.id,
      object: 'realtime.response',
      conversation_id: conversationId,
      status: reply.status,
      ...(reply.reason !== undefined && {
        status_details: {
          type: reply.status,
          reason: reply.reason,
          ...(reply.message !== undefined && { error: { code: reply.reason, message: reply.message } }),
        },
      }),
      modalities: reply.speaks ? ['text', 'audio'] : ['text'],
      voice: reply.voice,
      output_audio_format: this.#outputFormat,
      output: done ? reply.output.map((item) => itemJson(item, 'whole')) : [],
      ...(reply.usage !== undefined && { usage: realtimeUsage(reply.usage) }),
    }
  }
}

function samplingOf(given: Json): SessionConfig['sampling'] {
  const number = (key: string, schema: z.ZodType<number>, expects: string): number | undefined =>
    fields.optional(schema, given[key], `session.${key}`, expects)
  const temperature = number('temperature', z.number().min(0).lt(2), 'a number from 0, under 2')
  const topP = number('top_p', z.number().gt(0).max(1), 'a number over 0, at most 1')
  const topK = number('top_k', z.int().min(0), 'a whole number, 0 or more')
  const presencePenalty = number('presence_penalty', z.number().min(-2).max(2), 'a number from -2 to 2')
  const repetitionPenalty = number('repetition_penalty', z.number().min(0), 'a number, 0 or more')
  const seed = number(
    'seed',
    z
      .int()
      .min(-1)
      .max(2 ** 31 - 1),
    'a whole number from -1 to 2147483647',
  )
  return {
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { topP }),
    ...(topK !== undefined && { topK }),
    ...(presencePenalty !== undefined && { presencePenalty }),
    // 0 and 1 both leave repetition alone.
    ...(repetitionPenalty !== undefined && { repetitionPenalty: repetitionPenalty === 0 ? 1 : repetitionPenalty }),
    ...(seed !== undefined && seed >= 0 && { seed }),
  }
}

/** An item as clients create it, in the spellings of both dialects. */
export function readItem(given: Json): GivenItem {
  const type = fields.optional(z.string(), given['type'], 'item.type', 'a string') ?? 'message'
  const id = fields.optional(z.string().min(1).max(128), given['id'], 'item.id', 'a string of at most 128 characters')
  const named = id === undefined ? {} : { id }
  switch (type) {
    case 'message': {
      const role = fields.valueOf(
        z.enum(['user', 'system', 'assistant']),
        given['role'],
        'item.role',
        'user, system or assistant',
      )
      const content = fields.valueOf(
        z.array(z.record(z.string(), z.unknown())).min(1),
        given['content'],
        'item.content',
        'a list of parts',
      )
      if (role === 'assistant') {
        const text = content
          .map((part) => part['text'] ?? part['transcript'])
          .filter((piece) => typeof piece === 'string')
          .join('')
        return { type: 'reply', ...named, text }
      }
      return {
        type: 'input',
        ...named,
        role,
        parts: content.map((part, index) => readPart(part, role, `item.content.${index}`)),
      }
    }
    case 'function_call':
      return {
        type: 'call',
        ...named,
        callId: fields.textAt(given, 'call_id', 'item.call_id'),
        name: fields.textAt(given, 'name', 'item.name'),
        arguments: fields.textAt(given, 'arguments', 'item.arguments'),
      }
    case 'function_call_output':
      return {
        type: 'call-output',
        ...named,
        callId: fields.textAt(given, 'call_id', 'item.call_id'),
        output: fields.textAt(given, 'output', 'item.output'),
      }
    default:
      throw fields.wrong('item.type', 'message, function_call or function_call_output')
  }
}

function readPart(part: Json, role: 'user' | 'system', param: string): GivenPart {
  switch (part['type']) {
    case 'input_text':
    case 'text':
      return { type: 'text', text: fields.textAt(part, 'text', `${param}.text`) }
    case 'input_audio':
      if (role === 'user') return { type: 'audio', samples: fields.audioAt(part, 'audio', `${param}.audio`) }
      break
    case 'input_image': {
      const source = fields.textAt(part, 'image_url', `${param}.image_url`)
      if (!source.startsWith('data:')) throw fields.wrong(`${param}.image_url`, 'a data URI')
      if (role === 'user') return { type: 'image', source }
      break
    }
    default:
  }
  throw fields.wrong(`${param}.type`, role === 'user' ? 'input_text, input_audio or input_image' : 'input_text')
}

/** `opened`: without its content where that is still to come. `named`: parts name their type only. */
function itemJson(item: Item, form: 'opened' | 'named' | 'whole'): Json {
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
          return { type: 'input_audio', ...(part.transcript !== undefined && { transcript: part.transcript }) }
        }),
      }
    case 'reply': {
      const part = item.spoken ? { type: 'audio', transcript: item.text } : { type: 'text', text: item.text }
      const content =
        form === 'opened' && item.status === 'in_progress' ? [] : [form === 'named' ? { type: part.type } : part]
      return { ...base, type: 'message', status: item.status, role: 'assistant', content }
    }
    case 'call':
      return {
        ...base,
        type: 'function_call',
        status: item.status,
        name: item.name,
        call_id: item.callId,
        arguments: form === 'opened' && item.status === 'in_progress' ? '' : item.arguments,
      }
    case 'call-output':
      return { ...base, type: 'function_call_output', status: 'completed', call_id: item.callId, output: item.output }
    default:
      return item satisfies never
  }
}

function previousOf(id: string | undefined): Json {
  return id === undefined ? {} : { previous_item_id: id }
}

function placeOf(event: { readonly replyId: string; readonly itemId: string; readonly index: number }): Json {
  return { response_id: event.replyId, item_id: event.itemId, output_index: event.index, content_index: 0 }
}

function callPlace(event: { readonly replyId: string; readonly itemId: string; readonly index: number }): Json {
  return { response_id: event.replyId, item_id: event.itemId, output_index: event.index }
}

function outputEvent(
  type: string,
  event: { readonly replyId: string; readonly index: number; readonly item: Item },
  form: 'opened' | 'named',
): ServerEvent {
  return { type, response_id: event.replyId, output_index: event.index, item: itemJson(event.item, form) }
}
