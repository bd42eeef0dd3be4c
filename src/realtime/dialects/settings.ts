/** Settings of sessions and replies that have the same names in both dialects: read from clients, and sent back. */
import { z } from 'zod'
import type { ToolChoice } from '../../contract/index.ts'
import type { ReplyOverrides, SessionConfig, TurnDetection } from '../config.ts'
import { SessionFault } from '../fault.ts'
import { languageName, type TranscriptionHints } from '../transcription-prompt.ts'
import type { SessionModel } from './dialect.ts'
import * as fields from './fields.ts'
import type { Json } from './fields.ts'

export interface InitialSettings {
  /** Sample rate of appended audio, hertz. */
  readonly inputRate: number
  /** Silence that ends a turn, milliseconds. */
  readonly silenceMs: number
  readonly transcribes: boolean
}

/** The settings of a new session. */
export function initialConfig(model: SessionModel, { inputRate, silenceMs, transcribes }: InitialSettings) {
  return {
    instructions: '',
    voice: model.defaultVoice,
    speaks: model.speaks,
    inputRate,
    turnDetection: {
      type: 'server',
      threshold: 0.5,
      prefixPaddingMs: 300,
      silenceMs,
      createResponse: true,
      interruptResponse: true,
    },
    transcribes,
    transcription: {},
    sampling: {},
    maxTokens: undefined,
    tools: [],
    toolChoice: 'auto',
    parallelToolCalls: true,
  } as const satisfies SessionConfig
}

/** Settings of `session.update`. A value that is absent or null leaves the setting unchanged. @throws SessionFault */
export function commonSettings(
  given: Json,
  config: SessionConfig,
  model: SessionModel,
): Pick<SessionConfig, 'instructions' | 'tools' | 'toolChoice' | 'parallelToolCalls'> {
  const instructions = fields.optional(z.string(), given['instructions'], 'session.instructions', 'a string')
  const tools = given['tools'] == null ? config.tools : fields.toolsOf(given['tools'], model, 'session.tools')
  const toolChoice =
    given['tool_choice'] == null ? config.toolChoice : fields.toolChoiceOf(given['tool_choice'], 'session.tool_choice')
  fields.checkToolChoice(toolChoice, tools, 'session.tool_choice')
  const parallel = parallelAt(given, 'session')
  return {
    instructions: instructions ?? config.instructions,
    tools,
    toolChoice,
    parallelToolCalls: parallel ?? config.parallelToolCalls,
  }
}

/** Settings of `response.create`. The dialects read `speaks` and `voice` themselves. @throws SessionFault */
export function commonOverrides(
  given: Json,
  model: SessionModel,
  config: SessionConfig,
  { speaks, voice }: { readonly speaks: boolean | undefined; readonly voice: string | undefined },
): ReplyOverrides {
  const instructions = fields.optional(z.string(), given['instructions'], 'response.instructions', 'a string')
  const tools = given['tools'] == null ? undefined : fields.toolsOf(given['tools'], model, 'response.tools')
  const toolChoice =
    given['tool_choice'] == null ? undefined : fields.toolChoiceOf(given['tool_choice'], 'response.tool_choice')
  fields.checkToolChoice(toolChoice ?? config.toolChoice, tools ?? config.tools, 'response.tool_choice')
  const parallelToolCalls = parallelAt(given, 'response')
  const conversations = z.enum(['auto', 'none'])
  const conversation = fields.optional(conversations, given['conversation'], 'response.conversation', 'auto or none')
  const strings = z.record(z.string(), z.string())
  const metadata = fields.optional(strings, given['metadata'], 'response.metadata', 'an object of strings')
  return {
    ...(instructions !== undefined && { instructions }),
    ...(speaks !== undefined && { speaks }),
    ...(voice !== undefined && { voice }),
    ...(tools !== undefined && { tools }),
    ...(toolChoice !== undefined && { toolChoice }),
    ...(parallelToolCalls !== undefined && { parallelToolCalls }),
    ...(conversation === 'none' && { outOfBand: true }),
    ...(metadata !== undefined && { metadata }),
  }
}

function parallelAt(given: Json, owner: string): boolean | undefined {
  return fields.optional(z.boolean(), given['parallel_tool_calls'], `${owner}.parallel_tool_calls`, 'true or false')
}

/** A reply's token limit under the first of `keys` that has a value. Undefined when none has. @throws SessionFault */
export function limitAt(
  given: Json,
  owner: string,
  keys: readonly string[],
): { readonly maxTokens: number | undefined } | undefined {
  const key = keys.find((name) => given[name] !== undefined && given[name] !== null)
  return key === undefined ? undefined : { maxTokens: fields.maxTokensOf(given[key], `${owner}.${key}`) }
}

/** Hints in a client's transcription settings. @throws SessionFault */
export function transcriptionHints(asked: Json, param: string): TranscriptionHints {
  const language = fields.optional(z.string(), asked['language'], `${param}.language`, 'a string')
  if (language !== undefined && languageName(language) === undefined)
    throw fields.wrong(`${param}.language`, 'an ISO 639-1 code, such as "en"')
  const prompt = fields.optional(z.string(), asked['prompt'], `${param}.prompt`, 'a string')
  return { language, prompt }
}

/** @throws SessionFault if a reply should speak and the checkpoint has no speech. `fix` names a valid setting. */
export function checkSpeech(speaks: boolean, model: SessionModel, param: string, fix: string): void {
  if (!speaks || model.speaks) return
  throw new SessionFault(`The checkpoint '${model.checkpoint}' loaded here has no speech output: ${fix}.`, { param })
}

export function detectionJson(detection: TurnDetection, more: Json = {}): Json {
  return {
    type: detection.type === 'server' ? 'server_vad' : 'semantic_vad',
    threshold: detection.threshold,
    prefix_padding_ms: detection.prefixPaddingMs,
    silence_duration_ms: detection.silenceMs,
    ...(detection.eagerness !== undefined && { eagerness: detection.eagerness }),
    ...more,
    create_response: detection.createResponse,
    interrupt_response: detection.interruptResponse,
  }
}

export function toolChoiceJson(choice: ToolChoice): unknown {
  return typeof choice === 'string' ? choice : { type: 'function', ...choice }
}
