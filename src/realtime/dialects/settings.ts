/** Settings of sessions and replies that both dialects spell alike: read from clients, and sent back. */
import { z } from 'zod'
import type { ToolChoice } from '../../contract/index.ts'
import type { ReplyOverrides, SessionConfig, TurnDetection } from '../config.ts'
import { SessionFault } from '../fault.ts'
import type { SessionModel } from './dialect.ts'
import * as fields from './fields.ts'
import type { Json } from './fields.ts'

export interface InitialSettings {
  /** Of the audio that clients append, hertz. */
  readonly inputRate: number
  /** Silence that ends a turn, milliseconds. */
  readonly silenceMs: number
  readonly transcribes: boolean
}

/** What a session begins with. */
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
    sampling: {},
    maxTokens: undefined,
    tools: [],
    toolChoice: 'auto',
  } as const satisfies SessionConfig
}

/** Absent and null keep what is set. */
export function commonSettings(
  given: Json,
  config: SessionConfig,
  model: SessionModel,
): Pick<SessionConfig, 'instructions' | 'tools' | 'toolChoice'> {
  const instructions = fields.optional(z.string(), given['instructions'], 'session.instructions', 'a string')
  const tools = given['tools'] == null ? config.tools : fields.toolsOf(given['tools'], model, 'session.tools')
  const toolChoice =
    given['tool_choice'] == null ? config.toolChoice : fields.toolChoiceOf(given['tool_choice'], 'session.tool_choice')
  fields.checkToolChoice(toolChoice, tools, 'session.tool_choice')
  return { instructions: instructions ?? config.instructions, tools, toolChoice }
}

/** `speaks` and `voice` are spelled differently, and so come read. */
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
  return {
    ...(instructions !== undefined && { instructions }),
    ...(speaks !== undefined && { speaks }),
    ...(voice !== undefined && { voice }),
    ...(tools !== undefined && { tools }),
    ...(toolChoice !== undefined && { toolChoice }),
    ...(given['conversation'] === 'none' && { outOfBand: true }),
  }
}

/** @throws SessionFault where speech is asked of a checkpoint that has none; `fix` says what to ask for. */
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
    ...more,
    create_response: detection.createResponse,
    interrupt_response: detection.interruptResponse,
  }
}

export function toolChoiceJson(choice: ToolChoice): unknown {
  return typeof choice === 'string' ? choice : { type: 'function', ...choice }
}
