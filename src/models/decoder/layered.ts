/**
 * A step of many tokens through a sparse decoder, one graph a layer: what a layer's router chose is read back, and
 * the next graph gives each expert its tokens in one matrix product.
 *
 * In: how the step begins, its caches and positions. Out: as `Decoder.forward`, computed. Graphs are described anew
 * each time, so it is for steps in which experts have several tokens each; others go through one graph.
 */

import { MixtureOfExperts, sortByExpert, sortedInputs, type KvStep, type SortedTokens } from '../../nn/index.ts'
import type { GraphBuilder, GraphCache, Inputs, Tensor } from '../../tensor/index.ts'
import type { Decoder } from './decoder.ts'
import { stepNodes } from './sequence.ts'

/**
 * Rows that the kernels of repacked q4_0 weights take at once; other types lose more by filling up than by what is
 * left over.
 */
const ROWS_AT_ONCE = 4
/** Rows per expert, on average, from which sorting pays. */
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
  /** Tokens whose last hidden states are wanted. Empty: only the caches are filled. */
  readonly rows: Int32Array
  /** What is made of the normed hidden states of `rows`, [hidden, rows]. */
  readonly finish: (g: GraphBuilder, hidden: Tensor<'f32'>) => Record<string, Tensor<'f32'>>
}

/** What one layer's graph leaves to the next: the sum after its attention, and what its router chose. */
interface Halfway {
  readonly x: Float32Array
  readonly weights: Float32Array
  readonly sorted: SortedTokens
}

/** Whether a step of so many tokens is better taken layer by layer. `f32` experts have no kernels that gain by it. */
export function goesByLayers({ config, layers }: Decoder, tokens: number, from?: number): boolean {
  const { sparse } = config
  if (!sparse || !layers.every(({ parts }) => parts.mlp instanceof MixtureOfExperts)) return false
  const repacked = layers.some(({ parts: { mlp } }) => mlp instanceof MixtureOfExperts && mlp.gate_proj.repacked)
  return tokens * sparse.used >= (from ?? (repacked ? SORTS_FROM : Infinity)) * sparse.experts
}

/**
 * Runs the step; the caches' lengths are the caller's to advance. Returns the outputs of `finish`, and `captured`
 * [tokens, hidden].
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

/** The feed-forward of the layer before and the attention of this one; of the last layer all that is left. */
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

/** What a layer's graph is given besides positions and caches. */
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
