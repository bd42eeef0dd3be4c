/**
 * Loads the token2wav of a tiny Qwen2.5-Omni checkpoint of testdata/checkpoints, for comparing with goldens.
 */

import { ConfigReader } from '../src/models/config-reader.ts'
import { parseToken2WavConfig, type Token2WavConfig } from '../src/models/qwen2_5-omni/token2wav/config.ts'
import { Token2Wav, Token2WavModel } from '../src/models/qwen2_5-omni/token2wav/token2wav.ts'
import { declareParameters, loadedParameters, type Parameters } from '../src/nn/index.ts'
import { loadBackend, type Backend } from '../src/tensor/index.ts'
import { loadParameters, openCheckpoint, type WeightType } from '../src/weights/index.ts'
import { testdataPath } from './golden.ts'

export const tinyToken2Wavs = ['tiny-token2wav', 'tiny-token2wav-wide', 'tiny-token2wav-plain'] as const

export interface TinyToken2Wav extends Disposable {
  readonly stage: Token2Wav
  readonly backend: Backend
  readonly config: Token2WavConfig
}

/** Disposing it releases everything native. */
export async function loadTinyToken2Wav(name: string, type: WeightType = 'f32'): Promise<TinyToken2Wav> {
  const backend = await loadBackend({ device: 'cpu', threads: 1 })
  const checkpoint = await openCheckpoint(testdataPath(`checkpoints/${name}`))
  const config = parseToken2WavConfig(new ConfigReader(checkpoint.config).object('token2wav_config'))
  const construct = (parameters: Parameters): Token2WavModel =>
    new Token2WavModel(parameters.scope('token2wav'), config)
  const types = { type, stages: { code2wav: type, dit: type } }
  const weights = await loadParameters(backend, checkpoint, declareParameters(construct), { types })
  const stage = new Token2Wav(backend, construct(loadedParameters(weights)))
  return {
    stage,
    backend,
    config,
    [Symbol.dispose]() {
      stage[Symbol.dispose]()
      weights[Symbol.dispose]()
      checkpoint[Symbol.dispose]()
      backend[Symbol.dispose]()
    },
  }
}
