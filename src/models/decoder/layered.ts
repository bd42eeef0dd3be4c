/**
 * Runs a step of many tokens through a sparse decoder with one graph per layer. The router's choice is read back, so
 * that the next graph computes each expert with one matrix product over its tokens.
 *
 * In: embeddings, caches and positions. Out: the results of `Decoder.forward`. Graphs are described again in each step,
 * so this pays only when each expert has several tokens; other steps use a single graph.
 */

import { MixtureOfExperts, sortByExpert, sortedInputs, type KvStep, type SortedTokens } from '../../nn/index.ts'
import type { GraphBuilder, GraphCache, Inputs, Tensor } from '../../tensor/index.ts'
import type { Decoder } from './decoder.ts'
import { stepNodes } from './sequence.ts'

/**
 * Rows per call of the kernels for repacked q4_0 weights, to which each expert's tokens are padded. Other types are
 * faster without padding.
 */
const ROWS_AT_ONCE = 4
/** Average rows per expert from which sorting tokens by expert is faster. */
const SORTS_FROM = 4

export interface LayeredRun {
  readonly step: KvStep
  readonly sequences: number
  /** `Rotary.positions` of all tokens. */
  readonly positions: Int32Array
  /** Describes the embeddings [hidden, tokens]. */
  readonly begin: (g: GraphBuilder) => Tensor<'f32'>
  /** Inputs of `begin`. */
  readonly given: Inputs
  /** Added to the output of layers 0, 1, ...: [tokens, hidden] each. */
  readonly deepstack: readonly Float32Array[]
  /** As `DecoderRun.capture`; not the last layer's. */
  readonly capture?: number
  /** Tokens whose last hidden states are returned. Empty: only the caches are filled. */
  readonly rows: Int32Array
  /** Describes outputs from the normalized hidden states of `rows`, [hidden, rows]. */
  readonly finish: (g: GraphBuilder, hidden: Tensor<'f32'>) => Record<string, Tensor<'f32'>>
}

/** Results that one layer's graph passes to the next: the sum after attention, and the router's choice. */
interface Halfway {
  readonly x: Float32Array
  readonly weights: Float32Array
  readonly sorted: SortedTokens
}

/** Whether a step of `tokens` tokens is faster layer by layer. Experts in f32 have no kernels that benefit. */
export function goesByLayers({ config, layers }: Decoder, tokens: number, from?: number): boolean {
  const { sparse } = config
  if (!sparse || !layers.every(({ parts }) => parts.mlp instanceof MixtureOfExperts)) return false
  const repacked = layers.some(({ parts: { mlp } }) => mlp instanceof MixtureOfExperts && mlp.gate_proj.repacked)
  return tokens * sparse.used >= (from ?? (repacked ? SORTS_FROM : Infinity)) * sparse.experts
}

/**
 * Runs the step. Returns the outputs of `finish`, and `captured` [tokens, hidden]. The caller advances the caches.
 */
export async function runByLayers(
  graphs: GraphCache,
  decoder: Decoder,
  run: LayeredRun,
  signal?: AbortSignal,
): Promise<Record<string, Float32Array>> {
  const { sparse } = decoder.config
  if (!sparse) throw new TypeError('the decoder has no experts')
  const results: Record<string, Float32Array> = {}
  const options = {
    maxNodes: stepNodes(1, run.sequences) + 16 * sparse.experts + 8 * sparse.used,
    ...(signal && { signal }),
  }
  const multiple = expertType(decoder) === 'q4_0' ? ROWS_AT_ONCE : 1
  const everywhere = { positions: run.positions, ...run.step.inputs() }
  let halfway: Halfway | undefined
  for (let layer = 0; layer < decoder.layers.length; layer += 1) {
    const before: Halfway | undefined = halfway
    const outputs: Record<string, Float32Array | Int32Array> = await graphs.runOnce(
      (g) => describeLayer(g, decoder, run, layer, before),
      { ...everywhere, ...inputsOf(decoder, run, layer, before) },
      options,
    )
    const { x, weights, chosen, ...rest } = outputs
    Object.assign(results, rest)
    if (x instanceof Float32Array && weights instanceof Float32Array && chosen instanceof Int32Array)
      halfway = { x, weights, sorted: sortByExpert(chosen, sparse.used, sparse.experts, multiple) }
  }
  return results
}

