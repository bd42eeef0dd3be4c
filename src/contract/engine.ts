/**
 * The contract between the API server and whatever runs a model.
 *
 * In: a {@link GenerationRequest}. Out: an async stream of {@link EngineEvent}s. Every engine keeps this contract and
 * is run against the same contract suite (`contract/testing/engine-suite.ts`).
 */

import type { EngineEvent, PromptUsage } from './events.ts'
import type { InputModality, OutputModality } from './media.ts'
import type { GenerationRequest, PreferredSampling } from './request.ts'

/** How a voice name is spoken: by a speaker the checkpoint was trained with, or by the stand-in named. */
export interface EngineVoice {
  readonly name: string
  readonly speaker: string
  readonly native: boolean
}

/** False: the engine refuses requests that need it, and the API server reports or computes what is missing. */
export interface EngineCapabilities {
  readonly tools: boolean
  /** The seed decides the reply. */
  readonly seed: boolean
  /** The caller's choice of voice is honoured. */
  readonly voiceChoice: boolean
  /** Prompt tokens are reported by modality. */
  readonly promptByModality: boolean
  /** `countPrompt` counts without running the request. */
  readonly countsPrompt: boolean
  /** Can generate a given text word for word (`script`). Absent: it cannot. */
  readonly scripted?: boolean
}

/** What a loaded checkpoint supports. */
export interface EngineModel {
  readonly id: string
  /** `architectures[0]` of its config.json. */
  readonly architecture: string
  readonly input: readonly InputModality[]
  readonly output: readonly OutputModality[]
  readonly thinking: boolean
  /** What the engine supports and reports beyond the modalities. */
  readonly capabilities: EngineCapabilities
  readonly contextLength: number
  readonly maxOutputTokens: number
  readonly voices: readonly EngineVoice[]
  /** Stored bits of the weights, for people: `f32`, `bf16`, `q8_0`, `q4_0 (code predictor q8_0)`. */
  readonly weights: string
  readonly device: string
  /** Recommended sampling where the caller does not say; the API model's defaults for what is absent. */
  readonly sampling?: PreferredSampling
  /** The longest conversation it supports, in turns; older ones are left out. */
  readonly historyTurns?: number
  /** The same where the newest turn is spoken: of a session, older ones are left out. */
  readonly spokenHistoryTurns?: number
  /** What a session gives it of the user's earlier spoken turns: the recordings (also when absent), or their words. */
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
 * Audio of a request to come, on its way to the engine while it is being said. Disposing it gives it up; nothing fails
 * by that.
 */
export interface ArrivingAudio extends Disposable {
  /** The next samples, mono in [-1, 1], 16 kHz. */
  append(samples: Float32Array): void
  /**
   * There may be no more but so many samples of silence, which are not appended; `contentKey` is of all that with the
   * silence. `append` says that there are, `complete` with the same key that there are not.
   */
  mayEnd(silence: number, contentKey: string): void
  /**
   * There are no more. `contentKey`: of the medium that requests will have, whose samples are all those that were
   * appended.
   */
  complete(contentKey: string): void
}

export interface Engine {
  readonly id: string
  models(): Promise<readonly EngineModel[]>
  /**
   * Tokens the prompt would take, without running it. Throws the same {@link EngineError}s as `generate` before
   * `start`.
   */
  countPrompt(request: GenerationRequest, signal?: AbortSignal): Promise<PromptUsage>
  /**
   * Runs one request. The iterator throws an {@link EngineError} when it cannot start or continue, and the signal's
   * reason once aborted; after `end`, an abort or an error it yields nothing more and holds no native memory. Returning
   * early from the iterator counts as an abort. Consumers that read slowly slow only their own request.
   */
  generate(request: GenerationRequest, signal: AbortSignal): AsyncIterable<EngineEvent>
  /**
   * Takes audio in before its request is there, which is then answered sooner and not otherwise. `request` is that
   * request as far as it is known; the last audio of its messages stands for this one. `prefills`: nothing will come
   * between those messages and the audio. Absent, or undefined: audio is encoded with its request. Throws the same
   * errors as `generate` before `start`.
   */
  openAudio?(request: GenerationRequest, options: { readonly prefills: boolean }): ArrivingAudio | undefined
  status(): EngineStatus
  /** Ends live requests with `engine_closed` and releases everything native. Idempotent. */
  close(): Promise<void>
}
