/**
 * The facts of testdata/golden/tiny-*.json, and helpers that feed a recorded case to the stages.
 */

import type { InjectedFeatures } from '../src/models/index.ts'
import type { Golden } from './golden.ts'

export interface ModelFacts {
  readonly audioEncoder: readonly { readonly frames: number; readonly tokens: number }[]
  readonly audioEncoderPair: readonly [number, number]
  readonly visionEncoder: readonly { readonly grid: readonly [number, number, number]; readonly tokens: number }[]
  readonly code2wav?: readonly { readonly frames: number; readonly samples: number }[]
  readonly cases: readonly ModelCase[]
}

/** One conversation, greedily answered by transformers. */
export interface ModelCase {
  readonly name: string
  readonly promptTokens: number
  readonly nextPosition: number
  /** Rows of the prompt whose logits are recorded. */
  readonly prefillRows: readonly number[]
  readonly textTokens: readonly number[]
  readonly text: string
  readonly speaker: string | null
  readonly eosTokenId: number
  /** The talker's own tokens, the end token included. */
  readonly talkerIds?: readonly number[]
  /** [frames][groups] */
  readonly codes?: readonly (readonly number[])[]
}

export interface TinyConfig {
  readonly thinker_config: {
    readonly audio_token_id: number
    readonly image_token_id: number
    readonly video_token_id: number
    readonly audio_config: { readonly num_mel_bins: number }
    readonly vision_config: { readonly patch_size: number; readonly temporal_patch_size: number }
  }
  readonly code2wav_config: { readonly num_quantizers: number; readonly codebook_size: number }
}

/** The prompt of a recorded case: ids, positions and what the encoders put in. */
export function promptOf(
  golden: Golden<ModelFacts>,
  { name, promptTokens }: ModelCase,
  { thinker_config: config }: TinyConfig,
  hidden: number,
): { tokenIds: Int32Array; positions: Float32Array; features?: InjectedFeatures } {
  const key = `case.${name}`
  const tokenIds = golden.integers(`${key}.tokens`).slice(0, promptTokens)
  const positions = golden.floats(`${key}.positions`)
  const rows: number[] = []
  const visual: number[] = []
  for (const [i, id] of tokenIds.entries()) {
    const seen = id === config.image_token_id || id === config.video_token_id
    if (seen) visual.push(rows.length)
    if (seen || id === config.audio_token_id) rows.push(i)
  }
  if (rows.length === 0) return { tokenIds, positions }
  const deepstack: Float32Array[] = []
  while (golden.has(`${key}.deepstack.${deepstack.length}`)) {
    const values = golden.floats(`${key}.deepstack.${deepstack.length}`)
    const spread = new Float32Array(rows.length * hidden)
    for (const [i, row] of visual.entries()) spread.set(values.subarray(i * hidden, (i + 1) * hidden), row * hidden)
    deepstack.push(spread)
  }
  return {
    tokenIds,
    positions,
    features: { rows: Int32Array.from(rows), embeddings: golden.floats(`${key}.features`), deepstack },
  }
}
