/**
 * The contract between the API server and an engine, which runs a model.
 *
 * In: a {@link GenerationRequest}. Out: an async stream of {@link EngineEvent}s. The same contract suite tests every
 * engine (`contract/testing/engine-suite.ts`).
 */

import type { EngineEvent, PromptUsage } from './events.ts'
import type { InputModality, OutputModality } from './media.ts'
import type { GenerationRequest, PreferredSampling } from './request.ts'

/** A voice name and its speaker: one that the checkpoint was trained with (`native`), or a substitute. */
export interface EngineVoice {
  readonly name: string
  readonly speaker: string
  readonly native: boolean
}

/** False: the engine refuses requests that need it, and the API server computes or omits missing values. */
export interface EngineCapabilities {
  readonly tools: boolean
  /** Replies are reproducible with a seed. */
  readonly seed: boolean
  /** The caller may choose the voice. */
  readonly voiceChoice: boolean
  /** Prompt tokens are reported by modality. */
  readonly promptByModality: boolean
  /** `countPrompt` counts without running the request. */
  readonly countsPrompt: boolean
  /** A given text can be generated word for word (`script`). Absent: not supported. */
  readonly scripted?: boolean
}

/** A loaded checkpoint and what it supports. */
export interface EngineModel {
  readonly id: string
  /** `architectures[0]` of its config.json. */
  readonly architecture: string
  readonly input: readonly InputModality[]
  readonly output: readonly OutputModality[]
  readonly thinking: boolean
  /** What the engine supports besides modalities. */
  readonly capabilities: EngineCapabilities
  readonly contextLength: number
  readonly maxOutputTokens: number
  readonly voices: readonly EngineVoice[]
  /** Types of the weights, for display: `f32`, `bf16`, `q8_0`, `q4_0 (code predictor q8_0)`. */
  readonly weights: string
  readonly device: string
  /** Default sampling of the checkpoint. Absent values: the API model's defaults. */
  readonly sampling?: PreferredSampling
  /** Most turns of a conversation. Older turns are removed from the prompt. */
  readonly historyTurns?: number
  /** Most turns of a realtime session's prompt when the newest turn is spoken. */
  readonly spokenHistoryTurns?: number
  /** Form of earlier spoken turns in a session's prompt: their audio (default), or their transcript. */
  readonly historyAudio?: 'audio' | 'transcript'
}

/** Live values for `/metrics` and `/ready`. */
export interface EngineStatus {
  readonly ready: boolean
  /** Requests running and waiting inside the engine. */
  readonly active: number
  readonly waiting: number
  readonly reason?: string
}

/**
 * Audio of a later request, sent to the engine while it arrives. Dispose it to discard it, which is always possible.
 */
export interface ArrivingAudio extends Disposable {
  /** The next samples, mono in [-1, 1], 16 kHz. */
  append(samples: Float32Array): void
  /**
   * Announces that the audio may be over, followed by `silence` samples of silence, which are not appended.
   * `contentKey`: of all samples including the silence. A later `append` revokes this; `complete` with the same key
   * confirms it.
   */
  mayEnd(silence: number, contentKey: string): void
  /**
   * Ends the audio. `contentKey`: of the medium in the request, whose samples are exactly those appended.
   */
  complete(contentKey: string): void
}

export interface Engine {
  readonly id: string
  models(): Promise<readonly EngineModel[]>
  /**
   * Counts the prompt's tokens without running it. Throws the same {@link EngineError}s as `generate` before `start`.
   */
  countPrompt(request: GenerationRequest, signal?: AbortSignal): Promise<PromptUsage>
  /**
   * Runs one request. The iterator throws an {@link EngineError} when it cannot start or continue, and the signal's
   * reason once aborted. After `end`, an abort or an error it yields nothing more and has released all native memory.
   * An early return from the iterator is an abort. A slow consumer delays only its own request.
   */
  generate(request: GenerationRequest, signal: AbortSignal): AsyncIterable<EngineEvent>
  /**
   * Opens an audio before its request, so that the reply starts sooner; the reply itself is the same. `request`: the
   * later request as far as it is known, with a placeholder as its last audio. `prefills`: no message will be inserted
   * before the audio. Absent, or a result of undefined: not supported. Throws the same errors as `generate` before
   * `start`.
   */
  openAudio?(request: GenerationRequest, options: { readonly prefills: boolean }): ArrivingAudio | undefined
  status(): EngineStatus
  /** Ends live requests with `engine_closed` and releases all native memory. Idempotent. */
  close(): Promise<void>
}
