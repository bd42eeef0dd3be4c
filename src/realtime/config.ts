/** What a session is set to: neutral between the two dialects. Times in milliseconds. */
import type { ToolChoice, ToolDefinition } from '../contract/index.ts'

export interface TurnDetection {
  /** `semantic`: waits longer where the user has hardly said anything. */
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
  /** Undefined: as many as the model gives. */
  readonly maxTokens: number | undefined
  readonly tools: readonly ToolDefinition[]
  readonly toolChoice: ToolChoice
}

/** What one reply is asked to do otherwise than its session. */
export interface ReplyOverrides {
  readonly instructions?: string
  readonly speaks?: boolean
  readonly voice?: string
  readonly maxTokens?: number
  readonly tools?: readonly ToolDefinition[]
  readonly toolChoice?: ToolChoice
  /** The reply is no part of the conversation. */
  readonly outOfBand?: boolean
  /** Sent back with the reply. */
  readonly metadata?: Readonly<Record<string, string>>
}
