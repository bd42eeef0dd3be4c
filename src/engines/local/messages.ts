/**
 * Messages between the server and an engine process over Node's IPC channel (structured clone, `serialization:
 * 'advanced'`).
 *
 * The server numbers its requests (`exchange`). The process requests the media it needs. They are sent in slices, so
 * that no large message blocks an event loop.
 */

import type { EngineErrorCode, EngineEvent, EngineModel, GenerationRequest, PromptUsage } from '../../contract/index.ts'
import type { DiffusionOptions } from '../../models/index.ts'
import type { PackedMessage } from './request-packing.ts'
import type { RequestMetrics } from '../../runtime/request-metrics.ts'
import type { DeviceKind, GpuPrecision } from '../../tensor/index.ts'
import type { WeightTypeChoice } from '../../weights/index.ts'

/** What an engine process loads. Plain data, because it is sent over IPC. */
export interface LoadOptions {
  /** Folder of a checkpoint, or a file made by `omniserve convert`. */
  readonly checkpoint: string
  /** Name of the served model. */
  readonly id: string
  readonly device?: DeviceKind | 'auto'
  /** How precisely a GPU computes. Default `fast`. */
  readonly precision?: GpuPrecision
  /** Types that a folder's weights are converted to while loading. Default: their stored types. */
  readonly types?: WeightTypeChoice
  /** Threads of the numeric library. Default: all cores, and one for small checkpoints, where one is fastest. */
  readonly threads?: number
  /** Slots: requests that run at the same time. */
  readonly maxConcurrent?: number
  /** Requests that may wait for a slot. */
  readonly maxWaiting?: number
  /** Limited to the checkpoint's context length, which is the default. */
  readonly contextLength?: number
  /** Most answer tokens of a request. */
  readonly maxOutputTokens?: number
  /** Folder for repacked weights. Absent: weights are repacked at each start. */
  readonly cacheDirectory?: string
  /** False: weights stay as stored. Default: they are repacked for this processor if memory and disk allow. */
  readonly repack?: boolean
  /** Bytes of memory that loading must leave free. */
  readonly keepFree?: number
  /** Most codec frames of one reply. Default: the value in the checkpoint's generation_config.json. */
  readonly maxSpeechFrames?: number
  /** Settings of the diffusion vocoder, for families that have one. */
  readonly diffusion?: DiffusionOptions
  /** System prompts to prefill at the start, if the context length is at least `minContext`. */
  readonly systemPrompts?: readonly { readonly text: string; readonly minContext: number }[]
  /** Most sequences in the prefix cache; 0 disables it. */
  readonly maxCachedPrefixes?: number
  /** Most bytes of KV caches. Default: a share of the free memory. */
  readonly cacheBytes?: number
  /** For parity tests: talker and code predictor greedy, `<think>` treated as text, caches and activations in f32. */
  readonly exact?: boolean
}

/** The model that a process has loaded. */
export interface LoadedModel {
  readonly model: Omit<EngineModel, 'voices'>
  /** Speakers of its talker, in lower case. Empty without speech. */
  readonly speakers: readonly string[]
  /** Texts for logs: how its weights are placed, and which faster placement is not possible, with the reason. */
  readonly placement?: { readonly chosen: string; readonly faster?: string }
}

/** Status of a process, sent once per second. */
export interface ProcessStatus {
  readonly active: number
  readonly waiting: number
  /** Native memory of weights, caches and scratch buffers. */
  readonly nativeBytes: number
  readonly residentBytes: number
  /** Longest time that its event loop was blocked since the last status, milliseconds. */
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
  /** A decoded medium of a request, with stubs in place of its arrays, whose bytes follow in slices. */
  | { readonly type: 'medium'; readonly exchange: number; readonly index: number; readonly content: unknown }
  | { readonly type: 'slice'; readonly exchange: number; readonly index: number; readonly bytes: Uint8Array }
  | { readonly type: 'generate'; readonly exchange: number; readonly request: PackedRequest; readonly credit: number }
  | { readonly type: 'count'; readonly exchange: number; readonly request: PackedRequest }
  /** Opens an audio that `request` will contain. It has an exchange of its own, without an answer. */
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
  /** Discards an opened audio. */
  | { readonly type: 'audio-drop'; readonly exchange: number }
  /** Lets the process send this many more events. */
  | { readonly type: 'credit'; readonly exchange: number; readonly events: number }
  | { readonly type: 'abort'; readonly exchange: number }
  | { readonly type: 'status' }
  | { readonly type: 'close' }

export type FromProcess =
  | { readonly type: 'loaded'; readonly loaded: LoadedModel }
  | { readonly type: 'failed'; readonly error: ErrorMessage }
  | { readonly type: 'event'; readonly exchange: number; readonly event: EngineEvent }
  /** The request has ended and released all memory. */
  | { readonly type: 'done'; readonly exchange: number }
  | { readonly type: 'error'; readonly exchange: number; readonly error: ErrorMessage }
  /** Requests the content of medium `index`. */
  | { readonly type: 'medium-request'; readonly exchange: number; readonly index: number }
  | { readonly type: 'counted'; readonly exchange: number; readonly usage: PromptUsage }
  | { readonly type: 'metrics'; readonly metrics: RequestMetrics }
  | { readonly type: 'status'; readonly status: ProcessStatus }

/** A request without the content of its media, which the process requests separately. */
export interface PackedRequest {
  readonly request: Omit<GenerationRequest, 'messages' | 'speech'>
  readonly messages: readonly PackedMessage[]
  /** Speaker of the checkpoint. Absent: no speech. */
  readonly speaker?: string
}
