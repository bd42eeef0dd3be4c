/**
 * The code predictor: from a frame's first code to its residual codes, one group after the other.
 *
 * Each frame starts anew, so its short cache (one row per group) is the stage's own, reused frame after frame; several sequences' frames
 * run side by side, which reads the weights once for all of them. Every group has its own table and head.
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
import type { CodePredictorInput, CodePredictorOutput, CodePredictorStage } from './speech/stages.ts'
import type { DecoderConfig } from '../decoder/config.ts'
import type { TalkerModel } from './talker.ts'
import { checkIds } from '../decoder/thinker.ts'

/** Frames that run side by side; more are done in turns. */
const BATCH = 8

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

export class CodePredictor implements CodePredictorStage {
  readonly #model: CodePredictorModel
  readonly #talker: TalkerModel
  readonly #graphs: GraphCache
  readonly #cache: TensorBuffer

  /** `talker` holds the table of the first group. */
  constructor(
    backend: Backend,
    model: CodePredictorModel,
    talker: TalkerModel,
    options: { cacheType?: 'f16' | 'f32' } = {},
  ) {
    this.#model = model
    this.#talker = talker
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
    const { config, codeGroups } = this.#model
    const { hidden, vocabulary } = config
    const batch = inputs.length
    const run = signal ? { signal } : {}
    const codes = inputs.map(({ firstCode }) => [firstCode])
    const first = Int32Array.from(inputs, ({ firstCode }) => firstCode)
    checkIds(first, this.#talker.config.vocabulary)
    for (let group = 1; group < codeGroups; group++) {
      const data: Record<string, Inputs[string]> = {}
      if (group === 1) {
        const states = new Float32Array(batch * hidden)
        for (const [i, input] of inputs.entries()) states.set(input.hidden, i * hidden)
        data['states'] = states
        data['mask'] = CAUSAL_PAIR
        data['ids'] = first
        data['positions'] = Int32Array.from({ length: 2 * batch }, (_, i) => i % 2)
      } else {
        data['ids'] = Int32Array.from(codes, (sequence) => sequence[group - 1] ?? 0)
        data['positions'] = new Int32Array(batch).fill(group)
      }
      const { logits } = await this.#graphs.run(`${group} ${batch}`, (g) => this.#build(g, group, batch), data, run)
      for (const [i, input] of inputs.entries()) {
        const code = input.sample(logits.slice(i * vocabulary, (i + 1) * vocabulary))
        checkIds(Int32Array.of(code), vocabulary)
        codes[i]?.push(code)
      }
    }
    const ids: Record<string, Int32Array> = {}
    for (let group = 0; group < codeGroups; group++)
      ids[`ids.${group}`] = Int32Array.from(codes, (sequence) => sequence[group] ?? 0)
    const { sum } = await this.#graphs.run(`sum ${batch}`, (g) => ({ sum: this.#sum(g, batch) }), ids, run)
    return codes.map((sequence, i) => ({
      codes: Int32Array.from(sequence.slice(1)),
      embeddingSum: sum.slice(i * hidden, (i + 1) * hidden),
    }))
  }

  /** Logits of `group` [vocabulary, batch]. Group 1 starts with two tokens: the talker's state and the first code. */
  #build(g: GraphBuilder, group: number, batch: number): { logits: Tensor<'f32'> } {
    const model = this.#model
    const { hidden } = model.config
    const tokens = group === 1 ? 2 : 1
    const ids = g.input('ids', 'i32', [batch])
    let x: Tensor<'f32'>
    let mask: Tensor<'f16'> | undefined
    if (group === 1) {
      const states = g.reshape(g.input('states', 'f32', [hidden, batch]), hidden, 1, batch)
      const code = g.reshape(this.#talker.codec_embedding.forward(g, ids), hidden, 1, batch)
      x = g.reshape(g.concat(states, code, 1), hidden, 2 * batch)
      mask = g.input('mask', 'f16', [2, 2])
    } else {
      x = this.#table(group - 1).forward(g, ids)
    }
    const positions = model.rotary.input(g, tokens * batch)
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
    return { logits: head.forward(g, model.norm.forward(g, g.cont(last))) }
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

  /** All groups' embeddings added up: [hidden, batch]. */
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

/** [2, 2] f16: the first token sees itself only. */
const CAUSAL_PAIR = new Uint16Array([0, toHalf(Number.NEGATIVE_INFINITY), 0, 0])
