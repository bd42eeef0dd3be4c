/**
 * Token2wav of Qwen2.5-Omni at the real size (both checkpoints have it) with random weights, the same ones in every
 * type.
 *
 * Weights are normal with the spread that keeps activations near 1, as in reference/; they stand for the real ones in
 * speed, and only roughly in rounding.
 */

import { ConfigReader } from '../src/models/config-reader.ts'
import { parseToken2WavConfig, type Token2WavConfig } from '../src/models/qwen2_5-omni/token2wav/config.ts'
import { Token2WavModel } from '../src/models/qwen2_5-omni/token2wav/token2wav.ts'
import { declareParameters, loadedParameters, type ParameterDeclaration, type Parameters } from '../src/nn/index.ts'
import {
  loadWeights,
  quantize,
  tensorTypes,
  type Backend,
  type TensorType,
  type WeightSpec,
} from '../src/tensor/index.ts'

/** Hub files name no size that is not the default. */
export const realConfig: Token2WavConfig = parseToken2WavConfig(
  new ConfigReader({ dit_config: {}, bigvgan_config: {} }),
)

export interface WeightTypes {
  readonly dit: TensorType
  readonly vocoder: TensorType
}

export interface RandomToken2Wav extends Disposable {
  readonly model: Token2WavModel
}

/** `only`: parts of the names that are needed; others are left out, and their stages must not run. */
export async function randomToken2Wav(
  backend: Backend,
  types: WeightTypes,
  config = realConfig,
): Promise<RandomToken2Wav> {
  const construct = (parameters: Parameters): Token2WavModel => new Token2WavModel(parameters, config)
  const specs: WeightSpec[] = []
  for (const [i, declaration] of declareParameters(construct).entries()) {
    if (declaration.optional) continue
    const type = typeOf(declaration, types)
    const values = randomValues(declaration, i + 1)
    const { name, shape, use } = declaration
    specs.push({ name, type, shape, use, source: await quantize(backend, type, values, shape[0]) })
  }
  const weights = await loadWeights(backend, specs)
  return { model: construct(loadedParameters(weights)), [Symbol.dispose]: () => weights[Symbol.dispose]() }
}

function typeOf({ name, precision, shape }: ParameterDeclaration, types: WeightTypes): TensorType {
  if (precision === 'exact') return 'f32'
  const asked = name.startsWith('code2wav_dit_model') ? types.dit : types.vocoder
  // Floors as in src/weights: `fine` weights keep eight bits.
  const type =
    precision === 'fine' && tensorTypes[asked].blockBytes * 8 < 8 * tensorTypes[asked].blockSize ? 'q8_0' : asked
  return shape[0] % tensorTypes[type].blockSize === 0 ? type : 'f16'
}

function randomValues({ name, shape }: ParameterDeclaration, seed: number): Float32Array {
  const count = shape.reduce((product, extent) => product * extent, 1)
  const fanIn = shape[0]
  const matrix = shape[1] > 1
  let spread = matrix ? 1 / Math.sqrt(fanIn) : 0.1
  let mean = 0
  if (name.includes('norm.linear') || name.includes('norm_out.linear')) spread = matrix ? 0.5 / Math.sqrt(fanIn) : 0.3
  else if (/\.(alpha|beta)$/.test(name)) spread = 0.4
  else if (name.includes('convs')) spread = matrix ? 0.5 / Math.sqrt(fanIn) : 0.05
  else if (name.includes('.ups.')) spread = matrix ? 1.2 / Math.sqrt(2 * fanIn) : 0.05
  else if (name.endsWith('conv_post.weight')) spread = 0.12 / Math.sqrt(fanIn)
  else if (name.includes('codec_embed')) spread = 1
  else if (name.endsWith('proj_out.bias')) mean = -4
  return normal(count, spread, mean, seed)
}

/** Normal values, read in random order, because generating them all is slow. */
const table = ((): Float32Array => {
  const random = uniform(1)
  return Float32Array.from({ length: 1 << 16 }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random()))
    return radius * Math.cos(2 * Math.PI * random())
  })
})()

export function normal(count: number, spread: number, mean: number, seed: number): Float32Array {
  const values = new Float32Array(count)
  let state = Math.imul(seed, 2654435761) | 1
  for (let i = 0; i < count; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    values[i] = mean + spread * table[(state >>> 8) & 0xffff]!
  }
  return values
}

/** Reproducible numbers in [0, 1). */
export function uniform(seed: number): () => number {
  let state = (seed * 0x9e3779b9) >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
