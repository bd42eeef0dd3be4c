/** What one event of a peer's stream adds to a reply, in a format common to all peers. */

export interface ReplyDelta {
  readonly text?: string
  readonly reasoning?: string
  /** The peer generated a token without complete text, such as the first part of a character. */
  readonly silentToken?: boolean
  /** 24 kHz mono, 16-bit little-endian PCM, with or without a RIFF header. */
  readonly audio?: Uint8Array
  readonly toolCalls?: readonly ToolCallPiece[]
  readonly finish?: {
    readonly reason: 'stop' | 'length' | 'tool_calls'
    /** Whether the peer generated and counted an end token. If unknown: true. */
    readonly endToken: boolean
  }
  readonly usage?: PeerUsage
}

export interface ToolCallPiece {
  readonly index: number
  readonly id?: string
  readonly name?: string
  readonly arguments: string
}

/** Tokens counted by the peer. */
export interface PeerUsage {
  readonly prompt: number
  /** Text, reasoning and the end token. */
  readonly completion: number
  readonly promptParts?: {
    readonly text?: number
    readonly image?: number
    readonly audio?: number
    readonly video?: number
  }
  readonly cached?: number
  /** Counts by kind, if the peer reports them. They are used in place of `completion`. */
  readonly parts?: { readonly text: number; readonly reasoning: number; readonly audio: number }
}
