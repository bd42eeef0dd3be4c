/**
 * Loads weights onto a device: those that the graphs use, from a checkpoint with exactly these tensors.
 *
 * In: an opened checkpoint and the model's declarations. Out: a WeightSet, named as declared. Weights that are stored
 * in the required form are used in place in the mapped file (the code predictor's are copied); the others are converted
 * first.
 */

import { EngineError } from '../contract/index.ts'
import type { ParameterDeclaration } from '../nn/parameters.ts'
import {
  type Backend,
  loadWeights,
  type LoadWeightsOptions,
  repackTypeFor,
  tensorBytes,
  type TensorType,
  type WeightSet,
  type WeightSpec,
} from '../tensor/index.ts'
import type { Checkpoint } from './checkpoint.ts'
import { type CheckpointNaming, matchParameters, type Recipe } from './match-parameters.ts'
import { messageOf } from './message-of.ts'
import { FileReader, parameterBytes } from './read-parameter.ts'
import { chooseType, stageOf, type WeightTypeChoice } from './weight-types.ts'

export interface LoadParametersOptions extends LoadWeightsOptions {
  /**
   * Converts the weights of a folder while loading (for small checkpoints and tests; `omniserve convert` does it once).
   * Without it, weights keep their stored type, and norms and biases become f32. Converted files keep theirs in any
   * case.
   */
  readonly types?: WeightTypeChoice
  /** The family's other spellings, and stored tensors that no graph uses. Anything else unused is an error. */
  readonly naming?: CheckpointNaming
}

/**
 * Loads every declared parameter. The checkpoint must outlive the set (weights may be in its mapped files).
 *
 * Throws `EngineError('bad_checkpoint')` when tensors are missing, misshapen or unused; the signal's reason once
 * aborted.
 */
export async function loadParameters(
  backend: Backend,
  checkpoint: Checkpoint,
  declarations: readonly ParameterDeclaration[],
  options: LoadParametersOptions = {},
): Promise<WeightSet> {
  const { recipes } = matchParameters(checkpoint, declarations, options.naming)
  await using reader = new FileReader()
  const specs: WeightSpec[] = []
  for (const recipe of recipes) {
    options.signal?.throwIfAborted()
    specs.push(
      await weightSpec(reader, checkpoint, recipe, loadedType(recipe, checkpoint, options.types), backend, options),
    )
  }
  try {
    return await loadWeights(backend, specs, options)
  } catch (error) {
    if (options.signal?.aborted === true || error instanceof EngineError) throw error
    throw new EngineError('bad_checkpoint', `${checkpoint.location}: ${messageOf(error)}`, { cause: error })
  }
}

/**
 * The type a parameter has once loaded. Convolutions over time stored in bf16 become f32, which changes no value: their
 * windows are then used in place and need not be rounded to bf16. They are copied in any case.
 */
export function loadedType(recipe: Recipe, checkpoint: Checkpoint, types?: WeightTypeChoice): TensorType {
  if (checkpoint.kind === 'converted') return recipe.type
  if (types !== undefined) return chooseType(recipe.declaration, types)
  const { precision, layout } = recipe.declaration
  return precision === 'exact' || (recipe.type === 'bf16' && layout === 'conv-windows') ? 'f32' : recipe.type
}

/**
 * Whether a weight is copied out of its file because it is read so often that large pages matter, which Linux gives to
 * copies always and to files only sometimes. Repacked weights are copied anyway.
 */
async function readOften(
  backend: Backend,
  { name, shape, use }: ParameterDeclaration,
  type: TensorType,
): Promise<boolean> {
  if (process.platform !== 'linux' || backend.kind !== 'cpu') return false
  if (stageOf(name) !== 'code-predictor' || use !== 'matmul') return false
  return (await repackTypeFor(backend, type, shape, use)) === undefined
}

async function weightSpec(
  reader: FileReader,
  checkpoint: Checkpoint,
  recipe: Recipe,
  type: TensorType,
  backend: Backend,
  options: LoadParametersOptions,
): Promise<WeightSpec> {
  const { declaration, segments, rearranged } = recipe
  const { name, shape, use } = declaration
  const [segment] = segments
  if (type === recipe.type && !rearranged && segments.length === 1 && segment !== undefined) {
    const mapping = checkpoint.mapping(segment.file)
    const { offset } = segment
    const apart = await readOften(backend, declaration, type)
    return {
      name,
      type,
      shape,
      use,
      source: apart ? mapping.bytes(offset, tensorBytes(type, shape)).slice() : { mapping, offset },
    }
  }
  const source = new Uint8Array(tensorBytes(type, shape))
  let at = 0
  for await (const bytes of parameterBytes(reader, recipe, type, backend, options.signal)) {
    source.set(bytes, at)
    at += bytes.length
  }
  return { name, type, shape, use, source }
}
