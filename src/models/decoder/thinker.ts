/**
 * The thinker: the decoder that generates text from text and media features.
 *
 * In: token ids, multimodal positions, encoder features per sequence. Out: logits, and the talker's input hidden
 * states. Reference: transformers `Qwen3OmniMoeThinkerForConditionalGeneration`,
 * `Qwen2_5OmniThinkerForConditionalGeneration`.
 */

import { Embedding, joinPositions, KvStep, Linear, type Parameters } from '../../nn/index.ts'
import { GraphCache, type Backend, type GraphBuilder, type Inputs, type Tensor } from '../../tensor/index.ts'
import type { MemoryBudget } from '../memory-budget.ts'
import type { ThinkerInput, ThinkerOutput, ThinkerStage } from '../stages.ts'
import type { ThinkerConfig } from './config.ts'
import { Decoder } from './decoder.ts'
import { goesByLayers, type LayeredRun, runByLayers } from './layered.ts'
import { decoderSequence, DecoderSequence, growSequences, stepNodes } from './sequence.ts'

/** The thinker's weights and graph. */
export class ThinkerModel {
  readonly embed_tokens: Embedding
  readonly decoder: Decoder
  readonly lm_head: Linear | undefined
  readonly config: ThinkerConfig

  /** `parameters`: the scope that contains `model` and `lm_head`. */
  constructor(parameters: Parameters, config: ThinkerConfig) {
    this.config = config
    const model = parameters.scope('model')
    this.embed_tokens = new Embedding(model.scope('embed_tokens'), config.vocabulary, config.hidden)
    this.decoder = new Decoder(model, config)
    this.lm_head = config.tiedEmbeddings
      ? undefined
      : new Linear(parameters.scope('lm_head'), config.hidden, config.vocabulary)
  }

  /** hidden [hidden, rows] to logits [vocabulary, rows]. */
  logits(g: GraphBuilder, hidden: Tensor<'f32'>): Tensor<'f32'> {
    return this.lm_head ? this.lm_head.forward(g, hidden) : this.embed_tokens.project(g, hidden)
  }
}

export interface DecoderStageOptions {
  /** Type of the KV caches. Default f16. */
  readonly cacheType?: 'f16' | 'f32'
  /** The hidden state that the talker uses; see `DecoderRun.capture`. */
  readonly capture?: number
  /** Memory for the KV caches. Default: no limit. */
  readonly budget?: MemoryBudget
  /** Tokens per expert from which a step runs layer by layer, for any type of weights; for tests. */
  readonly byLayersFrom?: number
}

export class Thinker implements ThinkerStage {
  readonly vocabSize: number
  readonly hiddenSize: number
  readonly contextLength: number
  readonly chunkTokens: number
  readonly #backend: Backend
  readonly #model: ThinkerModel
  readonly #graphs: GraphCache
  readonly #options: DecoderStageOptions
  /** For a step's logits, [rows, vocabulary]. Kept, because collecting an array of this size per token is costly. */
  #array: Float32Array = new Float32Array()

  constructor(backend: Backend, model: ThinkerModel, options: DecoderStageOptions = {}) {
    this.#backend = backend
    this.#model = model
    this.#options = options
    this.#graphs = new GraphCache(backend, { maxNodes: 100 })
    this.vocabSize = model.config.vocabulary
    this.hiddenSize = model.config.hidden
    this.contextLength = model.config.context
    // More tokens for each expert.
    this.chunkTokens = model.config.sparse ? 512 : 256
  }

  newSequence(capacity: number): DecoderSequence {
    const { layers, keyValueHeads, headSize } = this.#model.config
    const type = this.#options.cacheType ?? 'f16'
    const options = { layers, keyValueHeads, headSize, capacity, type }
    return new DecoderSequence(this.#backend, this.#graphs, options, this.#options.budget)
  }

  async forward(inputs: readonly ThinkerInput[], signal?: AbortSignal): Promise<ThinkerOutput[]> {
    if (inputs.length === 0) return []
    this.#check(inputs)
    signal?.throwIfAborted()
    await growSequences(inputs.map(({ sequence, tokenIds }) => ({ sequence, tokens: tokenIds.length })))
    const plan = this.#plan(inputs)
    const { step } = plan
    const array = this.#takeArray(plan.logitRows * this.vocabSize)
    const outputs = this.#goesByLayers(plan)
      ? await this.#runByLayers(plan, inputs.length, signal)
      : await this.#graphs.run(plan.key, (g) => this.#build(g, plan), plan.data, {
          maxNodes: stepNodes(this.#model.config.layers, inputs.length),
          ...(signal && { signal }),
          ...(plan.logitRows > 0 && { into: { logits: array.subarray(0, plan.logitRows * this.vocabSize) } }),
        })
    step.advance()
    const results = this.#split(inputs, plan, outputs)
    this.#array = array
    return results
  }

