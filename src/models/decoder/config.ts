/** A decoder's configuration, in one form for all families. */

interface SparseConfig {
  readonly experts: number
  readonly used: number
  readonly width: number
  readonly renormalise: boolean
  /** Width of the expert that all tokens share. */
  readonly shared?: number
}

export interface DecoderConfig {
  readonly layers: number
  readonly hidden: number
  readonly heads: number
  readonly keyValueHeads: number
  readonly headSize: number
  readonly feedForward: number
  readonly vocabulary: number
  readonly context: number
  readonly epsilon: number
  /** RMS norms on queries and keys. */
  readonly queryKeyNorm: boolean
  /** Biases of the query, key and value projections. */
  readonly attentionBias: boolean
  /** Bias of the attention's output projection. */
  readonly outputBias: boolean
  readonly rotaryBase: number
  /**
   * Numbers of frequencies for temporal, height and width positions; their sum is half of the head size. Absent: one
   * position per token.
   */
  readonly rotarySections?: readonly [number, number, number]
  /** Sections interleaved as THWTHW... instead of one after the other. */
  readonly rotaryInterleaved: boolean
  /** For each layer, whether it is sparse. */
  readonly sparseLayers: readonly boolean[]
  readonly sparse?: SparseConfig
}

export interface ThinkerConfig extends DecoderConfig {
  readonly tiedEmbeddings: boolean
}
