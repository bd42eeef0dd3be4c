/**
 * DashScope's realtime dialect, and OpenAI's beta dialect, which has the same form.
 *
 * In: client events of the qwen3-omni-flash guides, and names from later guides. Out: server events of the flash
 * guides. Reference: Model Studio's client-events, server-events and realtime guide (December 2025), the official SDKs;
 * docs/realtime.md.
 */
import { z } from 'zod'
import type { ReplyOverrides, SessionConfig, TurnDetection } from '../config.ts'
import type { PartType, ReplyFacts, SessionCommand, SessionEvent } from '../events.ts'
import { SessionFault } from '../fault.ts'
import { type ClientEventType, type ClientSpelling, readClientEvent } from './client-events.ts'
import { type Dialect, randomLetters, type ServerEvent, type SessionModel, type SessionNames } from './dialect.ts'
import * as fields from './fields.ts'
import type { Json } from './fields.ts'
import { itemJson } from './items.ts'
import { DASHSCOPE_KEYS, ignoredKeys } from './known-keys.ts'
import { type ServerSpelling, writeSessionEvent } from './server-events.ts'
import {
  checkSpeech,
  commonOverrides,
  commonSettings,
  detectionJson,
  initialConfig,
  limitAt,
  toolChoiceJson,
  transcriptionHints,
} from './settings.ts'
import { realtimeUsage } from './usage.ts'

const PREFIXES = { session: 'sess', conversation: 'conv', item: 'item', response: 'resp', event: 'event' } as const

/** Names of a reply's token limit in the flash guides' tables, in their examples, and in OpenAI's API. */
const LIMITS = ['max_tokens', 'max_response_output_tokens', 'max_response_output_token', 'max_output_tokens'] as const

/** Audio formats in the flash guides and in later ones. */
const PCM_NAMES: readonly string[] = ['pcm', 'pcm16', 'pcm24']

export interface DashScopeOptions {
  readonly model: SessionModel
  /** OpenAI's beta dialect: 24 kHz input, and different rules for `modalities`. */
  readonly beta?: boolean
}

export class DashScopeDialect implements Dialect, ClientSpelling, ServerSpelling {
  readonly model: SessionModel
  readonly initial: ReturnType<typeof initialConfig>
  readonly events: readonly ClientEventType[] = [
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
  ]
  readonly streams = { text: 'response.text', transcript: 'response.audio_transcript', audio: 'response.audio' }
  readonly joined = 'conversation.item.created'
  readonly doneForm = 'named'
  readonly replyParts = { text: 'text', audio: 'audio' }
  readonly noTranscript = {}
  readonly nulls = false
  readonly finished: readonly ServerEvent[] = [{ type: 'session.finished' }]
  readonly #beta: boolean
  /** Values as the client wrote them, to be sent back. */
  #inputFormat: string = 'pcm16'
  #outputFormat: string
  #transcriber: string | null
  #extra: Record<string, unknown> = {}

  constructor({ model, beta = false }: DashScopeOptions) {
    this.model = model
    this.#beta = beta
    this.#outputFormat = beta ? 'pcm16' : 'pcm24'
    this.#transcriber = beta ? null : 'gummy-realtime-v1'
    const initial = { inputRate: beta ? 24_000 : 16_000, silenceMs: beta ? 500 : 800, transcribes: !beta }
    this.initial = initialConfig(model, initial)
  }

  newId(kind: keyof typeof PREFIXES | 'call'): string {
    if (kind === 'call') return `call_${Buffer.from(crypto.getRandomValues(new Uint8Array(12))).toString('hex')}`
    return `${PREFIXES[kind]}_${randomLetters(21)}`
  }

  read(event: Json, config: SessionConfig): SessionCommand {
    return readClientEvent(event, this, config)
  }

  ignored(event: Json): readonly string[] {
    return ignoredKeys(event, DASHSCOPE_KEYS, this.model.name)
  }

  write(event: SessionEvent, names: SessionNames): readonly ServerEvent[] {
    return writeSessionEvent(event, this, names)
  }

  // ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Null leaves a setting unchanged, except where it means "off". */
  settings(given: Json, config: SessionConfig): SessionConfig {
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
      ...commonSettings(given, config, this.model),
      voice: voice === undefined ? config.voice : fields.voiceOf(voice, this.model, voiceParam),
      speaks: speaks ?? config.speaks,
      inputRate: this.#inputRate(given, input) ?? config.inputRate,
      turnDetection: this.#detection(given, config),
      ...this.#transcription(given, config),
      sampling: { ...config.sampling, ...samplingOf(given, 'session') },
      ...limitAt(given, 'session', LIMITS),
    }
    if (given['enable_search'] === true)
      throw new SessionFault('This model does not support enable_search.', { param: 'session.enable_search' })
    this.#checkOutputFormat(given, fields.objectAt(output, 'format', 'session.audio.output.format'))
    if ('smooth_output' in given) {
      const smooth = fields.optional(
        z.boolean(),
        given['smooth_output'],
        'session.smooth_output',
        'true, false or null',
      )
      this.#extra['smooth_output'] = smooth ?? null
    }
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
    checkSpeech(speaks, this.model, param, 'set modalities to ["text"]')
    return speaks
  }

  #inputRate(given: Json, format: Json | undefined): number | undefined {
    if (format !== undefined) {
      const type = fields.optional(z.string(), format['type'], 'session.audio.input.format.type', 'pcm') ?? 'pcm'
      if (type !== 'pcm' && type !== 'pcm16') throw fields.wrong('session.audio.input.format.type', 'pcm')
      const channels = fields.optional(z.int(), format['channels'], 'session.audio.input.format.channels', '1') ?? 1
      if (channels !== 1) throw fields.wrong('session.audio.input.format.channels', '1')
      return rateOf(format['sample_rate'], 'session.audio.input.format.sample_rate')
    }
    const name = fields.optional(z.string(), given['input_audio_format'], 'session.input_audio_format', 'pcm16')
    if (name !== undefined && !PCM_NAMES.includes(name)) throw fields.wrong('session.input_audio_format', 'pcm16')
    this.#inputFormat = name ?? this.#inputFormat
    // The field of the SDK's TranscriptionParams.
    return rateOf(given['sample_rate'], 'session.sample_rate')
  }

  #checkOutputFormat(given: Json, format: Json | undefined): void {
    const type = fields.optional(z.string(), format?.['type'], 'session.audio.output.format.type', 'pcm')
    if (type !== undefined && !PCM_NAMES.includes(type)) throw fields.wrong('session.audio.output.format.type', 'pcm')
    const rate = fields.optional(z.int(), format?.['sample_rate'], 'session.audio.output.format.sample_rate', '24000')
    if (rate !== undefined && rate !== 24_000) throw fields.wrong('session.audio.output.format.sample_rate', '24000')
    const name = fields.optional(z.string(), given['output_audio_format'], 'session.output_audio_format', 'pcm24')
    if (name === undefined) return
    if (!PCM_NAMES.includes(name)) throw fields.wrong('session.output_audio_format', 'pcm24, pcm16 or pcm')
    this.#outputFormat = name
  }

  #detection(given: Json, config: SessionConfig): TurnDetection | undefined {
    if (!('turn_detection' in given)) return config.turnDetection
    const asked = fields.objectAt(given, 'turn_detection', 'session.turn_detection')
    if (asked === undefined || asked['type'] === 'none') return undefined
    return fields.turnDetectionOf(asked, config.turnDetection ?? this.initial.turnDetection, 'session.turn_detection')
  }

  #transcription(given: Json, config: SessionConfig): Pick<SessionConfig, 'transcribes' | 'transcription'> {
    const param = 'session.input_audio_transcription'
    const { transcribes, transcription } = config
    if (!('input_audio_transcription' in given)) return { transcribes, transcription }
    const asked = fields.objectAt(given, 'input_audio_transcription', param)
    if (asked === undefined) {
      this.#transcriber = null
      return { transcribes: false, transcription: {} }
    }
    const name = fields.optional(z.string(), asked['model'], `${param}.model`, 'a string')
    const hints = transcriptionHints(asked, param)
    this.#transcriber = name ?? this.#transcriber ?? 'gummy-realtime-v1'
    return { transcribes: true, transcription: hints }
  }

  overrides(given: Json, config: SessionConfig): ReplyOverrides {
    const speaks = this.#modalities(given['modalities'], 'response.modalities')
    const name = fields.optional(z.string(), given['voice'], 'response.voice', 'a voice name')
    const voice = name === undefined ? undefined : fields.voiceOf(name, this.model, 'response.voice')
    const format = fields.optional(z.string(), given['output_audio_format'], 'response.output_audio_format', 'pcm24')
    if (format !== undefined && !PCM_NAMES.includes(format))
      throw fields.wrong('response.output_audio_format', 'pcm24, pcm16 or pcm')
    const sampling = samplingOf(given, 'response')
    return {
      ...commonOverrides(given, this.model, config, { speaks, voice }),
      ...limitAt(given, 'response', LIMITS),
      ...(Object.keys(sampling).length > 0 && { sampling }),
    }
  }

  // ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────

  part(type: PartType, text: string): Json {
    return { type, text }
  }

  session(config: SessionConfig, { sessionId }: SessionNames, updated: boolean): Json {
    const { turnDetection: detection, sampling } = config
    return {
      id: sessionId,
      object: 'realtime.session',
      model: this.model.name,
      modalities: config.speaks ? ['text', 'audio'] : ['text'],
      ...(updated && { instructions: config.instructions }),
      voice: config.voice,
      input_audio_format: this.#inputFormat,
      output_audio_format: this.#outputFormat,
      input_audio_transcription: config.transcribes ? { model: this.#transcriber, ...config.transcription } : null,
      turn_detection: detection === undefined ? null : detectionJson(detection),
      tools: config.tools.map((tool) =>
        this.#beta ? { type: 'function', ...tool } : { type: 'function', function: tool },
      ),
      tool_choice: toolChoiceJson(config.toolChoice),
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

  response(reply: ReplyFacts, { conversationId }: SessionNames): Json {
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
      output: done ? reply.output.map((item) => itemJson(item, 'whole', this)) : [],
      ...(reply.usage !== undefined && { usage: realtimeUsage(reply.usage, this.#beta ? 'token' : 'tokens') }),
    }
  }
}

function rateOf(given: unknown, param: string): number | undefined {
  const rate = fields.optional(z.int(), given, param, 'a number')
  if (rate !== undefined && ![8000, 16_000, 24_000, 48_000].includes(rate))
    throw fields.wrong(param, '8000, 16000, 24000 or 48000')
  return rate
}

function samplingOf(given: Json, owner: 'session' | 'response'): SessionConfig['sampling'] {
  const number = (key: string, schema: z.ZodType<number>, expects: string): number | undefined =>
    fields.optional(schema, given[key], `${owner}.${key}`, expects)
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
    // 0 and 1 both disable the penalty.
    ...(repetitionPenalty !== undefined && { repetitionPenalty: repetitionPenalty === 0 ? 1 : repetitionPenalty }),
    ...(seed !== undefined && seed >= 0 && { seed }),
  }
}
