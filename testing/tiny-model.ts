/**
 * Loads a tiny checkpoint of testdata/checkpoints in f32, for comparing with goldens.
 */

import type { ModelFamily, ModelOptions } from '../src/models/family.ts'
import { type Qwen25OmniModel, qwen25Omni } from '../src/models/qwen2_5-omni/model.ts'
import { type Qwen3OmniModel, qwen3Omni } from '../src/models/qwen3-omni/model.ts'
import type { OmniModel } from '../src/models/stages.ts'
import { readCheckpointFiles } from '../src/prompt/checkpoint-files.ts'
import { loadBackend, type Backend } from '../src/tensor/index.ts'
import { testDevice } from '../src/tensor/test-device.ts'
import { loadParameters, openCheckpoint } from '../src/weights/index.ts'
import { testdataPath } from './golden.ts'

export const tinyCheckpoints = ['tiny-moe', 'tiny-mixed', 'tiny-dense', 'tiny-thinker'] as const
export type TinyCheckpoint = (typeof tinyCheckpoints)[number]

/** Of Qwen2.5-Omni. */
export const tiny25Checkpoints = ['tiny25-grouped', 'tiny25-tied', 'tiny25-even', 'tiny25-thinker'] as const
export type Tiny25Checkpoint = (typeof tiny25Checkpoints)[number]

export interface TinyModel<Model extends OmniModel = Qwen3OmniModel> extends Disposable {
  readonly model: Model
  readonly backend: Backend
  /** Parsed config.json. */
  readonly config: Readonly<Record<string, unknown>>
}

/** Disposing it releases everything native. */
export function loadTinyModel(name: TinyCheckpoint, options: ModelOptions = {}): Promise<TinyModel> {
  return loadModel(testdataPath(`checkpoints/${name}`), options)
}

/** As {@link loadTinyModel}, from any folder. */
export function loadModel(folder: string, options: ModelOptions = {}): Promise<TinyModel> {
  return loadFamily(qwen3Omni, folder, options)
}

export function loadTiny25Model(
  name: Tiny25Checkpoint,
  options: ModelOptions = {},
): Promise<TinyModel<Qwen25OmniModel>> {
  return loadFamily(qwen25Omni, testdataPath(`checkpoints/${name}`), options)
}

async function loadFamily<Model extends OmniModel>(
  family: ModelFamily<Model>,
  folder: string,
  options: ModelOptions,
): Promise<TinyModel<Model>> {
  const backend = await loadBackend({ device: testDevice, threads: 1 })
  const checkpoint = await openCheckpoint(folder)
  const description = family.read(await readCheckpointFiles(checkpoint, family.binaryFiles))
  const weights = await loadParameters(backend, checkpoint, description.declarations, {
    naming: description.naming,
    types: { type: 'f32', stages: allF32 },
  })
  const model = description.build(backend, weights, { cacheType: 'f32', ...options })
  return {
    model,
    backend,
    config: checkpoint.config,
    [Symbol.dispose]() {
      model[Symbol.dispose]()
      weights[Symbol.dispose]()
      checkpoint[Symbol.dispose]()
      backend[Symbol.dispose]()
    },
  }
}

const allF32 = {
  'audio-encoder': 'f32',
  'vision-encoder': 'f32',
  'code-predictor': 'f32',
  code2wav: 'f32',
  dit: 'f32',
} as const
