/**
 * Events and commands of a session, independent of the dialect. The dialects in `dialects/` convert them to and from
 * JSON.
 */
import type { Usage } from '../protocol/index.ts'
import type { ReplyOverrides, SessionConfig } from './config.ts'
import type { Item } from './conversation.ts'
import type { SessionFault } from './fault.ts'

export type ReplyStatus = 'in_progress' | 'completed' | 'cancelled' | 'incomplete' | 'failed'

export interface ReplyFacts {
  readonly id: string
  readonly status: ReplyStatus
  readonly speaks: boolean
  readonly voice: string
  readonly output: readonly Item[]
  readonly usage: Usage | undefined
  /** Why it ended early: `turn_detected`, `client_cancelled`, `max_output_tokens`, or the code of an error. */
  readonly reason: string | undefined
  /** The error message. */
  readonly message: string | undefined
  readonly metadata: Readonly<Record<string, string>> | undefined
}

/** A position in a reply. */
export interface OutputPlace {
  readonly replyId: string
  readonly itemId: string
  /** Index of the output item. */
  readonly index: number
}

export type PartType = 'text' | 'audio'

/** Times in milliseconds since the session's first sample. */
export type SessionEvent =
  | { readonly type: 'session-created' | 'session-updated'; readonly config: SessionConfig }
  | { readonly type: 'speech-started' | 'speech-stopped'; readonly itemId: string; readonly at: number }
  | { readonly type: 'audio-committed'; readonly itemId: string; readonly previousItemId: string | undefined }
  | { readonly type: 'audio-cleared' }
  | { readonly type: 'item-created'; readonly item: Item; readonly previousItemId: string | undefined }
  | { readonly type: 'item-retrieved'; readonly item: Item }
  | { readonly type: 'item-deleted'; readonly itemId: string }
  | { readonly type: 'item-truncated'; readonly itemId: string; readonly audioEndMs: number }
  | { readonly type: 'transcription-completed'; readonly itemId: string; readonly transcript: string }
  | { readonly type: 'transcription-failed'; readonly itemId: string; readonly message: string }
  | { readonly type: 'reply-created' | 'reply-done'; readonly reply: ReplyFacts }
  | ({ readonly type: 'output-added' | 'output-done'; readonly item: Item } & Omit<OutputPlace, 'itemId'>)
  | ({ readonly type: 'part-added'; readonly part: PartType } & OutputPlace)
  | ({ readonly type: 'part-done'; readonly part: PartType; readonly text: string } & OutputPlace)
  | ({ readonly type: 'text-delta' | 'transcript-delta'; readonly delta: string } & OutputPlace)
  | ({ readonly type: 'text-done' | 'transcript-done'; readonly text: string } & OutputPlace)
  /** 24 kHz mono. */
  | ({ readonly type: 'audio-delta'; readonly pcm: Int16Array } & OutputPlace)
  | ({ readonly type: 'audio-done' } & OutputPlace)
  | ({ readonly type: 'call-delta'; readonly callId: string; readonly delta: string } & OutputPlace)
  | ({
      readonly type: 'call-done'
      readonly callId: string
      readonly name: string
      readonly arguments: string
    } & OutputPlace)
  | { readonly type: 'fault'; readonly fault: SessionFault; readonly eventId: string | undefined }
  | { readonly type: 'session-finished' }

/** A part of a message item that a client creates. */
export type ClientPart =
  | { readonly type: 'text'; readonly text: string }
  /** Mono PCM at the session's input rate. */
  | { readonly type: 'audio'; readonly samples: Float32Array }
  /** A data URI. */
  | { readonly type: 'image'; readonly source: string }

export type ClientItem =
  | {
      readonly type: 'input'
      readonly role: 'user' | 'system'
      readonly id?: string
      readonly parts: readonly ClientPart[]
    }
  | { readonly type: 'reply'; readonly id?: string; readonly text: string }
  | {
      readonly type: 'call'
      readonly id?: string
      readonly callId: string
      readonly name: string
      readonly arguments: string
    }
  | { readonly type: 'call-output'; readonly id?: string; readonly callId: string; readonly output: string }

/** An item of a reply's own input. `reference`: an item of the session's conversation. */
export type ReplyInput = ClientItem | { readonly type: 'reference'; readonly itemId: string }

export type SessionCommand =
  | { readonly type: 'update'; readonly config: SessionConfig }
  /** Mono PCM at the session's input rate, in [-1, 1]. */
  | { readonly type: 'append-audio'; readonly samples: Float32Array }
  | { readonly type: 'append-image'; readonly source: string }
  | { readonly type: 'commit' | 'clear' | 'finish' }
  | { readonly type: 'create-item'; readonly item: ClientItem; readonly previousItemId?: string | undefined }
  | { readonly type: 'delete-item' | 'retrieve-item'; readonly itemId: string }
  | { readonly type: 'truncate-item'; readonly itemId: string; readonly audioEndMs: number }
  /** `input` replaces the conversation for this reply. */
  | {
      readonly type: 'create-response'
      readonly overrides: ReplyOverrides
      readonly input?: readonly ReplyInput[] | undefined
    }
  | { readonly type: 'cancel-response'; readonly replyId?: string | undefined }
  /** A supported event without an effect. */
  | { readonly type: 'nothing' }
