/**
 * Rotary position embeddings: which frequencies depend on which position.
 *
 * Reference: transformers `apply_rotary_pos_emb`, `Qwen3OmniMoeThinkerTextRotaryEmbedding` (multimodal, interleaved),
 * `Qwen2_5OmniRotaryEmbedding` (multimodal, consecutive sections), `apply_rotary_pos_emb_vision`.
 */

import { TensorError, type GraphBuilder, type Tensor } from '../tensor/index.ts'

/**
 * Multimodal positions may be fractions (videos of three frames per second), but ggml's are i32: they are passed in
 * units of 1/16384. A power of two, so that angles of whole positions are exact; positions up to 131,071 fit.
 */
const POSITION_STEPS = 2 ** 14

export type RotaryConfig =
  /** One position per token. */
  | { readonly kind: 'plain'; readonly base: number; readonly dimensions?: number }
  /** Temporal, height and width position per token. */
  | {
      readonly kind: 'multimodal'
      readonly base: number
      readonly sections: readonly [number, number, number]
      readonly interleaved: boolean
    }
  /** Row and column of an image patch. */
  | { readonly kind: 'vision'; readonly base: number }

/**
 * One rotation for all layers of a model: declares the position input once per graph, then rotates queries and keys.
 */
export class Rotary {
  readonly config: RotaryConfig

  constructor(config: RotaryConfig) {
    this.config = config
  }

  /** Declares the graph's position input; its data at each run is the result of {@link positions}. */
  input(g: GraphBuilder, tokens: number, name = 'positions'): Tensor<'i32'> {
    return g.input(name, 'i32', [this.config.kind === 'plain' ? tokens : 4 * tokens])
  }

  /**
   * Data of the graph's position input. In: `plain` [tokens]; `multimodal` [3, tokens] (temporal, height, width;
   * fractions allowed); `vision` [2, patches] (row, column). Several sequences: use {@link joinPositions} first. Throws
   * {@link TensorError} for a wrong length or a position out of range.
   */
  positions(values: Int32Array | Float32Array): Int32Array {
    const { kind } = this.config
    switch (kind) {
      case 'plain':
        return Int32Array.from(values)
      case 'multimodal': {
        if (values.length % 3 !== 0)
          throw new TensorError(`multimodal positions need three values per token, got ${values.length} values`)
        const tokens = values.length / 3
        const all = new Int32Array(4 * tokens)
        for (const [i, value] of values.entries()) {
          const step = Math.round(value * POSITION_STEPS)
          if (step > 0x7fffffff)
            throw new TensorError(`position ${value} is above the maximum, ${2 ** 31 / POSITION_STEPS - 1}`)
          all[i] = step
        }
        all.copyWithin(3 * tokens, 0, tokens)
        return all
      }
      case 'vision': {
        const all = new Int32Array(2 * values.length)
        all.set(values)
        all.set(values, values.length)
        return all
      }
      default:
        return kind satisfies never
    }
  }

  /** Rotates x [head, heads, tokens]. */
  apply(g: GraphBuilder, x: Tensor<'f32'>, positions: Tensor<'i32'>): Tensor<'f32'> {
    const { config } = this
    switch (config.kind) {
      case 'plain':
        return g.rotary(x, positions, config)
      case 'multimodal':
        return g.multimodalRotary(x, positions, { ...config, positionSteps: POSITION_STEPS })
      case 'vision':
        return g.visionRotary(x, positions, config.base)
      default:
        return config satisfies never
    }
  }
}

/** Joins the positions of the sequences of a step: each [axes, tokens of the sequence]; to [axes, all tokens]. */
export function joinPositions<T extends Int32Array | Float32Array>(
  parts: readonly T[],
  axes: number,
): Int32Array | Float32Array {
  if (parts.length === 1 && parts[0]) return parts[0]
  const total = parts.reduce((sum, part) => sum + part.length, 0) / axes
  const joined = parts[0] instanceof Float32Array ? new Float32Array(total * axes) : new Int32Array(total * axes)
  for (let axis = 0, offset = 0; axis < axes; axis++) {
    for (const part of parts) {
      const tokens = part.length / axes
      joined.set(part.subarray(axis * tokens, (axis + 1) * tokens), offset)
      offset += tokens
    }
  }
  return joined
}
