/** The model families, by the architecture that config.json names. */

import { EngineError } from '../contract/index.ts'
import type { ModelDescription, ModelFamily } from './family.ts'
import { qwen3Omni } from './qwen3-omni/model.ts'

export type { ModelDescription } from './family.ts'
export type * from './stages.ts'

const modelFamilies: readonly ModelFamily[] = [qwen3Omni]

export const supportedArchitectures: readonly string[] = modelFamilies.flatMap(({ architectures }) => architectures)

/**
 * Reads a parsed config.json. Throws `EngineError('bad_checkpoint')`: an architecture that no family has, or a value that is
 * missing or unsupported, named by its path.
 */
export function describeModel(json: unknown): ModelDescription {
  const named: unknown =
    typeof json === 'object' && json !== null ? (json as Record<string, unknown>)['architectures'] : undefined
  const architectures = Array.isArray(named) ? named.filter((name) => typeof name === 'string') : []
  const family = modelFamilies.find((candidate) => candidate.architectures.some((name) => architectures[0] === name))
  if (family) return family.read(json)
  throw new EngineError(
    'bad_checkpoint',
    `config.json: architectures is ${JSON.stringify(named)}; supported are ${supportedArchitectures.join(', ')}`,
  )
}
