/**
 * OpenAI's realtime dialect (general availability).
 *
 * In: client events. Out: server events. `conversation.item.added` announces an item, and `conversation.item.done`
 * completes it. Reference: the `openai` SDK's realtime types. docs/realtime.md lists what is not supported.
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
import { OPENAI_KEYS, ignoredKeys } from './known-keys.ts'
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

const RATE = 24_000

const PREFIXES = {
  session: 'sess',
  conversation: 'conv',
  item: 'item',
  response: 'resp',
  event: 'event',
  call: 'call',
} as const

export class OpenAiDialect implements Dialect, ClientSpelling, ServerSpelling {
  readonly model: SessionModel
  readonly initial: ReturnType<typeof initialConfig>
  readonly events: readonly ClientEventType[] = [
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
  ]
  readonly streams = {
    text: 'response.output_text',
    transcript: 'response.output_audio_transcript',
    audio: 'response.output_audio',
  }
  readonly joined = 'conversation.item.added'
  readonly doneForm = 'whole'
  readonly replyParts = { text: 'output_text', audio: 'output_audio' }
  readonly noTranscript = { transcript: null }
  readonly nulls = true
  readonly finished: readonly ServerEvent[] = []
  readonly #expiresAt: number
  #transcriber = 'whisper-1'

  /** `expiresAt`: when the session expires, Unix seconds. */
  constructor(model: SessionModel, expiresAt: number) {
    this.model = model
    this.#expiresAt = expiresAt
    this.initial = initialConfig(model, { inputRate: RATE, silenceMs: 500, transcribes: false })
  }

  newId(kind: keyof typeof PREFIXES): string {
    return `${PREFIXES[kind]}_${randomLetters(21)}`
  }

  read(event: Json, config: SessionConfig): SessionCommand {
    return readClientEvent(event, this, config)
  }

  ignored(event: Json): readonly string[] {
    return ignoredKeys(event, OPENAI_KEYS, this.model.name)
  }

  write(event: SessionEvent, names: SessionNames): readonly ServerEvent[] {
    return writeSessionEvent(event, this, names)
  }

  // ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

  settings(given: Json, config: SessionConfig): SessionConfig {
    if ('modalities' in given || 'input_audio_format' in given)
      throw new SessionFault(
        "This is the beta form of session.update: send the header 'OpenAI-Beta: realtime=v1', or use output_modalities and audio.input.format.",
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
    refuseUnsupported(given, 'session')
    checkWithoutEffect(given, input)
    return {
      ...config,
      ...commonSettings(given, config, this.model),
      voice: voice === undefined ? config.voice : this.#voice(voice, 'session.audio.output.voice'),
      speaks: this.#modalities(given['output_modalities'], 'session.output_modalities') ?? config.speaks,
      turnDetection: this.#detection(input, config),
      ...this.#transcription(input, config),
      ...limitAt(given, 'session', ['max_output_tokens']),
    }
  }

  /** In this dialect, an unknown voice does not close the session. */
  #voice(voice: string, param: string): string {
    try {
      return fields.voiceOf(voice, this.model, param)
    } catch (error) {
      if (error instanceof SessionFault) throw new SessionFault(error.message.replace(/^<400> [^:]*: /, ''), { param })
      throw error
    }
  }

  #modalities(given: unknown, param: string): boolean | undefined {
    if (given === undefined || given === null) return undefined
    const list = fields.valueOf(z.array(z.enum(['text', 'audio'])).min(1), given, param, '["text"] or ["audio"]')
    const speaks = list.includes('audio')
    checkSpeech(speaks, this.model, param, 'use ["text"]')
    return speaks
  }

  #detection(input: Json, config: SessionConfig): TurnDetection | undefined {
    if (!('turn_detection' in input)) return config.turnDetection
    const param = 'session.audio.input.turn_detection'
    const asked = fields.objectAt(input, 'turn_detection', param)
    if (asked === undefined) return undefined
    return fields.turnDetectionOf(asked, config.turnDetection ?? this.initial.turnDetection, param)
  }

  #transcription(input: Json, config: SessionConfig): Pick<SessionConfig, 'transcribes' | 'transcription'> {
    const param = 'session.audio.input.transcription'
    const { transcribes, transcription } = config
    if (!('transcription' in input)) return { transcribes, transcription }
    const asked = fields.objectAt(input, 'transcription', param)
    if (asked === undefined) return { transcribes: false, transcription: {} }
    const name = fields.optional(z.string(), asked['model'], `${param}.model`, 'a string')
    const hints = transcriptionHints(asked, param)
    this.#transcriber = name ?? this.#transcriber
    return { transcribes: true, transcription: hints }
  }

  overrides(given: Json, config: SessionConfig): ReplyOverrides {
    const audio = fields.objectAt(given, 'audio', 'response.audio') ?? {}
    const output = fields.objectAt(audio, 'output', 'response.audio.output') ?? {}
    const speaks = this.#modalities(given['output_modalities'], 'response.output_modalities')
    const name = fields.optional(z.string(), output['voice'], 'response.audio.output.voice', 'a voice name')
    const voice = name === undefined ? undefined : this.#voice(name, 'response.audio.output.voice')
    checkFormat(fields.objectAt(output, 'format', 'response.audio.output.format'), 'response.audio.output.format')
    refuseUnsupported(given, 'response')
    return {
      ...commonOverrides(given, this.model, config, { speaks, voice }),
      ...limitAt(given, 'response', ['max_output_tokens']),
    }
  }

  // ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────

  part(type: PartType, text: string): Json {
    return type === 'audio' ? { type, transcript: text } : { type, text }
  }

  session(config: SessionConfig, { sessionId }: SessionNames): Json {
    const { turnDetection: detection } = config
    return {
      type: 'realtime',
      object: 'realtime.session',
      id: sessionId,
      model: this.model.name,
      output_modalities: [config.speaks ? 'audio' : 'text'],
      instructions: config.instructions,
      tools: config.tools.map((tool) => ({ type: 'function', ...tool })),
      tool_choice: toolChoiceJson(config.toolChoice),
      parallel_tool_calls: config.parallelToolCalls,
      max_output_tokens: config.maxTokens ?? 'inf',
      tracing: null,
      prompt: null,
      truncation: 'auto',
      expires_at: this.#expiresAt,
      audio: {
        input: {
          format: { type: 'audio/pcm', rate: RATE },
          transcription: config.transcribes ? { model: this.#transcriber, ...config.transcription } : null,
          noise_reduction: null,
          turn_detection: detection === undefined ? null : detectionJson(detection, { idle_timeout_ms: null }),
        },
        output: { format: { type: 'audio/pcm', rate: RATE }, voice: config.voice, speed: 1 },
      },
      include: null,
    }
  }

  response(reply: ReplyFacts, { conversationId }: SessionNames): Json {
    return {
      object: 'realtime.response',
      id: reply.id,
      status: reply.status,
      status_details: statusDetails(reply),
      output: reply.status === 'in_progress' ? [] : reply.output.map((item) => itemJson(item, 'whole', this)),
      conversation_id: conversationId,
      output_modalities: [reply.speaks ? 'audio' : 'text'],
      audio: { output: { format: { type: 'audio/pcm', rate: RATE }, voice: reply.voice } },
      usage: reply.usage === undefined ? null : realtimeUsage(reply.usage, 'token'),
      metadata: reply.metadata ?? null,
    }
  }
}

