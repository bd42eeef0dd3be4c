/**
 * The vision encoder: patches of an image or video to thinker embeddings, and features of earlier layers (deepstack).
 *
 * Temporal patches of a video are independent, so they run in sequence: memory is that of one image, and an abort takes
 * effect between them. Patches come in blocks of `merge` by `merge`, which become one token.
 * Reference: transformers `Qwen3OmniMoeVisionEncoder`, `get_vision_interpolation_indices_and_weights`.
 */

import { attendBlocks, Embedding, LayerNorm, Linear, PlainMlp, PreNormLayer, Rotary, type Parameters } from '../../nn/index.ts'
import { GraphCache, type Backend, type GraphBuilder, type Tensor } from '../../tensor/index.ts'
import type { PatchValues } from '../../prompt/patch-values.ts'
import type { EncodeOptions, VisionEncoderStage } from '../stages.ts'
import type { VisionEncoderConfig } from './config-types.ts'

const EPSILON = 1e-6

/** Attention of all patches of one image, queries, keys and values from one projection. */
class VisionAttention {
  readonly qkv: Linear
  readonly proj: Linear
  readonly config: VisionEncoderConfig

  constructor(parameters: Parameters, config: VisionEncoderConfig) {
    this.config = config
    const { hidden } = config
    this.qkv = new Linear(parameters.scope('qkv'), hidden, 3 * hidden, { bias: true, precision: 'fine' })
    this.proj = new Linear(parameters.scope('proj'), hidden, hidden, { bias: true, precision: 'fine' })
  }

  /** x: [hidden, patches of one image]. */
  forward(g: GraphBuilder, x: Tensor<'f32'>, rotary: Rotary, positions: Tensor<'i32'>): Tensor<'f32'> {
    const { hidden, heads } = this.config
    const head = hidden / heads
    const patches = x.shape[1]
    const all = this.qkv.forward(g, x)
    const part = (i: number): Tensor<'f32'> =>
      g.view(all, [head, heads, patches], { strides: [head * 4, all.strides[1]], offset: i * hidden * 4 })
    const q = rotary.apply(g, g.cont(part(0)), positions)
    const k = rotary.apply(g, g.cont(part(1)), positions)
    return this.proj.forward(g, attendBlocks(g, q, k, g.cont(part(2)), head ** -0.5))
  }
}

function visionBlock(parameters: Parameters, config: VisionEncoderConfig): PreNormLayer<VisionAttention> {
  const { hidden } = config
  return new PreNormLayer({
    attentionNorm: new LayerNorm(parameters.scope('norm1'), hidden, EPSILON),
    mlpNorm: new LayerNorm(parameters.scope('norm2'), hidden, EPSILON),
    attention: new VisionAttention(parameters.scope('attn'), config),
    mlp: new PlainMlp(
      parameters.scope('mlp'),
      ['linear_fc1', 'linear_fc2'],
      [hidden, config.feedForward, hidden],
      config.activation,
      { precision: 'fine' },
    ),
  })
}

/** Merges each block of patches into one token. Deepstack mergers normalize after merging, the last one before. */
class PatchMerger {
  readonly ln_q: LayerNorm
  readonly mlp: PlainMlp
  readonly #joined: number
  readonly #normJoined: boolean

