/**
 * The code predictor: predicts a frame's residual codes from its first code, one group after the other.
 *
 * Frames are independent, so the stage owns one short cache (one row per group) and reuses it. Frames of several
 * sequences run in one batch, which reads the weights once. Every group has its own embedding table and head.
 * Reference: transformers `Qwen3OmniMoeTalkerCodePredictorModelForConditionalGeneration`, and the talker's
 * `prepare_inputs_for_generation` for the sum of embeddings.
 */

import { Attention, Embedding, GatedMlp, Linear, PreNormLayer, RmsNorm, Rotary, type Parameters } from '../../nn/index.ts'
import {
  allocateTensors,
  GraphCache,
  toHalf,
  type Backend,
  type GraphBuilder,
  type Inputs,
  type Tensor,
  type TensorBuffer,
} from '../../tensor/index.ts'
import type { Draw } from '../../sampling/sampler.ts'
import type { CodePredictorInput, CodePredictorOutput, CodePredictorStage } from './speech/stages.ts'
import type { DecoderConfig } from '../decoder/config.ts'
import { checkIds } from '../decoder/thinker.ts'
import { sampleInGraph } from './sample-in-graph.ts'

/** Most frames per batch. */
const BATCH = 16

function predictorLayer(parameters: Parameters, config: DecoderConfig): PreNormLayer<Attention> {
  const { hidden, epsilon } = config
  return new PreNormLayer({
    attention: new Attention(parameters.scope('self_attn'), {
      hidden,
      heads: config.heads,
      keyValueHeads: config.keyValueHeads,
      headSize: config.headSize,
      queryKeyNorm: epsilon,
      bias: config.attentionBias,
      outputBias: config.attentionBias,
      precision: 'fine',
    }),
    mlp: new GatedMlp(parameters.scope('mlp'), hidden, config.feedForward, { precision: 'fine' }),
    attentionNorm: new RmsNorm(parameters.scope('input_layernorm'), hidden, epsilon),
    mlpNorm: new RmsNorm(parameters.scope('post_attention_layernorm'), hidden, epsilon),
  })
}

/** The code predictor's weights. */
export class CodePredictorModel {
  readonly layers: readonly PreNormLayer<Attention>[]
  readonly norm: RmsNorm
  readonly rotary: Rotary
  /** Tables of groups 1, 2, ...; group 0's is the talker's. */
  readonly codec_embedding: readonly Embedding[]
  readonly lm_head: readonly Linear[]
  readonly config: DecoderConfig
  readonly codeGroups: number

  /** `parameters`: the scope `talker.code_predictor`. */
  constructor(parameters: Parameters, config: DecoderConfig, codeGroups: number) {
    this.config = config
    this.codeGroups = codeGroups
    const { hidden, vocabulary } = config
    const model = parameters.scope('model')
    this.layers = Array.from(
      { length: config.layers },
      (_, layer) => predictorLayer(model.scope('layers').scope(layer), config),
    )
    this.norm = new RmsNorm(model.scope('norm'), hidden, config.epsilon)
    this.rotary = new Rotary({ kind: 'plain', base: config.rotaryBase })
    const groups = Array.from({ length: codeGroups - 1 }, (_, group) => group)
    this.codec_embedding = groups.map(
      (group) => new Embedding(model.scope('codec_embedding').scope(group), vocabulary, hidden, { precision: 'fine' }),
    )
    this.lm_head = groups.map(
      (group) => new Linear(parameters.scope('lm_head').scope(group), hidden, vocabulary, { precision: 'fine' }),
    )
  }
}

/** Input from the talker: the table of the first group. */
interface FirstGroup {
  readonly codec_embedding: Embedding
  readonly config: { readonly vocabulary: number }
}

export class CodePredictor implements CodePredictorStage {
  readonly #model: CodePredictorModel
  readonly #talker: FirstGroup
  readonly #graphs: GraphCache
  readonly #cache: TensorBuffer
  readonly #kind: Backend['kind']
  /** By number of frames in a batch. */
  readonly #logits = new Map<number, Readonly<Record<string, Float32Array>>>()

