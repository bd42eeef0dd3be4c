/** Registry of model families, by the architecture in config.json. */

import { EngineError } from '../contract/index.ts'
import {
  type CheckpointFiles,
  configurationOnly,
  type FileSource,
  type JsonObject,
  readCheckpointFiles,
} from '../prompt/checkpoint-files.ts'
import type { ModelDescription, ModelFamily } from './family.ts'
import { qwen25Omni } from './qwen2_5-omni/model.ts'
import { qwen3Omni } from './qwen3-omni/model.ts'

export type { ModelDescription } from './family.ts'
export type { DiffusionOptions } from './speech.ts'
export type * from './stages.ts'

const modelFamilies: readonly ModelFamily[] = [qwen3Omni, qwen25Omni]

export const supportedArchitectures: readonly string[] = modelFamilies.flatMap(({ architectures }) => architectures)

/**
 * Reads and validates a checkpoint's files, each once. Throws `EngineError('bad_checkpoint')` for an invalid file, an
 * unknown architecture, and a missing or unsupported value, named by its file and path.
 * @param source a folder, or an opened checkpoint.
 */
export async function readModel(source: string | FileSource): Promise<ModelDescription> {
  return describe(await readCheckpointFiles(source, modelFamilies.flatMap(({ binaryFiles = [] }) => binaryFiles)))
}

/** As {@link readModel}, from config.json only, for uses without prompts such as conversion of weights. */
export function describeModel(config: JsonObject): ModelDescription {
  return describe(configurationOnly(config))
}

function describe(files: CheckpointFiles): ModelDescription {
  const named = files.requireJson('config.json')['architectures']
  const architectures = Array.isArray(named) ? named.filter((name) => typeof name === 'string') : []
  const family = modelFamilies.find((candidate) => candidate.architectures.some((name) => architectures[0] === name))
  if (family) return family.read(files)
  throw new EngineError(
    'bad_checkpoint',
    `config.json: architectures is ${JSON.stringify(named)}; supported are ${supportedArchitectures.join(', ')}`,
  )
}
