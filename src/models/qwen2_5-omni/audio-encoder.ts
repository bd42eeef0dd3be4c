/**
 * The audio encoder: log-mel frames to thinker embeddings, one token per four frames (40 ms).
 *
 * Chunks of (usually) 200 frames attend only to themselves. They run in groups, one after the other, so that memory is
 * bounded for long audio, and an abort takes effect between groups. Reference: transformers
 * `Qwen2_5OmniAudioEncoder`.
 */

import { Attention, LayerNorm, Linear, PlainMlp, PreNormLayer, sinusoids, type Parameters } from '../../nn/index.ts'
import { GraphCache, type Backend, type GraphBuilder, type Tensor } from '../../tensor/index.ts'
import type { AudioEncodeOptions, AudioEncoderStage, AudioWindows } from '../stages.ts'
import type { AudioEncoderConfig } from './config-types.ts'

/** Chunks per group. An even number, so that both positions of a token are in the same group. */
const GROUP = 8
const KERNEL = 3

/**
 * Conv1d with kernel 3, by the numbers of the input rows of each output: row 0 is silence, and a window that reaches
 * beyond its chunk uses it instead of the neighbour.
 */
class ChunkConvolution {
  readonly weight: Tensor
  readonly bias: Tensor<'f32'>
  readonly #channels: number

  constructor(parameters: Parameters, inChannels: number, outChannels: number) {
    this.#channels = inChannels
    this.weight = parameters.get('weight', {
      shape: [inChannels * KERNEL, outChannels],
      use: 'matmul',
      layout: 'conv-windows',
      precision: 'fine',
    })
    this.bias = parameters.vector('bias', [outChannels])
  }