  constructor(
    backend: Backend,
    model: CodePredictorModel,
    talker: FirstGroup,
    options: { cacheType?: 'f16' | 'f32' } = {},
  ) {
    this.#model = model
    this.#talker = talker
    this.#kind = backend.kind
    const { layers, keyValueHeads, headSize } = model.config
    const type = options.cacheType ?? 'f16'
    const specs: Record<string, { type: 'f16' | 'f32'; shape: number[] }> = {}
    for (let layer = 0; layer < layers; layer++) {
      for (const name of ['k', 'v'])
        specs[`${name}${layer}`] = { type, shape: [keyValueHeads * headSize, model.codeGroups, BATCH] }
    }
    this.#cache = allocateTensors(backend, specs)
    this.#graphs = new GraphCache(backend, {
      capacity: (model.codeGroups + 1) * 4,
      maxNodes: 60 * layers + 4 * model.codeGroups + 100,
    })
  }

  async predict(inputs: readonly CodePredictorInput[], signal?: AbortSignal): Promise<CodePredictorOutput[]> {
    const results: CodePredictorOutput[] = []
    for (let start = 0; start < inputs.length; start += BATCH)
      results.push(...(await this.#predictTogether(inputs.slice(start, start + BATCH), signal)))
    return results
  }

  async #predictTogether(
    inputs: readonly CodePredictorInput[],
    signal: AbortSignal | undefined,
  ): Promise<CodePredictorOutput[]> {
    const { codeGroups } = this.#model
    const batch = inputs.length
    const run = signal ? { signal } : {}
    const first = Int32Array.from(inputs, ({ firstCode }) => firstCode)
    checkIds(first, this.#talker.config.vocabulary)
    const codes = inputs.map(({ firstCode }) => [firstCode])
    let sum = await this.#guess(inputs, codes, run)
    for (let group = codes[0]?.length ?? codeGroups; group < codeGroups; group++) {
      const data =
        group === 1
          ? this.#openingInputs(inputs)
          : {
              ids: Int32Array.from(codes, (sequence) => sequence[group - 1] ?? 0),
              positions: new Int32Array(batch).fill(group),
            }
      const { logits } = await this.#graphs.run(`${group} ${batch}`, (g) => this.#build(g, group, batch), data, run)
      this.#pick(inputs, codes, logits)
    }
    if (!sum) {
      const ids: Record<string, Int32Array> = {}
      for (let group = 0; group < codeGroups; group++)
        ids[`ids.${group}`] = Int32Array.from(codes, (sequence) => sequence[group] ?? 0)
      sum = (await this.#graphs.run(`sum ${batch}`, (g) => ({ sum: this.#sum(g, batch) }), ids, run)).sum
    }
    const { hidden } = this.#model.config
    return codes.map((sequence, i) => ({
      codes: Int32Array.from(sequence.slice(1)),
      embeddingSum: sum.slice(i * hidden, (i + 1) * hidden),
    }))
  }

  /** Samples each sequence's next code from logits [vocabulary, batch]. */
  #pick(inputs: readonly CodePredictorInput[], codes: readonly number[][], logits: Float32Array): void {
    const { vocabulary } = this.#model.config
    for (const [i, input] of inputs.entries()) {
      const code = input.sample(logits.subarray(i * vocabulary, (i + 1) * vocabulary))
      checkIds(Int32Array.of(code), vocabulary)
      codes[i]?.push(code)
    }
  }

  /**
   * Computes all groups at once with speculated codes. The samplers then sample from its logits, which are valid up to
   * the first wrong code: `codes` gets the codes up to there. Returns the sum of embeddings if all codes were right.
   */
  async #guess(
    inputs: readonly CodePredictorInput[],
    codes: readonly number[][],
    run: { signal?: AbortSignal },
  ): Promise<Float32Array | undefined> {
    const { config, codeGroups } = this.#model
    const batch = inputs.length
    const settings = commonDraw(inputs)
    // On a GPU, some of the operations would run on the CPU, for each group.
    if (!settings || this.#kind !== 'cpu') return undefined
    const groups = codeGroups - 1
    const noise = new Float32Array(groups * batch)
    for (const [i, { sample }] of inputs.entries())
      sample.ahead?.(groups).forEach((value, group) => (noise[group * batch + i] = value))
    const positions = new Int32Array((groups + 1) * batch)
    const opening = this.#openingInputs(inputs)
    positions.set(opening.positions)
    for (let group = 2; group < codeGroups; group++) positions.fill(group, group * batch, (group + 1) * batch)
    const { temperature, topK, topP } = settings
    const outputs = await this.#graphs.run(
      `frame ${batch} ${temperature} ${topK} ${topP}`,
      (g) => this.#buildFrame(g, batch, settings),
      { ...opening, positions, noise },
      { ...run, maxNodes: groups * (60 * config.layers + 80) + 100, into: this.#logitsOf(batch) },
    )
    for (let group = 1; group < codeGroups; group++) {
      this.#pick(inputs, codes, outputs[`logits.${group}`] as Float32Array)
      if (codes.some((sequence, i) => sequence[group] !== outputs[`guess.${group}`]?.[i])) return undefined
    }
    const { sum } = outputs
    return sum instanceof Float32Array ? sum : undefined
  }

  /** Arrays for the logits of every group, [vocabulary, batch]; the same ones for each frame. */
  #logitsOf(batch: number): Readonly<Record<string, Float32Array>> {
    const { vocabulary } = this.#model.config
    let arrays = this.#logits.get(batch)
    if (!arrays) {
      const groups = Array.from({ length: this.#model.codeGroups - 1 }, (_, i) => `logits.${i + 1}`)
      arrays = Object.fromEntries(groups.map((name) => [name, new Float32Array(vocabulary * batch)]))
      this.#logits.set(batch, arrays)
    }
    return arrays
  }

  /** The input of group 1: states and codes, each sequence's pair at positions 0 and 1. */
  #openingInputs(inputs: readonly CodePredictorInput[]): Record<'states' | 'mask' | 'ids' | 'positions', Inputs[string]> & {
    positions: Int32Array
  } {
    const { hidden } = this.#model.config
    const states = new Float32Array(inputs.length * hidden)
    for (const [i, input] of inputs.entries()) states.set(input.hidden, i * hidden)
    return {
      states,
      mask: CAUSAL_PAIR,
      ids: Int32Array.from(inputs, ({ firstCode }) => firstCode),
      positions: Int32Array.from({ length: 2 * inputs.length }, (_, i) => i % 2),
    }
  }

  /** Logits and predictions of every group, and the sum of embeddings if all predictions are right. */
  #buildFrame(g: GraphBuilder, batch: number, settings: Draw): Record<string, Tensor<'f32' | 'i32'>> {
    const { codeGroups, rotary } = this.#model
    const groups = codeGroups - 1
    const positions = rotary.input(g, codeGroups * batch)
    const noise = g.input('noise', 'f32', [1, batch, groups])
    const outputs: Record<string, Tensor<'f32' | 'i32'>> = {}
    let ids: Tensor<'i32'> = g.input('ids', 'i32', [batch])
    let sum = this.#table(0).forward(g, ids)
    let x = sum
    for (let group = 1; group < codeGroups; group++) {
      const from = group === 1 ? 0 : group
      const own = g.slice(positions, 0, from * batch, (group === 1 ? 2 : 1) * batch)
      const logits = this.#step(g, group, batch, x, own)
      const number = g.reshape(g.cont(g.slice(noise, 2, group - 1, 1)), 1, batch)
      ids = sampleInGraph(g, logits, settings, number)
      outputs[`logits.${group}`] = logits
      outputs[`guess.${group}`] = ids
      x = this.#table(group).forward(g, ids)
      sum = g.add(sum, x)
    }
    outputs['sum'] = sum
    return outputs
  }

  /** Logits of `group` [vocabulary, batch]. */
  #build(g: GraphBuilder, group: number, batch: number): { logits: Tensor<'f32'> } {
    const x = this.#table(group - 1).forward(g, g.input('ids', 'i32', [batch]))
    const positions = this.#model.rotary.input(g, (group === 1 ? 2 : 1) * batch)
    return { logits: this.#step(g, group, batch, x, positions) }
  }

  /**
   * Logits of `group` [vocabulary, batch] after the embeddings x [hidden, batch] of the group before. Group 1 starts
   * with two tokens: the talker's state and the first code.
   */
  #step(g: GraphBuilder, group: number, batch: number, codes: Tensor<'f32'>, positions: Tensor<'i32'>): Tensor<'f32'> {
    const model = this.#model
    const { hidden } = model.config
    const tokens = group === 1 ? 2 : 1
    let x = codes
    let mask: Tensor<'f16'> | undefined
    if (group === 1) {
      const states = g.reshape(g.input('states', 'f32', [hidden, batch]), hidden, 1, batch)
      x = g.reshape(g.concat(states, g.reshape(codes, hidden, 1, batch), 1), hidden, 2 * batch)
      mask = g.input('mask', 'f16', [2, 2])
    }
    const past = group === 1 ? 0 : group
    for (const [i, layer] of model.layers.entries()) {
      x = layer.forward(g, x, (attention, normed) =>
        this.#attend(g, attention, i, normed, { positions, past, tokens, batch, mask }),
      )
    }
    // Only the last token of each sequence counts.
    const last = g.view(x, [hidden, batch], { strides: [tokens * x.strides[1]], offset: (tokens - 1) * x.strides[1] })
    const head = model.lm_head[group - 1]
    if (!head) throw new RangeError(`there is no code group ${group}`)
    return head.forward(g, model.norm.forward(g, g.cont(last)))
  }

  #attend(
    g: GraphBuilder,
    attention: Attention,
    index: number,
    x: Tensor<'f32'>,
    run: { positions: Tensor<'i32'>; past: number; tokens: number; batch: number; mask: Tensor<'f16'> | undefined },
  ): Tensor<'f32'> {
    const { heads, keyValueHeads, headSize } = this.#model.config
    const { past, tokens, batch } = run
    const { q, k, v } = attention.project(g, x, { rotary: this.#model.rotary, positions: run.positions })
    const stored = (name: string, fresh: Tensor<'f32'>): Tensor<'f16' | 'f32'> => {
      const cache = this.#cache.tensors[`${name}${index}`] as Tensor<'f16' | 'f32'>
      const [, row, sequence] = cache.strides
      const written = g.view(cache, [keyValueHeads * headSize, tokens, batch], {
        strides: [row, sequence],
        offset: past * row,
      })
      g.effect(g.copyInto(g.reshape(g.cont(fresh), keyValueHeads * headSize, tokens, batch), written))
      return g.view(cache, [headSize, past + tokens, keyValueHeads, batch], {
        strides: [row, headSize * cache.strides[0], sequence],
      })
    }
    const keys = stored('k', k)
    const values = stored('v', v)
    const queries = g.permute(g.reshape(g.cont(q), headSize, heads, tokens, batch), 0, 2, 1, 3)
    const attended = g.flashAttention(queries, keys, values, run.mask, headSize ** -0.5)
    return attention.o_proj.forward(g, g.reshape(attended, headSize * heads, tokens * batch))
  }

  /** The sum of all groups' embeddings: [hidden, batch]. */
  #sum(g: GraphBuilder, batch: number): Tensor<'f32'> {
    let sum: Tensor<'f32'> | undefined
    for (let group = 0; group < this.#model.codeGroups; group++) {
      const rows = this.#table(group).forward(g, g.input(`ids.${group}`, 'i32', [batch]))
      sum = sum ? g.add(sum, rows) : rows
    }
    if (!sum) throw new RangeError('no code groups')
    return sum
  }

  #table(group: number): Embedding {
    const table = group === 0 ? this.#talker.codec_embedding : this.#model.codec_embedding[group - 1]
    if (!table) throw new RangeError(`there is no code group ${group}`)
    return table
  }

  [Symbol.dispose](): void {
    this.#graphs[Symbol.dispose]()
    this.#cache[Symbol.dispose]()
  }
}

/** The common settings of all samplers, if they are equal and their samples can be predicted. */
function commonDraw(inputs: readonly CodePredictorInput[]): Draw | undefined {
  const [first, ...others] = inputs.map(({ sample }) => (sample.ahead ? sample.plain : undefined))
  const same = (other: Draw | undefined): boolean =>
    other?.temperature === first?.temperature && other?.topK === first?.topK && other?.topP === first?.topP
  return others.every(same) ? first : undefined
}

/** [2, 2] f16: the first token attends only to itself. */
const CAUSAL_PAIR = new Uint16Array([0, toHalf(Number.NEGATIVE_INFINITY), 0, 0])
