/**
 * The data that all models of a family share: media limits, token rules of media, sampling defaults, voices' languages.
 * Reference: the Qwen-Omni guide (December 2025): input sections, "billing rules"; the API reference for defaults.
 */
import { TEN_LANGUAGES, TWO_LANGUAGES } from './voices.ts'

export type FamilyName = 'flash' | 'turbo' | 'open'

export interface TokenRules {
  /** An image token covers `factor` by `factor` pixels. */
  readonly factor: 28 | 32
  readonly imageMinTokens: number
  readonly imageMaxTokens: number
  /** Audio tokens per second, in and out. */
  readonly audioPerSecond: number
  /** Audio shorter than this counts as this long, seconds. */
  readonly audioMinSeconds: number
  readonly video: {
    readonly fps: number
    readonly minFrames: number
    readonly maxFrames: number
    /** Tokens per frame, before pairs of frames are joined. */
    readonly minTokens: number
    readonly maxTokens: number
    /** Tokens of the whole video, likewise. */
    readonly totalTokens: number
    readonly maxAspectRatio: number
  }
}

export interface MediaLimits {
  readonly image: {
    readonly maxBytes: number
    /** Both sides must exceed this many pixels. */
    readonly minSideOver: number
    readonly maxAspectRatio: number
  }
  readonly audio: { readonly maxBytes: number; readonly maxSeconds: number }
  readonly video: {
    readonly maxBytes: number
    readonly maxSeconds: number
    readonly minSeconds: number
    /** Of a video given as a list of images. */
    readonly minFrames: number
    readonly maxFrames: number
  }
  /** Of the whole data URI, encoded. */
  readonly maxDataUriBytes: number
}

export interface SamplingDefaults {
  readonly temperature: number
  readonly topP: number
  readonly topK: number
  readonly presencePenalty: number
  readonly repetitionPenalty: number
  readonly seed: number
}

/** The field for the text of a spoken reply: `content` as in the guide, `audio.transcript` as in 2025, or both. */
export type TextCarrier = 'content' | 'transcript' | 'both'

export interface Family {
  readonly name: FamilyName
  readonly tokens: TokenRules
  readonly media: MediaLimits
  readonly sampling: SamplingDefaults
  readonly languages: readonly string[]
  /** `enable_thinking` is an error where this is false. */
  readonly thinking: boolean
  /** With audio out, the system message has no effect. */
  readonly ignoresSystemWithAudio: boolean
  /** Which of the service's two texts an unknown voice gets. */
  readonly voiceError: 'named' | 'list'
  readonly rateLimit: { readonly requestsPerMinute: number; readonly tokensPerMinute: number }
}

const MB = 1024 * 1024

/** "The API's limit per data-uri item". */
const MAX_DATA_URI_BYTES = 10_485_760

const image = { maxBytes: 10 * MB, minSideOver: 10, maxAspectRatio: 200 } as const

const rateLimit = { requestsPerMinute: 60, tokensPerMinute: 100_000 } as const

const flash: Family = {
  name: 'flash',
  tokens: {
    factor: 32,
    imageMinTokens: 4,
    imageMaxTokens: 1280,
    audioPerSecond: 12.5,
    audioMinSeconds: 1,
    video: {
      fps: 2,
      minFrames: 4,
      maxFrames: 128,
      minTokens: 128,
      maxTokens: 768,
      totalTokens: 16_384,
      maxAspectRatio: 200,
    },
  },
  media: {
    image,
    audio: { maxBytes: 100 * MB, maxSeconds: 20 * 60 },
    video: { maxBytes: 256 * MB, maxSeconds: 150, minSeconds: 2, minFrames: 2, maxFrames: 128 },
    maxDataUriBytes: MAX_DATA_URI_BYTES,
  },
  sampling: { temperature: 0.9, topP: 1, topK: 50, presencePenalty: 0, repetitionPenalty: 1.05, seed: 1234 },
  languages: TEN_LANGUAGES,
  thinking: true,
  ignoresSystemWithAudio: false,
  voiceError: 'named',
  rateLimit,
}

const turbo: Family = {
  name: 'turbo',
  tokens: {
    factor: 28,
    imageMinTokens: 4,
    imageMaxTokens: 1280,
    audioPerSecond: 25,
    audioMinSeconds: 1,
    video: {
      fps: 2,
      minFrames: 4,
      maxFrames: 80,
      minTokens: 128,
      maxTokens: 768,
      totalTokens: 16_384,
      maxAspectRatio: 200,
    },
  },
  media: {
    image,
    audio: { maxBytes: 10 * MB, maxSeconds: 3 * 60 },
    video: { maxBytes: 150 * MB, maxSeconds: 40, minSeconds: 2, minFrames: 4, maxFrames: 80 },
    maxDataUriBytes: MAX_DATA_URI_BYTES,
  },
  sampling: { temperature: 1, topP: 0.01, topK: 20, presencePenalty: 0, repetitionPenalty: 1.05, seed: 1234 },
  languages: TWO_LANGUAGES,
  thinking: false,
  ignoresSystemWithAudio: true,
  voiceError: 'list',
  rateLimit,
}

/** The open checkpoint as a service: turbo's rules, its own sampling. */
const open: Family = {
  ...turbo,
  name: 'open',
  sampling: { temperature: 0.01, topP: 0.001, topK: 1, presencePenalty: 0, repetitionPenalty: 1.1, seed: 1234 },
}

export const FAMILIES: Readonly<Record<FamilyName, Family>> = { flash, turbo, open }
