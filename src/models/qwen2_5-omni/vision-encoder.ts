/**
 * The vision encoder: patches of an image or video to thinker embeddings.
 *
 * Most layers attend within windows of (usually) 4 by 4 tokens, some over the whole frame. Windows of equal size are
 * grouped into one operation; the original order is restored at the end. Frames run one after the other, so memory is
 * that of one image, and an abort takes effect between them. Reference: transformers
 * `Qwen2_5OmniVisionEncoder`, `get_vision_window_index`.
 */

import { Attention, GatedMlp, PlainMlp, PreNormLayer, RmsNorm, Rotary, type Parameters } from '../../nn/index.ts'
import { GraphCache, type Backend, type GraphBuilder, type Tensor } from '../../tensor/index.ts'
import type { PatchValues } from '../../prompt/patch-values.ts'
import type { EncodeOptions, VisionEncoderStage } from '../stages.ts'
import type { VisionEncoderConfig } from './config-types.ts'

const EPSILON = 1e-6

function visionBlock(
  parameters: Parameters,
  { hidden, heads, feedForward }: VisionEncoderConfig,
): PreNormLayer<Attention> {
  return new PreNormLayer({
    attentionNorm: new RmsNorm(parameters.scope('norm1'), hidden, EPSILON),
    mlpNorm: new RmsNorm(parameters.scope('norm2'), hidden, EPSILON),
    attention: new Attention(parameters.scope('attn'), {
      hidden,
      heads,
      keyValueHeads: heads,
      headSize: hidden / heads,
      bias: true,
      outputBias: true,
      names: ['q', 'k', 'v', 'proj'],
      precision: 'fine',
    }),
    mlp: new GatedMlp(parameters.scope('mlp'), hidden, feedForward, { bias: true, precision: 'fine' }),
  })
}

/** Merges each square of patches into one token. */
class PatchMerger {
  readonly ln_q: RmsNorm
  readonly mlp: PlainMlp
  readonly #joined: number

