/** What one event of a peer's stream adds to a reply, whatever the peer's format. */

export interface ReplyDelta {
  readonly text?: string
  readonly reasoning?: string
  /** The peer generated a token without text yet, such as the first half of a character. */
  readonly silentToken?: boolean
  /** 24 kHz mono, little-endian 16 bit; with or without a RIFF header. */
  readonly audio?: Uint8Array
  readonly toolCalls?: readonly ToolCallPiece[]
  readonly finish?: {
    readonly reason: 'stop' | 'length' | 'tool_calls'
    /** The end token was generated and counted by the peer. Unknown: true. */
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

/** Tokens as the peer counts them. */
export interface PeerUsage {
  readonly prompt: number
  /** Text, reasoning and the end token together. */
  readonly completion: number
  readonly promptParts?: {
    readonly text?: number
    readonly image?: number
    readonly audio?: number
    readonly video?: number
  }
  readonly cached?: number
  /** Counted separately by the peer; then `completion` is not used. */
  readonly parts?: { readonly text: number; readonly reasoning: number; readonly audio: number }
}
