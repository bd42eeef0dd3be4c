/** The events of a reply, with the token counts for accounting. */

/** Prompt tokens of the loaded checkpoint, including placeholders and markers. Absent: unknown. */
export interface PromptUsage {
  readonly total: number
  readonly text?: number
  readonly image?: number
  readonly audio?: number
  readonly video?: number
  /** The part of `total` reused from the prefix cache. */
  readonly cached?: number
}

/** Tokens generated so far. Absent: unknown. */
export interface ReplyCounts {
  /** Answer tokens of the thinker, including tool calls, without the end token. */
  readonly textTokens?: number
  /** Tokens inside the reasoning block. */
  readonly reasoningTokens?: number
  /** Codec frames generated. */
  readonly audioTokens?: number
}

export interface EngineUsage extends ReplyCounts {
  readonly prompt?: PromptUsage
}

/** Why a reply ended: by its end token or a stop string, at a limit, or with tool calls. */
export type EndReason = 'stop' | 'length' | 'tool_calls'

/** `counts` are cumulative, so that the usage of an interrupted reply is known. */
export type EngineEvent =
  /** Always the first event: the request is validated, tokenized and admitted. An error before it has no output. */
  | {
      readonly type: 'start'
      readonly prompt?: PromptUsage
      /** Name of the replica, if there are several. */
      readonly servedBy?: string
    }
  | { readonly type: 'reasoning-delta'; readonly text: string; readonly counts?: ReplyCounts }
  | { readonly type: 'text-delta'; readonly text: string; readonly counts?: ReplyCounts }
  /**
   * A piece of tool call number `index`. The first piece has the id and the name. The concatenated arguments are JSON
   * text.
   */
  | {
      readonly type: 'tool-call-delta'
      readonly index: number
      readonly id?: string
      readonly name?: string
      readonly arguments: string
      readonly counts?: ReplyCounts
    }
  /** 24 kHz mono, at least one sample. The concatenated pieces are the reply's audio. */
  | { readonly type: 'audio-delta'; readonly pcm: Int16Array; readonly counts?: ReplyCounts }
  | { readonly type: 'end'; readonly reason: EndReason; readonly usage: EngineUsage }
