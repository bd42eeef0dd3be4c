/**
 * The talker: computes codec codes from sums of the thinker's embeddings and hidden states.
 *
 * In: rows of the thinker's width and positions per sequence. Out: logits over the codec vocabulary, of each sequence's
 * last row. Reference: transformers `Qwen2_5OmniTalkerForConditionalGeneration`.
 */

import { Embedding, joinPositions, KvStep, Linear, type Parameters } from '../../nn/index.ts'
import { GraphCache, type Backend } from '../../tensor/index.ts'
import { Decoder } from '../decoder/decoder.ts'
import { decoderSequence, DecoderSequence, growSequences, stepNodes } from '../decoder/sequence.ts'
import { checkIds, type DecoderStageOptions } from '../decoder/thinker.ts'
import type { StageSequence } from '../stages.ts'
import type { TalkerConfig } from './config-types.ts'

export interface TalkerInput {
  readonly sequence: StageSequence
  /** [tokens, thinker hidden] */
  readonly rows: Float32Array
  /** [3, tokens] */
  readonly positions: Float32Array
}

/** The talker's weights. */
export class TalkerModel {
  readonly decoder: Decoder
  readonly embed_tokens: Embedding
  readonly thinker_to_talker_proj: Linear
  readonly codec_head: Linear
  readonly config: TalkerConfig

  /** `parameters`: the scope `talker`. */
  constructor(parameters: Parameters, config: TalkerConfig) {
    this.config = config
    const { hidden, inputWidth, vocabulary } = config
    const model = parameters.scope('model')
    this.decoder = new Decoder(model, config)
    this.embed_tokens = new Embedding(model.scope('embed_tokens'), vocabulary, inputWidth)
    this.thinker_to_talker_proj = new Linear(parameters.scope('thinker_to_talker_proj'), inputWidth, hidden, {
      bias: true,
    })
    this.codec_head = new Linear(parameters.scope('codec_head'), hidden, vocabulary)
  }
}

export class Talker implements Disposable {
  readonly vocabSize: number
  /** Width of its input rows: the thinker's. */
  readonly inputWidth: number
  readonly #backend: Backend
  readonly #model: TalkerModel
  readonly #graphs: GraphCache
  readonly #options: DecoderStageOptions

  constructor(backend: Backend, model: TalkerModel, options: DecoderStageOptions = {}) {
    this.#backend = backend
    this.#model = model
    this.#options = options
    this.#graphs = new GraphCache(backend, { maxNodes: 100 })
    this.vocabSize = model.config.vocabulary
    this.inputWidth = model.config.inputWidth
  }

  newSequence(capacity: number): DecoderSequence {
    const { layers, keyValueHeads, headSize } = this.#model.config
    const type = this.#options.cacheType ?? 'f16'
    const options = { layers, keyValueHeads, headSize, capacity, type }
    return new DecoderSequence(this.#backend, this.#graphs, options, this.#options.budget)
  }

  /**
   * One batched step over several sequences. Advances their caches, which grow as needed. Returns logits [codec
   * vocabulary] for each.
   */
  async forward(inputs: readonly TalkerInput[], signal?: AbortSignal): Promise<Float32Array[]> {
    if (inputs.length === 0) return []
    const { decoder, codec_head, thinker_to_talker_proj, config } = this.#model
    const { inputWidth } = config
    signal?.throwIfAborted()
    const items = inputs.map(({ sequence, rows }) => ({ sequence, tokens: rows.length / inputWidth }))
    await growSequences(items)
    const step = new KvStep(
      items.map(({ sequence, tokens }) => ({ cache: decoderSequence(sequence).cache, tokens })),
      { repeats: config.heads / config.keyValueHeads },
    )
    const rows = new Float32Array(step.tokens * inputWidth)
    const last = new Int32Array(inputs.length)
    let at = 0
    for (const [i, input] of inputs.entries()) {
      rows.set(input.rows, at)
      at += input.rows.length
      last[i] = at / inputWidth - 1
      if (input.positions.length * inputWidth !== 3 * input.rows.length)
        throw new RangeError(`${input.positions.length} positions given; 3 per token are needed`)
    }
    const { logits } = await this.#graphs.run(
      step.key,
      (g) => {
        const x = thinker_to_talker_proj.forward(g, g.input('rows', 'f32', [inputWidth, step.tokens]))
        const run = decoder.forward(g, x, {
          segments: step.segments(g),
          positions: decoder.rotary.input(g, step.tokens),
          rows: g.input('last', 'i32', [inputs.length]),
        })
        return { logits: codec_head.forward(g, run.hidden) }
      },
      {
        rows,
        last,
        positions: decoder.rotary.positions(
          joinPositions(
            inputs.map((input) => input.positions),
            3,
          ),
        ),
        ...step.inputs(),
      },
      { maxNodes: stepNodes(config.layers, inputs.length), ...(signal && { signal }) },
    )
    step.advance()
    return inputs.map((_, i) => logits.slice(i * this.vocabSize, (i + 1) * this.vocabSize))
  }

  /** Codec embeddings: [ids, thinker hidden]. */
  async embed(ids: Int32Array): Promise<Float32Array> {
    if (ids.length === 0) return new Float32Array()
    checkIds(ids, this.vocabSize)
    const { embed_tokens } = this.#model
    const { rows } = await this.#graphs.run(
      `codec ${ids.length}`,
      (g) => ({ rows: embed_tokens.forward(g, g.input('ids', 'i32', [ids.length])) }),
      { ids },
    )
    return rows
  }

  [Symbol.dispose](): void {
    this.#graphs[Symbol.dispose]()
  }
}
