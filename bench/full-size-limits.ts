/**
 * The least time that parts of a reply can take on this machine: bytes of weights over measured bandwidth,
 * multiply-accumulates over the library's bare product, whichever takes longer.
 *
 * In: a configuration and the type of its weights, and {@link Speeds} measured in the same run. Out: {@link Limits},
 * milliseconds.
 */

import { Code2WavModel } from '../src/models/qwen3-omni/code2wav.ts'
import { describeModel } from '../src/models/index.ts'
import { declareParameters } from '../src/nn/index.ts'
import { parseConfig } from '../src/models/qwen3-omni/config.ts'
import { buildGraph, loadBackend, loadWeights, quantize, tensorBytes, type TensorType } from '../src/tensor/index.ts'
import { convertedLayout, type WeightType } from '../src/weights/index.ts'
import { accumulatesPerFrame } from './engine-vocoder.ts'
import { measure, median } from './harness.ts'
import { Reader } from './random-stage.ts'
import { uniform } from './random-weights.ts'

export interface Speeds {
  /** Bytes a second that all threads together read. */
  readonly bandwidth: number
  /** Multiply-accumulates a second of one product: repacked q4_0 weights with many columns, and q8_0. */
  readonly narrow: number
  readonly fine: number
  /** Bytes a second that repacked q4_0 products of one column read, from weights that no cache holds. */
  readonly column: number
}

export interface Limits {
  /** Bytes that a text token reads, and a frame of talker and code predictor. */
  readonly bytesPerToken: number
  readonly bytesPerFrame: number
  /** Milliseconds. */
  readonly token: number
  readonly frame: number
  readonly prefill: (tokens: number) => number
}

/** Reads a part of memory that no cache holds, and multiplies, as the library does on all its threads. */
export async function measureSpeeds(): Promise<Speeds> {
  using backend = await loadBackend({ device: 'cpu' })
  const bytes = 1 << 28
  await using reader = new Reader(bytes, backend.threads)
  const read = median(await measure(7, () => reader.read(1)))
  const product = async (type: TensorType, size: number, columns: number, count = 4): Promise<number> => {
    const random = uniform(11)
    const values = (length: number): Float32Array => Float32Array.from({ length }, () => random() - 0.5)
    const source = await quantize(backend, type as 'q4_0', values(size * size), size)
    const names = Array.from({ length: count }, (_, i) => `${i}`)
    using weights = await loadWeights(
      backend,
      names.map((name) => ({ name, type, shape: [size, size], use: 'matmul', source })),
    )
    using graph = buildGraph(backend, (g) => {
      const x = g.input('x', 'f32', [size, columns])
      const [first, ...others] = names.map((name) => g.mulMat(weights.get(name), x))
      for (const other of others) g.effect(other)
      return { y: first! }
    })
    const input = { x: values(size * columns) }
    const taken = median(await measure(7, () => graph.run(input)))
    return (names.length * size * size * columns) / (taken / 1000)
  }
  return {
    bandwidth: bytes / (read / 1000),
    column: (await product('q4_0', 2048, 1, 100)) * (tensorBytes('q4_0', [32]) / 32),
    narrow: await product('q4_0', 2048, 256),
    fine: await product('q8_0', 1536, 144),
  }
}

export function limitsOf(config: string, type: WeightType, { bandwidth, narrow, fine }: Speeds): Limits {
  const parsed = JSON.parse(config) as Record<string, Record<string, Record<string, number>>>
  const { declarations } = describeModel(parsed)
  const { weights } = convertedLayout(declarations, { type }, { name: '', files: { 'config.json': config } })
  const shareOf = (part: 'thinker_config' | 'talker_config'): number => {
    const { num_experts: experts = 1, num_experts_per_tok: used = 1 } = parsed[part]?.['text_config'] ?? {}
    return used / experts
  }
  const predictions = (parsed['talker_config'] as unknown as { num_code_groups: number }).num_code_groups - 1
  let [rest, head, experts, expertWeights, restWeights, bytesPerFrame] = [0, 0, 0, 0, 0, 0]
  for (const { declaration, type: stored } of weights) {
    const { name, shape, use } = declaration
    const bytes = tensorBytes(stored, shape)
    const count = shape.reduce((product, extent) => product * extent, 1)
    if (name.startsWith('thinker.model.layers')) {
      if (use === 'experts') [experts, expertWeights] = [experts + bytes, expertWeights + count]
      else [rest, restWeights] = [rest + bytes, restWeights + count]
    } else if (name.startsWith('thinker.lm_head')) head += bytes
    else if (/^talker\.(model\.layers|codec_head)/.test(name))
      bytesPerFrame += use === 'experts' ? bytes * shareOf('talker_config') : bytes
    else if (name.startsWith('talker.code_predictor.model.layers')) bytesPerFrame += bytes * predictions
    else if (name.startsWith('talker.code_predictor.lm_head')) bytesPerFrame += bytes
  }
  const share = shareOf('thinker_config')
  const bytesPerToken = rest + head + experts * share
  const { speech } = parseConfig(parsed)
  if (!speech) throw new Error('the configuration speaks')
  let vocoder: Code2WavModel | undefined
  declareParameters((parameters) => (vocoder = new Code2WavModel(parameters.scope('code2wav'), speech.code2wav)))
  return {
    bytesPerToken,
    bytesPerFrame,
    token: (1000 * bytesPerToken) / bandwidth,
    frame: (1000 * bytesPerFrame) / bandwidth + (1000 * accumulatesPerFrame(vocoder!)) / fine,
    prefill: (tokens) => {
      // Each token chooses experts by itself: the more there are, the fewer are left out.
      const bytes = rest + head + experts * (1 - (1 - share) ** tokens)
      const accumulates = tokens * (restWeights + expertWeights * share)
      return Math.max((1000 * bytes) / bandwidth, (1000 * accumulates) / narrow)
    },
  }
}
