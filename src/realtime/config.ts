/** A session's settings, neutral between the two dialects. Times in milliseconds. */
import type { ToolChoice, ToolDefinition } from '../contract/index.ts'
import type { TranscriptionHints } from './transcription-prompt.ts'

export interface TurnDetection {
  /** `semantic`: waits longer where the user has said very little. */
  readonly type: 'server' | 'semantic'
  /** Probability of speech that opens a turn. */
  readonly threshold: number
  /** Audio before the first speech that belongs to the turn. */
  readonly prefixPaddingMs: number
  /** Silence that ends a turn. */
  readonly silenceMs: number
  /** In words, as a client of semantic mode gave the silence. */
  readonly eagerness?: 'low' | 'medium' | 'high' | 'auto'
  /** A turn starts a reply. */
  readonly createResponse: boolean
  /** The user's speech ends a running reply. */
  readonly interruptResponse: boolean
}

export interface SessionSampling {
  readonly temperature?: number
  readonly topP?: number
  readonly topK?: number
  readonly presencePenalty?: number
  readonly repetitionPenalty?: number
  readonly seed?: number
}

export interface SessionConfig {
  readonly instructions: string
  readonly voice: string
  readonly speaks: boolean
  /** Of the audio that clients append, hertz. */
  readonly inputRate: number
  /** Undefined: the client ends turns itself. */
  readonly turnDetection: TurnDetection | undefined
  readonly transcribes: boolean
  readonly transcription: TranscriptionHints
  readonly sampling: SessionSampling
  /** Undefined: no limit of its own. */
  readonly maxTokens: number | undefined
  readonly tools: readonly ToolDefinition[]
  readonly toolChoice: ToolChoice
  readonly parallelToolCalls: boolean
}

/** One reply's settings that differ from its session's. */
export interface ReplyOverrides {
  readonly instructions?: string
  readonly speaks?: boolean
  readonly voice?: string
  /** There but undefined: no limit, whatever the session has. */
  readonly maxTokens?: number | undefined
  readonly sampling?: SessionSampling
  readonly parallelToolCalls?: boolean
  readonly tools?: readonly ToolDefinition[]
  readonly toolChoice?: ToolChoice
  /** The reply is not part of the conversation. */
  readonly outOfBand?: boolean
  /** Returned with the reply. */
  readonly metadata?: Readonly<Record<string, string>>
}

/** A session's settings with those of one reply. */
export function configFor(session: SessionConfig, overrides: ReplyOverrides): SessionConfig {
  const { instructions, speaks, voice, sampling, tools, toolChoice, parallelToolCalls } = overrides
  return {
    ...session,
    instructions: instructions ?? session.instructions,
    speaks: speaks ?? session.speaks,
    voice: voice ?? session.voice,
    maxTokens: 'maxTokens' in overrides ? overrides.maxTokens : session.maxTokens,
    sampling: { ...session.sampling, ...sampling },
    tools: tools ?? session.tools,
    toolChoice: toolChoice ?? session.toolChoice,
    parallelToolCalls: parallelToolCalls ?? session.parallelToolCalls,
  }
}