/** Refuses unsupported settings that would change replies. @throws SessionFault */
function refuseUnsupported(asked: Json, owner: 'session' | 'response'): void {
  if (asked['prompt'] != null) throw fields.wrong(`${owner}.prompt`, 'absent: stored prompts are not supported')
  if (asked['reasoning'] != null)
    throw fields.wrong(`${owner}.reasoning`, 'absent: reasoning is not supported in spoken replies')
  if (owner === 'response') return
  const include = fields.optional(z.array(z.string()), asked['include'], 'session.include', 'a list')
  if (include !== undefined && include.length > 0)
    throw fields.wrong('session.include', 'empty: a transcript has no logprobs')
  if (asked['truncation'] != null && asked['truncation'] !== 'auto')
    throw fields.wrong('session.truncation', 'auto: only the removal of the oldest turns is supported')
}

/** Validates settings that have no effect: the session reports null for them. @throws SessionFault for wrong values */
function checkWithoutEffect(asked: Json, input: Json): void {
  const tracing = z.union([z.literal('auto'), z.record(z.string(), z.unknown())])
  fields.optional(tracing, asked['tracing'], 'session.tracing', 'auto, an object or null')
  const noise = z.object({ type: z.enum(['near_field', 'far_field']) })
  const param = 'session.audio.input.noise_reduction'
  fields.optional(noise, input['noise_reduction'], param, '{"type": "near_field"}, {"type": "far_field"} or null')
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