  async embed(tokenIds: Int32Array): Promise<Float32Array> {
    if (tokenIds.length === 0) return new Float32Array()
    checkIds(tokenIds, this.vocabSize)
    const { embed_tokens } = this.#model
    const { rows } = await this.#graphs.run(
      `embed ${tokenIds.length}`,
      (g) => ({ rows: embed_tokens.forward(g, g.input('ids', 'i32', [tokenIds.length])) }),
      { ids: tokenIds },
    )
    return rows
  }

  #check(inputs: readonly ThinkerInput[]): void {
    for (const { tokenIds, positions } of inputs) {
      if (positions.length !== 3 * tokenIds.length)
        throw new RangeError(
          `${positions.length} positions given for ${tokenIds.length} tokens; 3 per token are needed`,
        )
      checkIds(tokenIds, this.vocabSize)
    }
  }

  #plan(inputs: readonly ThinkerInput[]): StepPlan {
    const { heads, keyValueHeads, hidden } = this.#model.config
    const step = new KvStep(
      inputs.map(({ sequence, tokenIds }) => ({ cache: decoderSequence(sequence).cache, tokens: tokenIds.length })),
      { repeats: heads / keyValueHeads },
    )
    const ids = new Int32Array(step.tokens)
    const logitRows: number[] = []
    const featureRows: number[] = []
    let layers = 0
    let start = 0
    for (const { tokenIds, features, logits } of inputs) {
      ids.set(tokenIds, start)
      if (features) for (const row of features.rows) featureRows.push(start + row)
      layers = Math.max(layers, features?.deepstack?.length ?? 0)
      if (logits === 'all') for (let i = 0; i < tokenIds.length; i++) logitRows.push(start + i)
      else if (logits === 'last') logitRows.push(start + tokenIds.length - 1)
      start += tokenIds.length
    }
    const hiddenWanted = this.#options.capture !== undefined && inputs.some((input) => input.hidden)
    const data: Record<string, Inputs[string]> = { ids, ...step.inputs() }
    data['positions'] = this.#model.decoder.rotary.positions(
      joinPositions(
        inputs.map((i) => i.positions),
        3,
      ),
    )
    if (logitRows.length > 0) data['logitRows'] = Int32Array.from(logitRows)
    if (featureRows.length > 0) {
      data['featureRows'] = BigInt64Array.from(featureRows, BigInt)
      data['features'] = joinFeatures(inputs, featureRows.length, hidden)
      for (let layer = 0; layer < layers; layer++)
        data[`deepstack.${layer}`] = spreadDeepstack(inputs, layer, step.tokens, hidden)
    } else layers = 0
    const key = `${step.key} l${logitRows.length} f${featureRows.length} d${layers} h${hiddenWanted}`
    return { step, key, data, layers, hiddenWanted, logitRows: logitRows.length, featureRows: featureRows.length }
  }

  #goesByLayers({ step, hiddenWanted }: StepPlan): boolean {
    const { capture, byLayersFrom } = this.#options
    const { decoder } = this.#model
    if (this.#backend.kind !== 'cpu' || (hiddenWanted && capture === decoder.layers.length)) return false
    return goesByLayers(decoder, step.tokens, byLayersFrom)
  }

  #runByLayers(plan: StepPlan, sequences: number, signal?: AbortSignal): Promise<Record<string, Float32Array>> {
    const { capture } = this.#options
    const { data, step } = plan
    const given = Object.fromEntries(
      ['ids', 'features', 'featureRows'].flatMap((name) => (data[name] ? [[name, data[name]] as const] : [])),
    )
    const run: LayeredRun = {
      step,
      sequences,
      positions: data['positions'] as Int32Array,
      begin: (g) => this.#embeddings(g, plan),
      given,
      deepstack: Array.from({ length: plan.layers }, (_, layer) => data[`deepstack.${layer}`] as Float32Array),
      ...(plan.hiddenWanted && { capture: capture ?? 0 }),
      rows: (data['logitRows'] as Int32Array | undefined) ?? new Int32Array(),
      finish: (g, hidden) => ({ logits: this.#model.logits(g, hidden) }),
    }
    return runByLayers(this.#graphs, this.#model.decoder, run, signal).then(({ captured, ...outputs }) =>
      captured ? { ...outputs, hidden: captured } : outputs,
    )
  }

  #embeddings(g: GraphBuilder, plan: StepPlan): Tensor<'f32'> {
    const { embed_tokens, config } = this.#model
    const x = embed_tokens.forward(g, g.input('ids', 'i32', [plan.step.tokens]))
    if (plan.featureRows === 0) return x
    const rows = g.input('featureRows', 'i64', [plan.featureRows])
    return g.setRows(x, g.input('features', 'f32', [config.hidden, plan.featureRows]), rows)
  }

  #build(g: GraphBuilder, plan: StepPlan): Record<string, Tensor<'f32'>> {
    const { decoder, config } = this.#model
    const { tokens } = plan.step
    const x = this.#embeddings(g, plan)
    const deepstack = Array.from({ length: plan.layers }, (_, layer) =>
      g.input(`deepstack.${layer}`, 'f32', [config.hidden, tokens]),
    )
    const { hidden, captured } = decoder.forward(g, x, {
      segments: plan.step.segments(g),
      positions: decoder.rotary.input(g, tokens),
      deepstack,
      ...(plan.hiddenWanted && { capture: this.#options.capture ?? 0 }),
      ...(plan.logitRows > 0 && { rows: g.input('logitRows', 'i32', [plan.logitRows]) }),
    })
    const outputs: Record<string, Tensor<'f32'>> = {}
    if (captured) outputs['hidden'] = captured
    if (plan.logitRows > 0) outputs['logits'] = this.#model.logits(g, hidden)
    // A graph must have an output, also in a step that only fills the caches.
    if (Object.keys(outputs).length === 0) outputs['done'] = g.copy(g.slice(x, 1, tokens - 1, 1))
    return outputs
  }

  #split(
    inputs: readonly ThinkerInput[],
    plan: StepPlan,
    outputs: Readonly<Record<string, Float32Array>>,
  ): ThinkerOutput[] {
    let [row, start] = [0, 0]
    return inputs.map(({ tokenIds, logits, logitsInto, hidden }) => {
      const rows = logits === 'none' ? 0 : logits === 'last' ? 1 : tokenIds.length
      const result: { logits?: Float32Array; hidden?: Float32Array } = {}
      if (rows > 0 && outputs['logits']) {
        const own = outputs['logits'].subarray(row * this.vocabSize, (row + rows) * this.vocabSize)
        if (logits === 'last' && logitsInto) logitsInto.set(own)
        result.logits = logits === 'last' && logitsInto ? logitsInto : own.slice()
      }
      if (hidden && plan.hiddenWanted && outputs['hidden'])
        result.hidden = outputs['hidden'].slice(start * this.hiddenSize, (start + tokenIds.length) * this.hiddenSize)
      row += rows
      start += tokenIds.length
      return result
    })
  }

  /** At least `count` elements, which no other call uses until they are put back. */
  #takeArray(count: number): Float32Array {
    const array = this.#array.length < count ? new Float32Array(count) : this.#array
    this.#array = new Float32Array()
    return array
  }

  [Symbol.dispose](): void {
    this.#graphs[Symbol.dispose]()
  }
}

