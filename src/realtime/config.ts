/** A session's settings, neutral between the two dialects. Times in milliseconds. */
import type { ToolChoice, ToolDefinition } from '../contract/index.ts'

export interface TurnDetection {
  /** `semantic`: waits longer where the user has said very little. */
  readonly type: 'server' | 'semantic'
  /** Probability of speech that opens a turn. */
  readonly threshold: number
  /** Audio before the first speech that belongs to the turn. */
  readonly prefixPaddingMs: number
  /** Silence that ends a turn. */
  readonly silenceMs: number
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
  readonly sampling: SessionSampling
  /** Undefined: no limit of its own. */
  readonly maxTokens: number | undefined
  readonly tools: readonly ToolDefinition[]
  readonly toolChoice: ToolChoice
}

/** One reply's settings that differ from its session's. */
export interface ReplyOverrides {
  readonly instructions?: string
  readonly speaks?: boolean
  readonly voice?: string
  readonly maxTokens?: number
  readonly tools?: readonly ToolDefinition[]
  readonly toolChoice?: ToolChoice
  /** The reply is not part of the conversation. */
  readonly outOfBand?: boolean
  /** Returned with the reply. */
  readonly metadata?: Readonly<Record<string, string>>
}