  /** x: [in, 1 + rows]; `reads`: i32 [3 * outputs]. To [out, outputs]. */
  forward(g: GraphBuilder, x: Tensor<'f32'>, reads: Tensor<'i32'>): Tensor<'f32'> {
    const windows = g.reshape(g.getRows(x, reads), this.#channels * KERNEL, reads.shape[0] / KERNEL)
    return g.add(g.mulMat(this.weight, windows), this.bias)
  }
}

function audioEncoderLayer(parameters: Parameters, config: AudioEncoderConfig): PreNormLayer<Attention> {
  const { width, heads, feedForward } = config
  return new PreNormLayer({
    attention: new Attention(parameters.scope('self_attn'), {
      hidden: width,
      heads,
      keyValueHeads: heads,
      headSize: width / heads,
      bias: true,
      keyBias: false,
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
  readonly conv1: ChunkConvolution
  readonly conv2: ChunkConvolution
  readonly layers: readonly PreNormLayer<Attention>[]
  readonly ln_post: LayerNorm
  readonly proj: Linear
  readonly config: AudioEncoderConfig

  /** `parameters`: the scope `audio_tower`. */
  constructor(parameters: Parameters, config: AudioEncoderConfig) {
    this.config = config
    const { width, melBins } = config
    this.conv1 = new ChunkConvolution(parameters.scope('conv1'), melBins, width)
    this.conv2 = new ChunkConvolution(parameters.scope('conv2'), width, width)
    this.layers = Array.from(
      { length: config.layers },
      (_, layer) => audioEncoderLayer(parameters.scope('layers').scope(layer), config),
    )
    this.ln_post = new LayerNorm(parameters.scope('ln_post'), width)
    this.proj = new Linear(parameters.scope('proj'), width, config.outputWidth, { bias: true, precision: 'fine' })
  }

  /** Chunks of these numbers of frames to [output width, tokens]. */
  forward(g: GraphBuilder, chunks: readonly number[]): Tensor<'f32'> {
    const { width, melBins } = this.config
    const frames = chunks.reduce((sum, count) => sum + count, 0)
    const lengths = chunks.map(positionsOf)
    const positions = lengths.reduce((sum, count) => sum + count, 0)
    const mel = g.input('mel', 'f32', [melBins, 1 + frames])
    const first = g.geluErf(this.conv1.forward(g, mel, g.input('reads1', 'i32', [KERNEL * frames])))
    const padded = g.pad(first, [
      [0, 0],
      [1, 0],
    ])
    const second = g.geluErf(this.conv2.forward(g, padded, g.input('reads2', 'i32', [KERNEL * positions])))
    let x = g.add(second, g.input('sinusoids', 'f32', [width, positions]))
    for (const layer of this.layers)
      x = layer.forward(g, x, (attention, normed) => attention.encode(g, normed, { lengths }))
    // A token is the mean of two positions; an odd last position has no token.
    const tokens = Math.floor(positions / 2)
    const half = (i: number): Tensor<'f32'> =>
      g.view(x, [width, tokens], { strides: [2 * x.strides[1]], offset: i * x.strides[1] })
    const pooled = g.scale(g.add(g.cont(half(0)), g.cont(half(1))), 0.5)
    return this.proj.forward(g, this.ln_post.forward(g, pooled))
  }
}

/** Frames of a chunk and the first of them. */
interface Chunk {
  readonly from: number
  readonly frames: number
}

function chunksOf(from: number, until: number, chunkFrames: number): Chunk[] {
  const chunks: Chunk[] = []
  for (let at = from; at < until; at += chunkFrames) chunks.push({ from: at, frames: Math.min(chunkFrames, until - at) })
  return chunks
}

/** Positions of a chunk after the convolution of stride 2. */
function positionsOf(frames: number): number {
  return Math.ceil(frames / 2)
}

export class AudioEncoder implements AudioEncoderStage {
  readonly #backend: Backend
  readonly #model: AudioEncoderModel
  /** [positions of a whole chunk, width] */
  readonly #sinusoids: Float32Array

  constructor(backend: Backend, model: AudioEncoderModel) {
    this.#backend = backend
    this.#model = model
    const { chunkFrames, width } = model.config
    this.#sinusoids = sinusoids(positionsOf(chunkFrames), width)
  }

  get windows(): AudioWindows {
    const { chunkFrames } = this.#model.config
    const chunks = this.#windowChunks
    const frames = chunks * chunkFrames
    return {
      frames,
      tokens: (chunks * positionsOf(chunkFrames)) / 2,
      window: async (mel, _, signal) => {
        using graphs = this.#graphs()
        return this.#run(graphs, mel, frames, chunksOf(0, frames, chunkFrames), signal)
      },
    }
  }

  /** Chunks whose positions form whole tokens. */
  get #windowChunks(): number {
    return positionsOf(this.#model.config.chunkFrames) % 2 === 0 ? 1 : 2
  }

  /** Throws RangeError for fewer frames than a token needs (3), or a log-mel of another size. */
  async encode(
    mel: Float32Array,
    frames: number,
    { signal, pause, ahead }: AudioEncodeOptions = {},
  ): Promise<Float32Array> {
    const { config } = this.#model
    const { melBins, chunkFrames, outputWidth } = config
    if (mel.length !== frames * melBins)
      throw new RangeError(`a log-mel of ${mel.length} values is not [${melBins}, ${frames}]`)
    const tokens = Math.floor(positionsOf(frames) / 2)
    if (tokens < 1) throw new RangeError(`${frames} frames make no token; 3 are the fewest`)
    const embeddings = new Float32Array(tokens * outputWidth)
    // Working memory is freed after each audio.
    using graphs = this.#graphs()
    let group: Chunk[] = []
    let ran = false
    const runGroup = async (): Promise<void> => {
      const chunks = group
      group = []
      const [first] = chunks
      // A single last position has no token.
      if (!first || positionsOf(chunks.reduce((sum, chunk) => sum + chunk.frames, 0)) < 2) return
      if (ran) await pause?.()
      ran = true
      embeddings.set(await this.#run(graphs, mel, frames, chunks, signal), (first.from / 4) * outputWidth)
    }
    const window = this.#windowChunks * chunkFrames
    for (let from = 0; from < frames; from += window) {
      const known = ahead?.window(from)
      if (known) {
        await runGroup()
        embeddings.set(known, (from / 4) * outputWidth)
        continue
      }
      group.push(...chunksOf(from, Math.min(frames, from + window), chunkFrames))
      if (group.length >= GROUP) await runGroup()
    }
    await runGroup()
    return embeddings
  }

  /** Neighbouring chunks of a mel [bins, frames], to [tokens, output width]. */
  async #run(
    graphs: GraphCache,
    mel: Float32Array,
    frames: number,
    chunks: readonly Chunk[],
    signal: AbortSignal | undefined,
  ): Promise<Float32Array> {
    const lengths = chunks.map((chunk) => chunk.frames)
    const start = chunks[0]!.from
    const end = chunks.at(-1)!.from + chunks.at(-1)!.frames
    const { embeddings } = await graphs.run(
      lengths.join(' '),
      (g) => ({ embeddings: this.#model.forward(g, lengths) }),
      {
        mel: timeFirst(mel, this.#model.config.melBins, frames, start, end),
        reads1: readsOf(lengths, 1),
        reads2: readsOf(lengths, 2),
        sinusoids: this.#positions(lengths),
      },
      signal ? { signal } : {},
    )
    return embeddings
  }

  #graphs(): GraphCache {
    return new GraphCache(this.#backend, { maxNodes: 70 * this.#model.config.layers + 200 })
  }

  /** Positions count from 0 in every chunk. */
  #positions(chunks: readonly number[]): Float32Array {
    const { width } = this.#model.config
    const lengths = chunks.map(positionsOf)
    const all = new Float32Array(lengths.reduce((sum, length) => sum + length, 0) * width)
    let at = 0
    for (const length of lengths) {
      all.set(this.#sinusoids.subarray(0, length * width), at)
      at += length * width
    }
    return all
  }

  /** There is no state between calls. */
  [Symbol.dispose](): void {}
}

/** [bins, frames] to [1 + frames, bins] of the frames from `start` to `end`, the first row zero. */
function timeFirst(mel: Float32Array, bins: number, frames: number, start: number, end: number): Float32Array {
  const rows = new Float32Array((1 + end - start) * bins)
  for (let bin = 0; bin < bins; bin++)
    for (let frame = start; frame < end; frame++) rows[(1 + frame - start) * bins + bin] = mel[bin * frames + frame] ?? 0
  return rows
}

/** Input rows of each output of a convolution with padding 1. Row 0 is the padding outside the chunk. */
function readsOf(chunks: readonly number[], stride: number): Int32Array {
  const reads: number[] = []
  let base = 0
  for (const frames of chunks) {
    for (let center = 0; center < frames; center += stride)
      for (let place = center - 1; place <= center + 1; place++)
        reads.push(place < 0 || place >= frames ? 0 : 1 + base + place)
    base += frames
  }
  return Int32Array.from(reads)
}
