/**
 * The facts of testdata/golden/tiny25-*.json, and the prompt of a recorded case.
 */

import type { InjectedFeatures } from '../src/models/index.ts'
import type { Golden } from './golden.ts'
import type { GoldenCase } from './golden-conversations.ts'

/** Outputs store every `rowStep`-th row. */
interface EncodedAudio {
  readonly frames: number
  readonly tokens: number
  readonly rowStep: number
}

/** One conversation, greedily answered by transformers. */
export interface Qwen25Case {
  readonly name: string
  readonly messages: GoldenCase['messages']
  readonly promptTokens: number
  readonly nextPosition: number
  /** Rows of the prompt whose logits are recorded. */
  readonly prefillRows: readonly number[]
  readonly textTokens: readonly number[]
  readonly text: string
  readonly speaker: string | null
  readonly eosTokenId: number
  readonly maxTextTokens: number
  readonly maxCodes: number
  /** Rows of the talker's prompt. */
  readonly talkerPromptTokens?: number
  /** The talker's own tokens, the end token included. */
  readonly talkerIds?: readonly number[]
  readonly codes?: readonly number[]
}

export interface Qwen25Facts {
  readonly audioEncoder: readonly EncodedAudio[]
  readonly audioEncoderPair: readonly [number, number]
  readonly visionEncoder: readonly { readonly grid: readonly [number, number, number]; readonly tokens: number }[]
  readonly cases: readonly Qwen25Case[]
}

export interface Tiny25Config {
  readonly thinker_config: {
    readonly audio_token_index: number
    readonly image_token_index: number
    readonly video_token_index: number
    readonly audio_config: { readonly num_mel_bins: number }
    readonly vision_config: { readonly patch_size: number; readonly temporal_patch_size: number }
  }
}

/** Every so many rows of a case's hidden states are recorded, as of its talker's prompt. */
export const ROW_STEP = 5

/** Every `step`-th row of `width` values. */
export function sampledRows(values: ArrayLike<number>, width: number, step: number): Float32Array {
  const rows = Math.ceil(values.length / width / step)
  return Float32Array.from(
    { length: rows * width },
    (_, i) => values[Math.floor(i / width) * step * width + (i % width)] ?? 0,
  )
}

/** The prompt of a recorded case: ids, positions and what the encoders put in. */
export function qwen25Prompt(
  golden: Golden<Qwen25Facts>,
  { name, promptTokens }: Qwen25Case,
  { thinker_config: config }: Tiny25Config,
): { tokenIds: Int32Array; positions: Float32Array; features?: InjectedFeatures } {
  const key = `case.${name}`
  const tokenIds = golden.integers(`${key}.tokens`).slice(0, promptTokens)
  const positions = Float32Array.from(golden.integers(`${key}.positions`))
  const media = new Set([config.audio_token_index, config.image_token_index, config.video_token_index])
  const rows = Int32Array.from([...tokenIds.keys()].filter((row) => media.has(tokenIds[row] ?? -1)))
  if (rows.length === 0) return { tokenIds, positions }
  return { tokenIds, positions, features: { rows, embeddings: golden.floats(`${key}.features`) } }
}
