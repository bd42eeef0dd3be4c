/**
 * The talker: computes the first codec code of each speech frame from projected thinker states.
 *
 * In: embeddings and positions per sequence. Out: logits over the codec vocabulary and the hidden state, of each
 * sequence's last token. Reference: transformers `Qwen3OmniMoeTalkerForConditionalGeneration`.
 */

import { Embedding, joinPositions, KvStep, Linear, PlainMlp, type Parameters } from '../../nn/index.ts'
import { GraphCache, type Backend, type GraphBuilder, type Tensor } from '../../tensor/index.ts'
import type { TalkerInput, TalkerOutput, TalkerStage } from './speech/stages.ts'
import type { TalkerConfig } from './config-types.ts'
import { Decoder } from '../decoder/decoder.ts'
import { goesByLayers, runByLayers } from '../decoder/layered.ts'
import { decoderSequence, DecoderSequence, growSequences, stepNodes } from '../decoder/sequence.ts'
import { checkIds, type DecoderStageOptions } from '../decoder/thinker.ts'

/** The talker's weights. */
export class TalkerModel {
  readonly decoder: Decoder
  readonly codec_embedding: Embedding
  readonly codec_head: Linear
  readonly text_projection: PlainMlp
  readonly hidden_projection: PlainMlp
  readonly config: TalkerConfig

  /** `parameters`: the scope `talker`. */
  constructor(parameters: Parameters, config: TalkerConfig) {
    this.config = config
    const { hidden, vocabulary, thinkerHidden, feedForward } = config
    const model = parameters.scope('model')
    this.decoder = new Decoder(model, config)
    this.codec_embedding = new Embedding(model.scope('codec_embedding'), vocabulary, hidden)
    this.codec_head = new Linear(parameters.scope('codec_head'), hidden, vocabulary)
    const projection = (name: string): PlainMlp =>
      new PlainMlp(parameters.scope(name), ['linear_fc1', 'linear_fc2'], [thinkerHidden, feedForward, hidden], 'silu')
    this.text_projection = projection('text_projection')
    this.hidden_projection = projection('hidden_projection')
  }
}

interface TalkerStep {
  readonly step: KvStep
  /** [tokens, hidden] */
  readonly embeddings: Float32Array
  /** Each sequence's last token. */
  readonly last: Int32Array
  readonly positions: Int32Array
  readonly sequences: number
}

export class Talker implements TalkerStage {
  readonly vocabSize: number
  readonly hiddenSize: number
  readonly codeGroups: number
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
    this.hiddenSize = model.config.hidden
    this.codeGroups = model.config.codeGroups
  }

  newSequence(capacity: number): DecoderSequence {
    const { layers, keyValueHeads, headSize } = this.#model.config
    const type = this.#options.cacheType ?? 'f16'
    const options = { layers, keyValueHeads, headSize, capacity, type }
    return new DecoderSequence(this.#backend, this.#graphs, options, this.#options.budget)
  }

  async forward(inputs: readonly TalkerInput[], signal?: AbortSignal): Promise<TalkerOutput[]> {
    if (inputs.length === 0) return []
    const { decoder, config } = this.#model
    signal?.throwIfAborted()
    await growSequences(
      inputs.map(({ sequence, embeddings }) => ({ sequence, tokens: embeddings.length / config.hidden })),
    )
    const step = new KvStep(
      inputs.map(({ sequence, embeddings }) => ({
        cache: decoderSequence(sequence).cache,
        tokens: embeddings.length / config.hidden,
      })),
      { repeats: config.heads / config.keyValueHeads },
    )
    const embeddings = new Float32Array(step.tokens * config.hidden)
    const last = new Int32Array(inputs.length)
    let at = 0
    for (const [i, input] of inputs.entries()) {
      embeddings.set(input.embeddings, at)
      at += input.embeddings.length
      last[i] = at / config.hidden - 1
      if (input.positions.length * config.hidden !== 3 * input.embeddings.length)
        throw new RangeError(`${input.positions.length} positions given; 3 per token are needed`)
    }
    const positions = decoder.rotary.positions(
      joinPositions(
        inputs.map((input) => input.positions),
        3,
      ),
    )
    const { logits, hidden } = await this.#run({ step, embeddings, last, positions, sequences: inputs.length }, signal)
    step.advance()
    return inputs.map((_, i) => ({
      logits: logits.subarray(i * this.vocabSize, (i + 1) * this.vocabSize),
      hidden: hidden.slice(i * this.hiddenSize, (i + 1) * this.hiddenSize),
    }))
  }

  async #run(
    { step, embeddings, last, positions, sequences }: TalkerStep,
    signal: AbortSignal | undefined,
  ): Promise<{ logits: Float32Array; hidden: Float32Array }> {
    const { decoder, codec_head, config } = this.#model
    const begin = (g: GraphBuilder): Tensor<'f32'> => g.input('embeddings', 'f32', [config.hidden, step.tokens])
    const finish = (g: GraphBuilder, hidden: Tensor<'f32'>): { logits: Tensor<'f32'>; hidden: Tensor<'f32'> } => ({
      logits: codec_head.forward(g, hidden),
      hidden,
    })
    if (this.#backend.kind === 'cpu' && goesByLayers(decoder, step.tokens, this.#options.byLayersFrom)) {
      const given = { embeddings }
      const run = { step, sequences, positions, begin, given, deepstack: [], rows: last, finish }
      const outputs = await runByLayers(this.#graphs, decoder, run, signal)
      return { logits: outputs['logits']!, hidden: outputs['hidden']! }
    }
    return this.#graphs.run(
      step.key,
      (g) => {
        const run = decoder.forward(g, begin(g), {
          segments: step.segments(g),
          positions: decoder.rotary.input(g, step.tokens),
          rows: g.input('last', 'i32', [sequences]),
        })
        return finish(g, run.hidden)
      },
      { embeddings, last, positions, ...step.inputs() },
      { maxNodes: stepNodes(config.layers, sequences), ...(signal && { signal }) },
    )
  }

  projectText(embeddings: Float32Array): Promise<Float32Array> {
    return this.#project('text', this.#model.text_projection, embeddings)
  }

  projectHidden(hidden: Float32Array): Promise<Float32Array> {
    return this.#project('hidden', this.#model.hidden_projection, hidden)
  }

  async embedCodec(ids: Int32Array): Promise<Float32Array> {
    if (ids.length === 0) return new Float32Array()
    checkIds(ids, this.vocabSize)
    const { codec_embedding } = this.#model
    const { rows } = await this.#graphs.run(
      `codec ${ids.length}`,
      (g) => ({ rows: codec_embedding.forward(g, g.input('ids', 'i32', [ids.length])) }),
      { ids },
    )
    return rows
  }

  async #project(name: string, mlp: PlainMlp, values: Float32Array): Promise<Float32Array> {
    const { thinkerHidden } = this.#model.config
    const tokens = values.length / thinkerHidden
    if (tokens === 0) return new Float32Array()
    const { projected } = await this.#graphs.run(
      `${name} ${tokens}`,
      (g) => ({ projected: mlp.forward(g, g.input('x', 'f32', [thinkerHidden, tokens])) }),
      { x: values },
    )
    return projected
  }

  [Symbol.dispose](): void {
    this.#graphs[Symbol.dispose]()
  }
}