  constructor(parameters: Parameters, config: VisionEncoderConfig, normJoined: boolean) {
    this.#joined = config.hidden * config.merge ** 2
    this.#normJoined = normJoined
    this.ln_q = new LayerNorm(parameters.scope('ln_q'), normJoined ? this.#joined : config.hidden, EPSILON)
    this.mlp = new PlainMlp(
      parameters.scope('mlp'),
      ['0', '2'],
      [this.#joined, this.#joined, config.outputWidth],
      'gelu',
      { precision: 'fine' },
    )
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    const tokens = (x.shape[0] * x.shape[1]) / this.#joined
    const joined = this.#normJoined
      ? this.ln_q.forward(g, g.reshape(x, this.#joined, tokens))
      : g.reshape(this.ln_q.forward(g, x), this.#joined, tokens)
    return this.mlp.forward(g, joined)
  }
}

/** The vision encoder's weights and graph. */
export class VisionEncoderModel {
  readonly patch_embed: { readonly weight: Tensor; readonly bias: Tensor<'f32'> }
  readonly pos_embed: Embedding
  readonly blocks: readonly PreNormLayer<VisionAttention>[]
  readonly merger: PatchMerger
  readonly merger_list: readonly PatchMerger[]
  readonly rotary: Rotary
  readonly config: VisionEncoderConfig

  /** `parameters`: the scope `visual`. */
  constructor(parameters: Parameters, config: VisionEncoderConfig) {
    this.config = config
    const { hidden } = config
    const proj = parameters.scope('patch_embed').scope('proj')
    // A convolution whose stride is its kernel: one matrix over flattened patches.
    this.patch_embed = {
      weight: proj.get('weight', {
        shape: [patchSize(config), hidden],
        use: 'matmul',
        layout: 'conv-flat',
        precision: 'fine',
      }),
      bias: proj.get('bias', { shape: [hidden] }) as Tensor<'f32'>,
    }
    this.pos_embed = new Embedding(parameters.scope('pos_embed'), config.positionGrid ** 2, hidden, {
      precision: 'fine',
    })
    this.blocks = Array.from(
      { length: config.layers },
      (_, layer) => visionBlock(parameters.scope('blocks').scope(layer), config),
    )
    this.merger = new PatchMerger(parameters.scope('merger'), config, false)
    this.merger_list = config.deepstackLayers.map(
      (_, i) => new PatchMerger(parameters.scope('merger_list').scope(i), config, true),
    )
    this.rotary = new Rotary({ kind: 'vision', base: config.rotaryBase })
  }

  /** One image of `patches` patches: embeddings [output width, tokens] and one such per deepstack layer. */
  forward(g: GraphBuilder, patches: number): Record<string, Tensor<'f32'>> {
    const { config } = this
    const pixels = g.input('patches', 'f32', [patchSize(config), patches])
    const embedded = g.add(g.mulMat(this.patch_embed.weight, pixels), this.patch_embed.bias)
    // The learned grid at each patch's position: four neighbours, weighted.
    const corners = this.pos_embed.forward(g, g.input('corners', 'i32', [4 * patches]))
    const weighted = g.mul(g.reshape(corners, config.hidden, 4, patches), g.input('weights', 'f32', [1, 4, patches]))
    let x = embedded
    for (let i = 0; i < 4; i++) {
      const corner = g.view(weighted, [config.hidden, patches], {
        strides: [weighted.strides[2]],
        offset: i * weighted.strides[1],
      })
      x = g.add(x, corner)
    }
    const positions = this.rotary.input(g, patches)
    const outputs: Record<string, Tensor<'f32'>> = {}
    for (const [layer, block] of this.blocks.entries()) {
      x = block.forward(g, x, (attention, normed) => attention.forward(g, normed, this.rotary, positions))
      const i = config.deepstackLayers.indexOf(layer)
      const merger = i < 0 ? undefined : this.merger_list[i]
      if (merger) outputs[`deepstack.${i}`] = merger.forward(g, x)
    }
    outputs['embeddings'] = this.merger.forward(g, x)
    return outputs
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

  async encode(
    patches: PatchValues,
    grid: readonly [number, number, number],
    { signal, pause }: EncodeOptions = {},
  ): Promise<{ embeddings: Float32Array; deepstack: Float32Array[] }> {
    const { config } = this.#model
    const [frames, rows, columns] = grid
    const size = patchSize(config)
    const perFrame = rows * columns
    if (frames < 1 || perFrame < 1 || patches.length !== frames * perFrame * size)
      throw new RangeError(`${patches.length} values are no ${frames}x${rows}x${columns} patches of ${size}`)
    if (rows % config.merge !== 0 || columns % config.merge !== 0)
      throw new RangeError(`a grid of ${rows}x${columns} patches does not divide into blocks of ${config.merge}`)
    const width = config.outputWidth
    const tokens = perFrame / config.merge ** 2
    const embeddings = new Float32Array(frames * tokens * width)
    const deepstack = config.deepstackLayers.map(() => new Float32Array(frames * tokens * width))
    const places = placesOf(rows, columns, config)
    // Working memory grows with the image, so it is freed after each one.
    using graphs = new GraphCache(this.#backend, { maxNodes: 80 * config.layers + 400 })
    for (let frame = 0; frame < frames; frame++) {
      if (frame > 0) await pause?.()
      const outputs = await graphs.run(
        `${perFrame}`,
        (g) => this.#model.forward(g, perFrame),
        {
          patches: patches.slice(frame * perFrame * size, (frame + 1) * perFrame * size),
          corners: places.corners,
          weights: places.weights,
          positions: this.#model.rotary.positions(places.positions),
        },
        signal ? { signal } : {},
      )
      const at = frame * tokens * width
      if (outputs['embeddings']) embeddings.set(outputs['embeddings'], at)
      for (const [i, features] of deepstack.entries()) {
        const output = outputs[`deepstack.${i}`]
        if (output) features.set(output, at)
      }
    }
    return { embeddings, deepstack }
  }

  /** There is no state between calls. */
  [Symbol.dispose](): void {}
}

interface Places {
  /** [2, patches]: row and column. */
  readonly positions: Int32Array
  /** Four rows of the learned grid per patch. */
  readonly corners: Int32Array
  readonly weights: Float32Array
}

/** The position of each patch, block after block, and the learned positions around it (corners aligned, bilinear). */
function placesOf(rows: number, columns: number, config: VisionEncoderConfig): Places {
  const { merge, positionGrid: side } = config
  const patches = rows * columns
  const positions = new Int32Array(2 * patches)
  const corners = new Int32Array(4 * patches)
  const weights = new Float32Array(4 * patches)
  const taps = (index: number, size: number): { at: [number, number]; weight: [number, number] } => {
    const place = Math.fround((index * (side - 1)) / Math.max(size - 1, 1))
    const floor = Math.floor(place)
    const part = Math.fround(place - floor)
    return { at: [Math.min(floor, side - 1), Math.min(floor + 1, side - 1)], weight: [Math.fround(1 - part), part] }
  }
  let patch = 0
  for (let blockRow = 0; blockRow < rows / merge; blockRow++) {
    for (let blockColumn = 0; blockColumn < columns / merge; blockColumn++) {
      for (let inner = 0; inner < merge * merge; inner++, patch++) {
        const row = blockRow * merge + Math.floor(inner / merge)
        const column = blockColumn * merge + (inner % merge)
        positions[patch] = row
        positions[patches + patch] = column
        const [vertical, horizontal] = [taps(row, rows), taps(column, columns)]
        for (const i of [0, 1] as const) {
          for (const j of [0, 1] as const) {
            corners[4 * patch + 2 * i + j] = vertical.at[i] * side + horizontal.at[j]
            weights[4 * patch + 2 * i + j] = Math.fround(vertical.weight[i] * horizontal.weight[j])
          }
        }
      }
    }
  }
  return { positions, corners, weights }
}
