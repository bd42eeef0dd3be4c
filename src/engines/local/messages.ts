/**
 * Messages between the server and an engine process over Node's IPC channel (structured clone, `serialization:
 * 'advanced'`).
 *
 * Numbers tell exchanges apart; they are the server's. The process asks for the media it needs; they come in slices, so
 * that neither side's event loop stalls on one large message.
 */

import type { EngineErrorCode, EngineEvent, EngineModel, GenerationRequest, PromptUsage } from '../../contract/index.ts'
import type { DiffusionOptions } from '../../models/index.ts'
import type { PackedMessage } from './request-packing.ts'
import type { RequestMetrics } from '../../runtime/request-metrics.ts'
import type { DeviceKind, GpuPrecision } from '../../tensor/index.ts'
import type { WeightTypeChoice } from '../../weights/index.ts'

/** What an engine process loads. Plain data: it crosses the process boundary. */
export interface LoadOptions {
  /** Folder of a checkpoint, or a file made by `omniserve convert`. */
  readonly checkpoint: string
  /** Name it is served under. */
  readonly id: string
  readonly device?: DeviceKind | 'auto'
  /** How precisely a GPU computes. Default `fast`. */
  readonly precision?: GpuPrecision
  /** Converts a folder's weights while loading; by default they keep their stored type. */
  readonly types?: WeightTypeChoice
  /**
   * Threads for the numeric library; by default all cores, and one for small checkpoints, which more threads only slow
   * down.
   */
  readonly threads?: number
  /** Requests that run at once. */
  readonly maxConcurrent?: number
  /** Requests waiting for a slot. */
  readonly maxWaiting?: number
  /** At most the checkpoint's own. */
  readonly contextLength?: number
  /** Most answer tokens a request may ask for. */
  readonly maxOutputTokens?: number
  /** Where repacked weights are kept. Absent: they are repacked at each start. */
  readonly cacheDirectory?: string
  /** False keeps weights as the file has them. Default: repacked for this processor where memory and disk allow. */
  readonly repack?: boolean
  /** Reserved memory in bytes that loading must leave free. */
  readonly keepFree?: number
  /** Most codec frames of one reply; by default the value of the checkpoint's generation_config.json. */
  readonly maxSpeechFrames?: number
  /** How a diffusion turns codes into audio, for families that have one. */
  readonly diffusion?: DiffusionOptions
  /** System texts that many requests begin with: prefilled once, where the context is at least `minContext`. */
  readonly systemPrompts?: readonly { readonly text: string; readonly minContext: number }[]
  /** Most finished sequences kept for later requests; 0 reuses nothing. */
  readonly maxCachedPrefixes?: number
  /** Most bytes of KV caches; by default a share of the free memory. */
  readonly cacheBytes?: number
  /** For parity tests: talker and code predictor greedy, `<think>` treated as text, caches and activations in f32. */
  readonly exact?: boolean
}

/** What a process has loaded. */
export interface LoadedModel {
  readonly model: Omit<EngineModel, 'voices'>
  /** Speakers of its talker, lower case; empty without speech. */
  readonly speakers: readonly string[]
  /** How its weights are held, and what would be faster and why it is not done, for people. */
  readonly placement?: { readonly chosen: string; readonly faster?: string }
}

/** A process's status; sent once a second. */
export interface ProcessBeat {
  readonly active: number
  readonly waiting: number
  /** Native memory of caches, weights and scratch. */
  readonly nativeBytes: number
  readonly residentBytes: number
  /** Longest time its event loop was blocked since the last beat, milliseconds. */
  readonly longestStallMs: number
}

export interface ErrorMessage {
  readonly code: EngineErrorCode
  readonly message: string
  readonly param?: string
  readonly retryable: boolean
  readonly retryAfterMs?: number
  readonly stack?: string
}

export type ToProcess =
  | { readonly type: 'load'; readonly options: LoadOptions }
  /** A decoded medium of a request, its arrays as stubs: their bytes follow in slices. */
  | { readonly type: 'medium'; readonly exchange: number; readonly index: number; readonly content: unknown }
  | { readonly type: 'slice'; readonly exchange: number; readonly index: number; readonly bytes: Uint8Array }
  | { readonly type: 'generate'; readonly exchange: number; readonly request: PackedRequest; readonly credit: number }
  | { readonly type: 'count'; readonly exchange: number; readonly request: PackedRequest }
  /** Audio begins to arrive; `request` is the one that will have it. An exchange of its own, which nothing answers. */
  | {
      readonly type: 'audio-open'
      readonly exchange: number
      readonly request: PackedRequest
      readonly prefills: boolean
    }
  | { readonly type: 'audio-append'; readonly exchange: number; readonly samples: Float32Array }
  | {
      readonly type: 'audio-may-end'
      readonly exchange: number
      readonly silence: number
      readonly contentKey: string
    }
  | { readonly type: 'audio-complete'; readonly exchange: number; readonly contentKey: string }
  /** It is of no more use. */
  | { readonly type: 'audio-drop'; readonly exchange: number }
  /** The server has read this many events more. */
  | { readonly type: 'credit'; readonly exchange: number; readonly events: number }
  | { readonly type: 'abort'; readonly exchange: number }
  | { readonly type: 'beat' }
  | { readonly type: 'close' }

export type FromProcess =
  | { readonly type: 'loaded'; readonly loaded: LoadedModel }
  | { readonly type: 'failed'; readonly error: ErrorMessage }
  | { readonly type: 'event'; readonly exchange: number; readonly event: EngineEvent }
  /** The exchange is over and holds nothing any more. */
  | { readonly type: 'done'; readonly exchange: number }
  | { readonly type: 'error'; readonly exchange: number; readonly error: ErrorMessage }
  /** The content of medium `index` is needed. */
  | { readonly type: 'want'; readonly exchange: number; readonly index: number }
  | { readonly type: 'counted'; readonly exchange: number; readonly usage: PromptUsage }
  | { readonly type: 'metrics'; readonly metrics: RequestMetrics }
  | { readonly type: 'beat'; readonly beat: ProcessBeat }

/** A request with its speaker chosen, whose media stay with the server until the process asks for them. */
export interface PackedRequest {
  readonly request: Omit<GenerationRequest, 'messages' | 'speech'>
  readonly messages: readonly PackedMessage[]
  /** Native speaker to speak with. */
  readonly speaker?: string
}