function expertType({ layers }: Decoder): string | undefined {
  const mlp = layers[0]?.parts.mlp
  return mlp instanceof MixtureOfExperts ? mlp.gate_proj.type : undefined
}

function isLast(decoder: Decoder, layer: number): boolean {
  return layer === decoder.layers.length - 1
}

/** The feed-forward of the previous layer and the attention of this one; for the last layer, also its feed-forward. */
function describeLayer(
  g: GraphBuilder,
  decoder: Decoder,
  run: LayeredRun,
  layer: number,
  before: Halfway | undefined,
): Record<string, Tensor<'f32'> | Tensor<'i32'>> {
  const { hidden } = decoder.config
  const { tokens } = run.step
  let x = before ? feedBefore(g, decoder, run, layer, before) : run.begin(g)
  const outputs: Record<string, Tensor<'f32'> | Tensor<'i32'>> = {}
  // transformers records a layer's output before the vision features are added to it.
  if (run.capture === layer) outputs['captured'] = x
  if (layer > 0 && run.deepstack[layer - 1]) x = g.add(x, g.input('deepstack', 'f32', [hidden, tokens]))
  const rotation = { rotary: decoder.rotary, positions: decoder.rotary.input(g, tokens) }
  const segments = run.step.segments(g)
  const own = decoder.layers[layer]!
  const attended = own.attend(g, x, (attention, normed) => attention.forward(g, normed, segments, layer, rotation))
  if (!isLast(decoder, layer)) {
    outputs['x'] = attended
    const { mlpNorm, mlp } = own.parts
    if (mlp instanceof MixtureOfExperts) Object.assign(outputs, mlp.route(g, mlpNorm.forward(g, attended)))
    return outputs
  }
  if (run.rows.length === 0) return { ...outputs, done: g.copy(g.slice(x, 1, tokens - 1, 1)) }
  const rows = g.input('last', 'i32', [run.rows.length])
  let wanted = own.feed(g, g.getRows(attended, rows), (mlp, normed) => mlp.forward(g, normed))
  if (run.deepstack[layer])
    wanted = g.add(wanted, g.getRows(g.input('deepstack.last', 'f32', [hidden, tokens]), rows))
  return { ...outputs, ...run.finish(g, decoder.norm.forward(g, wanted)) }
}

function feedBefore(g: GraphBuilder, decoder: Decoder, run: LayeredRun, layer: number, before: Halfway): Tensor<'f32'> {
  const { hidden, sparse } = decoder.config
  const { tokens } = run.step
  const attended = g.input('x', 'f32', [hidden, tokens])
  const weights = g.input('weights', 'f32', [sparse!.used, tokens])
  return decoder.layers[layer - 1]!.feed(g, attended, (mlp, normed) =>
    mlp instanceof MixtureOfExperts ? mlp.forwardSorted(g, normed, weights, before.sorted) : mlp.forward(g, normed),
  )
}

/** Inputs of a layer's graph besides positions and caches. */
function inputsOf(decoder: Decoder, run: LayeredRun, layer: number, before: Halfway | undefined): Inputs {
  const added = layer > 0 ? run.deepstack[layer - 1] : undefined
  const last = isLast(decoder, layer) && run.rows.length > 0
  const addedLast = last ? run.deepstack[layer] : undefined
  return {
    ...(before ? { x: before.x, weights: before.weights, ...sortedInputs(before.sorted) } : run.given),
    ...(added && { deepstack: added }),
    ...(addedLast && { 'deepstack.last': addedLast }),
    ...(last && { last: run.rows }),
  }
}