interface StepPlan {
  readonly step: KvStep
  /** Identifies the graph: everything that its description depends on. */
  readonly key: string
  readonly data: Inputs
  readonly logitRows: number
  readonly featureRows: number
  /** Layers that get deepstack features. */
  readonly layers: number
  readonly hiddenWanted: boolean
}

/** Validates ids, because the numeric library ends the process on an id outside the table. */
export function checkIds(ids: Int32Array, count: number): void {
  for (const id of ids) if (id < 0 || id >= count) throw new RangeError(`id ${id} is not in a table of ${count}`)
}

function joinFeatures(inputs: readonly ThinkerInput[], rows: number, hidden: number): Float32Array {
  const joined = new Float32Array(rows * hidden)
  let at = 0
  for (const { features } of inputs) {
    if (!features) continue
    if (features.embeddings.length !== features.rows.length * hidden)
      throw new RangeError(`features of ${features.embeddings.length} values for ${features.rows.length} rows`)
    joined.set(features.embeddings, at)
    at += features.embeddings.length
  }
  return joined
}

/** A layer's features at their rows, and zeros elsewhere: [tokens, hidden]. */
function spreadDeepstack(inputs: readonly ThinkerInput[], layer: number, tokens: number, hidden: number): Float32Array {
  const spread = new Float32Array(tokens * hidden)
  let start = 0
  for (const { features, tokenIds } of inputs) {
    const values = features?.deepstack?.[layer]
    if (features && values) {
      for (const [i, row] of features.rows.entries())
        spread.set(values.subarray(i * hidden, (i + 1) * hidden), (start + row) * hidden)
    }
    start += tokenIds.length
  }
  return spread
}
