/**
 * The audio encoder: log-mel frames to thinker embeddings, 13 tokens per chunk of (usually) 100 frames.
 *
 * Three strided convolutions process one chunk at a time; attention sees one window of several chunks. Windows are
 * independent, so they run in sequence: memory stays bounded for long audio, and an abort takes effect between them.
 * Reference: transformers `Qwen3OmniMoeAudioEncoder`.
 */

import {
  activate,
  Attention,
  Conv2d,
  LayerNorm,
  Linear,
  PlainMlp,
  PreNormLayer,
  sinusoids,
  type Parameters,
} from '../../nn/index.ts'
import { GraphCache, type Backend, type GraphBuilder, type Tensor } from '../../tensor/index.ts'
import type { AudioEncodeOptions, AudioEncoderStage, AudioWindows } from '../stages.ts'
import type { AudioEncoderConfig } from './config-types.ts'

function audioEncoderLayer(parameters: Parameters, config: AudioEncoderConfig): PreNormLayer<Attention> {
  const { width, heads, feedForward } = config
  return new PreNormLayer({
    attention: new Attention(parameters.scope('self_attn'), {
      hidden: width,
      heads,
      keyValueHeads: heads,
      headSize: width / heads,
      bias: true,
      outputBias: true,
      names: ['q_proj', 'k_proj', 'v_proj', 'out_proj'],
      precision: 'fine',
    }),
    attentionNorm: new LayerNorm(parameters.scope('self_attn_layer_norm'), width),
    mlpNorm: new LayerNorm(parameters.scope('final_layer_norm'), width),
    mlp: new PlainMlp(parameters, ['fc1', 'fc2'], [width, feedForward, width], config.activation, {
      precision: 'fine',
    }),
  })
}

/** The audio encoder's weights and graph. */
export class AudioEncoderModel {
  readonly conv2d1: Conv2d
  readonly conv2d2: Conv2d
  readonly conv2d3: Conv2d
  readonly conv_out: Linear
  readonly layers: readonly PreNormLayer<Attention>[]
  readonly ln_post: LayerNorm
  readonly proj1: Linear
  readonly proj2: Linear
  readonly config: AudioEncoderConfig

  /** `parameters`: the scope `audio_tower`. */
  constructor(parameters: Parameters, config: AudioEncoderConfig) {
    this.config = config
    const { width, convolutionChannels: channels } = config
    const convolution = (name: string, inChannels: number): Conv2d =>
      new Conv2d(parameters.scope(name), inChannels, channels, { kernel: [3, 3], stride: [2, 2], padding: [1, 1] })
    this.conv2d1 = convolution('conv2d1', 1)
    this.conv2d2 = convolution('conv2d2', channels)
    this.conv2d3 = convolution('conv2d3', channels)
    const bands = reducedLength(config.melBins)
    this.conv_out = new Linear(parameters.scope('conv_out'), channels * bands, width, { precision: 'fine' })
    this.layers = Array.from(
      { length: config.layers },
      (_, layer) => audioEncoderLayer(parameters.scope('layers').scope(layer), config),
    )
    this.ln_post = new LayerNorm(parameters.scope('ln_post'), width)
    this.proj1 = new Linear(parameters.scope('proj1'), width, width, { bias: true, precision: 'fine' })
    this.proj2 = new Linear(parameters.scope('proj2'), width, config.outputWidth, { bias: true, precision: 'fine' })
  }

  /** One chunk: mel [frames, bins] (time contiguous) to [width, tokens], positions from 0 added. */
  chunk(g: GraphBuilder, mel: Tensor<'f32'>, positions: Tensor<'f32'>): Tensor<'f32'> {
    let x: Tensor<'f32'> = g.reshape(mel, mel.shape[0], mel.shape[1], 1, 1)
    for (const [i, convolution] of [this.conv2d1, this.conv2d2, this.conv2d3].entries()) {
      const y = g.geluErf(convolution.forward(g, x))
      // The result has contiguous channels: back to [time, bands, channels], and finally to [bands, channels, time] for
      // `conv_out`.
      x = g.cont(i < 2 ? g.permute(y, 2, 0, 1, 3) : g.permute(y, 1, 2, 0, 3))
    }
    const [bands, channels, tokens] = x.shape
    const projected = this.conv_out.forward(g, g.reshape(x, bands * channels, tokens))
    return g.add(projected, g.slice(positions, 1, 0, tokens))
  }

