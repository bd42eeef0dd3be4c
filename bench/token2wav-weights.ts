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
import type { ParameterDeclaration } from '../src/nn/index.ts'
import { tensorTypes, type Backend, type TensorType } from '../src/tensor/index.ts'
import { normal, randomModel, type RandomModel } from './random-weights.ts'

/** Hub files name no size that is not the default. */
export const realConfig: Token2WavConfig = parseToken2WavConfig(
  new ConfigReader({ dit_config: {}, bigvgan_config: {} }),
)

export interface WeightTypes {
  readonly dit: TensorType
  readonly vocoder: TensorType
}

export function randomToken2Wav(
  backend: Backend,
  types: WeightTypes,
  config = realConfig,
): Promise<RandomModel<Token2WavModel>> {
  return randomModel(
    backend,
    (parameters) => new Token2WavModel(parameters, config),
    (declaration) => typeOf(declaration, types),
    randomValues,
  )
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
