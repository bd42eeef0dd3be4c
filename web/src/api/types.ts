/**
 * The playground's part of the wire: requests and replies. The server's lists are typed by `src/protocol`.
 *
 * Reference: the Qwen-Omni guide (December 2025), sections "Quick start" to "Multi-round conversation".
 */
import type { Usage } from '../../../src/protocol/usage.ts'

export type {
  Cost,
  ModelList,
  ModelListing,
  Ready,
  TokensCount,
  VoiceList,
  VoiceListing,
} from '../../../src/protocol/listing.ts'
export type { Usage } from '../../../src/protocol/usage.ts'

export type ContentPart =
  | { type: 'text'; text: string }
  | { type: 'image_url'; image_url: { url: string } }
  | { type: 'input_audio'; input_audio: { data: string; format?: string } }
  | { type: 'video'; video: string[]; fps?: number }
  | { type: 'video_url'; video_url: { url: string } }

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant'
  content: string | ContentPart[]
}

export interface ChatRequest {
  model: string
  messages: ChatMessage[]
  stream: true
  stream_options: { include_usage: true }
  modalities: ('text' | 'audio')[]
  audio?: { voice: string; format: 'wav' }
  enable_thinking?: boolean
  thinking_budget?: number
  temperature?: number
  top_p?: number
  top_k?: number
  presence_penalty?: number
  repetition_penalty?: number
  seed?: number
  max_tokens?: number
  stop?: string[]
}

export interface ChatChunk {
  id: string
  model: string
  choices: {
    delta: {
      role?: string
      content?: string | null
      reasoning_content?: string | null
      audio?: { data?: string; transcript?: string; id?: string; expires_at?: number } | null
    }
    finish_reason: string | null
  }[]
  usage: Usage | null
}

export interface ApiErrorBody {
  message: string
  type?: string | null
  code?: string | null
  param?: string | null
}