  /** x: [width, tokens of one window] to [output width, tokens]. */
  transform(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    let hidden = x
    for (const layer of this.layers)
      hidden = layer.forward(g, hidden, (attention, normed) => attention.encode(g, normed))
    const inner = activate(g, this.config.activation, this.proj1.forward(g, this.ln_post.forward(g, hidden)))
    return this.proj2.forward(g, inner)
  }
}

/** Length after three convolutions of stride 2. */
function reducedLength(frames: number): number {
  return Math.ceil(Math.ceil(Math.ceil(frames / 2) / 2) / 2)
}

export class AudioEncoder implements AudioEncoderStage {
  readonly #backend: Backend
  readonly #model: AudioEncoderModel
  readonly #positions: Float32Array
  readonly #positionCount: number

  constructor(backend: Backend, model: AudioEncoderModel) {
    this.#backend = backend
    this.#model = model
    const { config } = model
    this.#positionCount = reducedLength(config.chunkFrames)
    this.#positions = sinusoids(this.#positionCount, config.width)
  }

  get windows(): AudioWindows {
    const { chunkFrames, windowChunks } = this.#model.config
    return {
      frames: chunkFrames * windowChunks,
      tokens: this.#positionCount * windowChunks,
      chunkFrames,
      chunk: (mel, signal) => this.#chunkAhead(mel, signal),
      window: async (mel, chunks, signal) => {
        using graphs = this.#graphs()
        return this.#window(graphs, { mel, frames: chunkFrames * windowChunks, padded: 0, signal }, (i) => chunks[i])
      },
    }
  }

