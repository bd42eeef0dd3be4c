/** A session's settings, neutral between the two dialects. Times in milliseconds. */
import type { ToolChoice, ToolDefinition } from '../contract/index.ts'
import type { TranscriptionHints } from './transcription-prompt.ts'

export interface TurnDetection {
  /** `semantic`: requires a longer silence after very short speech. */
  readonly type: 'server' | 'semantic'
  /** Probability of speech that starts a turn. */
  readonly threshold: number
  /** Audio before the first speech that is included in the turn. */
  readonly prefixPaddingMs: number
  /** Silence that ends a turn. */
  readonly silenceMs: number
  /** The client's setting in semantic mode from which `silenceMs` was derived. */
  readonly eagerness?: 'low' | 'medium' | 'high' | 'auto'
  /** Whether the end of a turn starts a reply. */
  readonly createResponse: boolean
  /** Whether the user's speech interrupts a running reply. */
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
  /** Sample rate of appended audio, hertz. */
  readonly inputRate: number
  /** Undefined: the client commits turns itself. */
  readonly turnDetection: TurnDetection | undefined
  readonly transcribes: boolean
  readonly transcription: TranscriptionHints
  readonly sampling: SessionSampling
  /** Most tokens of a reply. Undefined: the model's limit. */
  readonly maxTokens: number | undefined
  readonly tools: readonly ToolDefinition[]
  readonly toolChoice: ToolChoice
  readonly parallelToolCalls: boolean
}

/** Settings of one reply that differ from the session's. */
export interface ReplyOverrides {
  readonly instructions?: string
  readonly speaks?: boolean
  readonly voice?: string
  /** Present but undefined: the model's limit, instead of the session's. */
  readonly maxTokens?: number | undefined
  readonly sampling?: SessionSampling
  readonly parallelToolCalls?: boolean
  readonly tools?: readonly ToolDefinition[]
  readonly toolChoice?: ToolChoice
  /** The reply is not part of the conversation. */
  readonly outOfBand?: boolean
  /** Sent back with the reply. */
  readonly metadata?: Readonly<Record<string, string>>
}

/** The settings of one reply: the session's, with the reply's overrides. */
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
