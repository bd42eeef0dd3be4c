/**
 * The models of both regions, as data.
 * Reference: "model list" of the Qwen-Omni guide (December 2025). The realtime models are listed only for the error
 * texts: they exist, but not in the compatible mode.
 */
import type { FamilyName } from './families.ts'
import { VOICES_17, VOICES_2, VOICES_4, VOICES_49 } from './voices.ts'

export type RegionName = 'intl' | 'cn'

/** Tokens. */
export interface ModeLimits {
  readonly contextLength: number
  readonly maxInput: number
  /** Longest chain of thought; in thinking mode only. */
  readonly maxReasoning?: number
  readonly maxOutput: number
}

export interface ApiModel {
  readonly id: string
  readonly family: FamilyName
  readonly kind: 'stable' | 'latest' | 'snapshot' | 'open'
  /** The snapshot this name has the abilities of. */
  readonly sameAs?: string
  readonly alsoKnownAs: readonly string[]
  readonly regions: readonly RegionName[]
  /** Day the abilities date from, ISO. */
  readonly date: string
  readonly voices: readonly string[]
  readonly defaultVoice: string
  readonly normal: ModeLimits
  readonly thinking?: ModeLimits
}

const both = ['intl', 'cn'] as const

const flashLimits = {
  normal: { contextLength: 65_536, maxInput: 49_152, maxOutput: 16_384 },
  thinking: { contextLength: 65_536, maxInput: 16_384, maxReasoning: 32_768, maxOutput: 16_384 },
} as const

const turboLimits = { normal: { contextLength: 32_768, maxInput: 30_720, maxOutput: 2_048 } } as const

const turbo = { family: 'turbo', voices: VOICES_4, defaultVoice: 'Cherry', ...turboLimits } as const

export const MODELS: readonly ApiModel[] = [
  {
    id: 'qwen3-omni-flash',
    family: 'flash',
    kind: 'stable',
    sameAs: 'qwen3-omni-flash-2025-09-15',
    alsoKnownAs: [],
    regions: both,
    date: '2025-09-15',
    voices: VOICES_17,
    defaultVoice: 'Cherry',
    ...flashLimits,
  },
  {
    id: 'qwen3-omni-flash-2025-12-01',
    family: 'flash',
    kind: 'snapshot',
    alsoKnownAs: [],
    regions: both,
    date: '2025-12-01',
    voices: VOICES_49,
    defaultVoice: 'Cherry',
    ...flashLimits,
  },
  {
    id: 'qwen3-omni-flash-2025-09-15',
    family: 'flash',
    kind: 'snapshot',
    alsoKnownAs: ['qwen3-omni-flash-0915'],
    regions: both,
    date: '2025-09-15',
    voices: VOICES_17,
    defaultVoice: 'Cherry',
    ...flashLimits,
  },
  {
    ...turbo,
    id: 'qwen-omni-turbo',
    kind: 'stable',
    sameAs: 'qwen-omni-turbo-2025-03-26',
    alsoKnownAs: [],
    regions: both,
    date: '2025-03-26',
  },
  {
    ...turbo,
    id: 'qwen-omni-turbo-latest',
    kind: 'latest',
    sameAs: 'qwen-omni-turbo-2025-03-26',
    alsoKnownAs: [],
    regions: both,
    date: '2025-03-26',
  },
  {
    ...turbo,
    id: 'qwen-omni-turbo-2025-03-26',
    kind: 'snapshot',
    alsoKnownAs: ['qwen-omni-turbo-0326'],
    regions: both,
    date: '2025-03-26',
  },
  {
    ...turbo,
    id: 'qwen-omni-turbo-2025-01-19',
    kind: 'snapshot',
    alsoKnownAs: ['qwen-omni-turbo-0119'],
    regions: ['cn'],
    date: '2025-01-19',
  },
  {
    id: 'qwen2.5-omni-7b',
    family: 'open',
    kind: 'open',
    alsoKnownAs: [],
    regions: both,
    date: '2025-03-26',
    voices: VOICES_2,
    defaultVoice: 'Ethan',
    ...turboLimits,
  },
]

/** A model of the realtime wire: the abilities of a chat model, over WebSocket. */
export interface RealtimeModel {
  readonly id: string
  /** The chat model with the same limits, voices and token rules. */
  readonly chat: string
  readonly defaultVoice: string
  /** Most user turns of a conversation. */
  readonly turns: number
}

/** Served over WebSocket, not over the compatible mode. Reference: Model Studio's realtime guide. */
export const REALTIME_MODELS: readonly RealtimeModel[] = [
  { id: 'qwen3-omni-flash-realtime', chat: 'qwen3-omni-flash', defaultVoice: 'Cherry', turns: 8 },
  { id: 'qwen3-omni-flash-realtime-2025-09-15', chat: 'qwen3-omni-flash-2025-09-15', defaultVoice: 'Cherry', turns: 8 },
  { id: 'qwen3-omni-flash-realtime-2025-12-01', chat: 'qwen3-omni-flash-2025-12-01', defaultVoice: 'Cherry', turns: 8 },
  { id: 'qwen-omni-turbo-realtime', chat: 'qwen-omni-turbo', defaultVoice: 'Chelsie', turns: 8 },
  { id: 'qwen-omni-turbo-realtime-latest', chat: 'qwen-omni-turbo-latest', defaultVoice: 'Chelsie', turns: 8 },
  { id: 'qwen-omni-turbo-realtime-2025-05-08', chat: 'qwen-omni-turbo', defaultVoice: 'Chelsie', turns: 8 },
]