  async encode(
    mel: Float32Array,
    frames: number,
    { signal, pause, longestFrames = frames, ahead }: AudioEncodeOptions = {},
  ): Promise<Float32Array> {
    const { config } = this.#model
    const { melBins, chunkFrames, windowChunks, outputWidth } = config
    if (frames < 1 || mel.length !== frames * melBins)
      throw new RangeError(`a log-mel of ${mel.length} values is not [${melBins}, ${frames}]`)
    const padded = this.padding(frames, longestFrames)
    const pieces: Float32Array[] = []
    // Working memory is freed after each audio.
    using graphs = this.#graphs()
    for (let start = 0; start < frames; start += chunkFrames * windowChunks) {
      const known = ahead?.window(start)
      if (known) {
        pieces.push(known)
        continue
      }
      if (pieces.length > 0) await pause?.()
      const window = Math.min(chunkFrames * windowChunks, frames - start)
      const values = window === frames ? mel : cut(mel, melBins, frames, start, window, window)
      pieces.push(
        await this.#window(graphs, { mel: values, frames: window, padded, signal }, (i) =>
          ahead?.chunk(start + i * chunkFrames),
        ),
      )
    }
    return pieces.length === 1 && pieces[0] ? pieces[0] : joinPieces(pieces, outputWidth)
  }

  /** `chunkAt`: outputs of whole chunks by index, as far as they are known. */
  async #window(
    graphs: GraphCache,
    window: { mel: Float32Array; frames: number; padded: number; signal: AbortSignal | undefined },
    chunkAt: (index: number) => Float32Array | undefined,
  ): Promise<Float32Array> {
    const { mel, frames, padded, signal } = window
    const { melBins, chunkFrames } = this.#model.config
    const whole = Math.floor(frames / chunkFrames)
    const rest = frames % chunkFrames
    const inputs: Record<string, Float32Array> = {}
    let known = 0
    for (let i = 0; i < whole; i++) {
      const chunk = known === i ? chunkAt(i) : undefined
      if (chunk) {
        inputs[`chunk.${i}`] = chunk
        known += 1
      } else inputs[`mel.${i}`] = cut(mel, melBins, frames, i * chunkFrames, chunkFrames, chunkFrames)
    }
    if (rest > 0) inputs['rest'] = cut(mel, melBins, frames, whole * chunkFrames, rest, padded)
    if (known < whole || rest > 0) inputs['positions'] = this.#positions
    const shape: WindowShape = { known, whole, rest, padded: rest === 0 ? 0 : padded }
    const { embeddings } = await graphs.run(
      `${known} ${whole} ${rest} ${shape.padded}`,
      (g) => ({ embeddings: this.#build(g, shape) }),
      inputs,
      signal ? { signal } : {},
    )
    return embeddings
  }

  async #chunkAhead(mel: Float32Array, signal: AbortSignal | undefined): Promise<Float32Array> {
    const { melBins, chunkFrames } = this.#model.config
    using graphs = this.#graphs()
    const { chunk } = await graphs.run(
      'chunk',
      (g) => ({
        chunk: this.#model.chunk(g, g.input('mel', 'f32', [chunkFrames, melBins]), this.#positionsOf(g)),
      }),
      { mel, positions: this.#positions },
      signal ? { signal } : {},
    )
    return chunk
  }

  #graphs(): GraphCache {
    const { layers, windowChunks } = this.#model.config
    return new GraphCache(this.#backend, { maxNodes: 60 * (layers + windowChunks) + 200 })
  }

  #positionsOf(g: GraphBuilder): Tensor<'f32'> {
    return g.input('positions', 'f32', [this.#model.config.width, this.#positionCount])
  }

  /**
   * The last chunk is padded to the longest chunk of the request before the convolutions, which changes its last token.
   */
  padding(frames: number, longestFrames: number): number {
    return Math.min(this.#model.config.chunkFrames, Math.max(frames, longestFrames))
  }

  #build(g: GraphBuilder, { known, whole, rest, padded }: WindowShape): Tensor<'f32'> {
    const { config } = this.#model
    const { chunkFrames, melBins, width } = config
    let tokens: Tensor<'f32'> | undefined
    const append = (part: Tensor<'f32'>): void => {
      tokens = tokens ? g.concat(tokens, part, 1) : part
    }
    for (let i = 0; i < known; i++) append(g.input(`chunk.${i}`, 'f32', [width, this.#positionCount]))
    const positions = known < whole || rest > 0 ? this.#positionsOf(g) : undefined
    for (let i = known; i < whole; i++)
      append(this.#model.chunk(g, g.input(`mel.${i}`, 'f32', [chunkFrames, melBins]), positions!))
    if (rest > 0) {
      const chunk = this.#model.chunk(g, g.input('rest', 'f32', [padded, melBins]), positions!)
      append(g.cont(g.slice(chunk, 1, 0, reducedLength(rest))))
    }
    if (!tokens) throw new RangeError('a window without frames')
    return this.#model.transform(g, tokens)
  }

  /** There is no state between calls. */
  [Symbol.dispose](): void {}
}

interface WindowShape {
  /** Number of leading chunks whose first layers have been computed. */
  readonly known: number
  /** Chunks of full length. */
  readonly whole: number
  /** Frames of the last, shorter chunk, and the length it is padded to. */
  readonly rest: number
  readonly padded: number
}

/** `count` frames of every band from `start`, zeros up to `padded`. */
function cut(
  mel: Float32Array,
  bins: number,
  frames: number,
  start: number,
  count: number,
  padded: number,
): Float32Array {
  const chunk = new Float32Array(bins * padded)
  for (let bin = 0; bin < bins; bin++)
    chunk.set(mel.subarray(bin * frames + start, bin * frames + start + count), bin * padded)
  return chunk
}

function joinPieces(pieces: readonly Float32Array[], width: number): Float32Array {
  const joined = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    if (piece.length % width !== 0) throw new RangeError(`a piece of ${piece.length} values is not a number of rows of ${width}`)
    joined.set(piece, at)
    at += piece.length
  }
  return joined
}