  constructor(parameters: Parameters, { hidden, merge, outputWidth }: VisionEncoderConfig) {
    this.#joined = hidden * merge ** 2
    this.ln_q = new RmsNorm(parameters.scope('ln_q'), hidden, EPSILON)
    this.mlp = new PlainMlp(parameters.scope('mlp'), ['0', '2'], [this.#joined, this.#joined, outputWidth], 'gelu', {
      precision: 'fine',
    })
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    const tokens = (x.shape[0] * x.shape[1]) / this.#joined
    return this.mlp.forward(g, g.reshape(this.ln_q.forward(g, x), this.#joined, tokens))
  }
}

/** The vision encoder's weights and graph. */
export class VisionEncoderModel {
  readonly patch_embed: Tensor
  readonly blocks: readonly PreNormLayer<Attention>[]
  readonly merger: PatchMerger
  readonly rotary: Rotary
  readonly config: VisionEncoderConfig

  /** `parameters`: the scope `visual`. */
  constructor(parameters: Parameters, config: VisionEncoderConfig) {
    this.config = config
    // A convolution whose stride is its kernel: one matrix over flattened patches.
    this.patch_embed = parameters
      .scope('patch_embed')
      .scope('proj')
      .get('weight', {
        shape: [patchSize(config), config.hidden],
        use: 'matmul',
        layout: 'conv-flat',
        precision: 'fine',
      })
    this.blocks = Array.from(
      { length: config.layers },
      (_, layer) => visionBlock(parameters.scope('blocks').scope(layer), config),
    )
    this.merger = new PatchMerger(parameters.scope('merger'), config)
    this.rotary = new Rotary({ kind: 'vision', base: config.rotaryBase })
  }

  /** Encodes one frame, whose patches are in window order, to [output width, tokens]. `windows`: patches per window. */
  forward(g: GraphBuilder, windows: readonly number[]): Tensor<'f32'> {
    const { config } = this
    const patches = windows.reduce((sum, count) => sum + count, 0)
    const rotation = { rotary: this.rotary, positions: this.rotary.input(g, patches) }
    let x = g.mulMat(this.patch_embed, g.input('patches', 'f32', [patchSize(config), patches]))
    for (const [layer, block] of this.blocks.entries()) {
      const lengths = config.fullLayers.has(layer) ? [patches] : windows
      x = block.forward(g, x, (attention, normed) => attention.encode(g, normed, { lengths, rotation }))
    }
    return this.merger.forward(g, x)
  }
}

function patchSize(config: VisionEncoderConfig): number {
  return config.channels * config.temporalPatch * config.patch ** 2
}

export class VisionEncoder implements VisionEncoderStage {
  readonly #backend: Backend
  readonly #model: VisionEncoderModel

  constructor(backend: Backend, model: VisionEncoderModel) {
    this.#backend = backend
    this.#model = model
  }

  /** Throws RangeError for a grid that does not match the patches, or is not divisible into tokens. */
  async encode(
    patches: PatchValues,
    grid: readonly [number, number, number],
    { signal, pause }: EncodeOptions = {},
  ): Promise<{ embeddings: Float32Array; deepstack: Float32Array[] }> {
    const { config, rotary } = this.#model
    const [frames, rows, columns] = grid
    const { merge, outputWidth } = config
    const perFrame = rows * columns
    const perToken = merge ** 2
    const size = patchSize(config)
    if (frames < 1 || perFrame < 1 || patches.length !== frames * perFrame * size)
      throw new RangeError(`${patches.length} values are no ${frames}x${rows}x${columns} patches of ${size}`)
    if (rows % merge !== 0 || columns % merge !== 0)
      throw new RangeError(`a grid of ${rows}x${columns} patches does not divide into squares of ${merge}`)
    const { order, windows } = windowsOf(rows / merge, columns / merge, config.window)
    const positions = rotary.positions(positionsOf(order, columns / merge, merge))
    const patchWindows = windows.map((tokens) => tokens * perToken)
    const tokens = perFrame / perToken
    const embeddings = new Float32Array(frames * tokens * outputWidth)
    // Working memory grows with the image, so it is freed after each one.
    using graphs = new GraphCache(this.#backend, { maxNodes: 120 * config.layers + 400 })
    for (let frame = 0; frame < frames; frame++) {
      if (frame > 0) await pause?.()
      const output = await graphs.run(
        `${rows}x${columns}`,
        (g) => ({ embeddings: this.#model.forward(g, patchWindows) }),
        { patches: gather(patches, frame * perFrame * size, order, perToken * size), positions },
        signal ? { signal } : {},
      )
      const result = embeddings.subarray(frame * tokens * outputWidth, (frame + 1) * tokens * outputWidth)
      for (const [i, token] of order.entries())
        result.set(output.embeddings.subarray(i * outputWidth, (i + 1) * outputWidth), token * outputWidth)
    }
    return { embeddings, deepstack: [] }
  }

  /** There is no state between calls. */
  [Symbol.dispose](): void {}
}

interface Windows {
  /** Indices of the tokens in window order. */
  readonly order: Int32Array
  /** Tokens of each window. */
  readonly windows: readonly number[]
}

/**
 * Divides a frame of tokens into squares of `side`, smaller at the right and lower edges. Larger windows come first.
 */
function windowsOf(rows: number, columns: number, side: number): Windows {
  const windows: number[][] = []
  for (let top = 0; top < rows; top += side) {
    for (let left = 0; left < columns; left += side) {
      const tokens: number[] = []
      for (let row = top; row < Math.min(rows, top + side); row++)
        for (let column = left; column < Math.min(columns, left + side); column++) tokens.push(row * columns + column)
      windows.push(tokens)
    }
  }
  windows.sort((a, b) => b.length - a.length)
  return { order: Int32Array.from(windows.flat()), windows: windows.map(({ length }) => length) }
}

/** [2, patches]: row and column of each token's patches. */
function positionsOf(order: Int32Array, columns: number, merge: number): Int32Array {
  const patches = order.length * merge ** 2
  const positions = new Int32Array(2 * patches)
  let patch = 0
  for (const token of order) {
    for (let inner = 0; inner < merge ** 2; inner++, patch++) {
      positions[patch] = Math.floor(token / columns) * merge + Math.floor(inner / merge)
      positions[patches + patch] = (token % columns) * merge + (inner % merge)
    }
  }
  return positions
}

/** Rows of `size` values in the given order, the first of them at `start`. */
function gather(values: PatchValues, start: number, order: Int32Array, size: number): Float32Array {
  const gathered = new Float32Array(order.length * size)
  for (const [i, row] of order.entries()) {
    const from = start + row * size
    gathered.set(values.slice(from, from + size), i * size)
  }
  return gathered
}
