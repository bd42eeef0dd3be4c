/**
 * Loads a model's weights from a checkpoint onto a device.
 *
 * In: an opened checkpoint and the model's declarations. Out: a {@link WeightSet}, with names as declared. Weights that
 * are stored in the required type and order are used in place in the mapped file (the code predictor's are copied); the
 * others are converted first.
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
import { type CheckpointNaming, matchParameters, type ParameterSource } from './match-parameters.ts'
import { messageOf } from './message-of.ts'
import { FileReader, parameterBytes } from './read-parameter.ts'
import { chooseType, stageOf, type WeightTypeChoice } from './weight-types.ts'

export interface LoadParametersOptions extends LoadWeightsOptions {
  /**
   * Converts the weights of a folder at each load (for small checkpoints and tests; `omniserve convert` does it once).
   * Default: weights keep their stored type, except that norms and biases become f32. Ignored for converted files.
   */
  readonly types?: WeightTypeChoice
  /** Other names of the family's tensors, and stored tensors to ignore. All other unused tensors are errors. */
  readonly naming?: CheckpointNaming
}

/**
 * Loads every declared parameter. The checkpoint must outlive the set, because weights may be in its mapped files.
 *
 * Rejects with `EngineError('bad_checkpoint')` when tensors are missing, unused or have a wrong shape; with the
 * signal's reason when aborted.
 */
export async function loadParameters(
  backend: Backend,
  checkpoint: Checkpoint,
  declarations: readonly ParameterDeclaration[],
  options: LoadParametersOptions = {},
): Promise<WeightSet> {
  const { sources } = matchParameters(checkpoint, declarations, options.naming)
  await using reader = new FileReader()
  const specs: WeightSpec[] = []
  for (const parameter of sources) {
    options.signal?.throwIfAborted()
    specs.push(
      await weightSpec(
        reader,
        checkpoint,
        parameter,
        loadedType(parameter, checkpoint, options.types),
        backend,
        options,
      ),
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
 * The type of a parameter after loading. bf16 weights of convolutions over time become f32, which is exact: their
 * windows can then be used in place, without conversion to bf16.
 */
export function loadedType(parameter: ParameterSource, checkpoint: Checkpoint, types?: WeightTypeChoice): TensorType {
  if (checkpoint.kind === 'converted') return parameter.type
  if (types !== undefined) return chooseType(parameter.declaration, types)
  const { precision, layout } = parameter.declaration
  return precision === 'exact' || (parameter.type === 'bf16' && layout === 'conv-windows') ? 'f32' : parameter.type
}

/**
 * Whether a weight is copied although it could be mapped: it is read so often that large pages matter, which Linux
 * always provides for copies but not for files. Repacked weights are copies already.
 */
async function shouldCopy(
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
  parameter: ParameterSource,
  type: TensorType,
  backend: Backend,
  options: LoadParametersOptions,
): Promise<WeightSpec> {
  const { declaration, segments, rearranged } = parameter
  const { name, shape, use } = declaration
  const [segment] = segments
  if (type === parameter.type && !rearranged && segments.length === 1 && segment !== undefined) {
    const mapping = checkpoint.mapping(segment.file)
    const { offset } = segment
    const copy = await shouldCopy(backend, declaration, type)
    return {
      name,
      type,
      shape,
      use,
      source: copy ? mapping.bytes(offset, tensorBytes(type, shape)).slice() : { mapping, offset },
    }
  }
  const source = new Uint8Array(tensorBytes(type, shape))
  let done = 0
  for await (const bytes of parameterBytes(reader, parameter, type, backend, options.signal)) {
    source.set(bytes, done)
    done += bytes.length
  }
  return { name, type, shape, use, source }
}
