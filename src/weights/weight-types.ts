/**
 * The type that each weight is stored in.
 *
 * In: a requested type for the whole checkpoint, and optionally others for single stages. Out: a type for each weight.
 * Norms and biases are always f32, the code predictor and the encoders have at least 8 bits, and a row that does not
 * divide into a type's blocks gets the next finer type that it divides into.
 */

import { EngineError } from '../contract/index.ts'
import type { ParameterDeclaration } from '../nn/parameters.ts'
import { type TensorType, typeInfo } from '../tensor/types.ts'

/** Types for `--quantize`, coarse to fine. */
export const weightTypes = ['q4_0', 'q4_k', 'q5_k', 'q6_k', 'q8_0', 'f16', 'bf16', 'f32'] as const
export type WeightType = (typeof weightTypes)[number]

/** Parts of a model that can have their own type. */
export const weightStages = [
  'thinker',
  'audio-encoder',
  'vision-encoder',
  'talker',
  'code-predictor',
  'code2wav',
  'dit',
] as const
export type WeightStage = (typeof weightStages)[number]

export interface WeightTypeChoice {
  readonly type: WeightType
  /** Types of single stages, for all weights that need not be f32; the 8-bit minimum does not apply. */
  readonly stages?: Partial<Record<WeightStage, WeightType>>
}

const stagePrefixes: readonly (readonly [prefix: string, stage: WeightStage])[] = [
  ['thinker.audio_tower.', 'audio-encoder'],
  ['thinker.visual.', 'vision-encoder'],
  ['thinker.', 'thinker'],
  ['talker.code_predictor.', 'code-predictor'],
  ['talker.', 'talker'],
  ['code2wav.', 'code2wav'],
  ['token2wav.code2wav_dit_model.', 'dit'],
  ['token2wav.', 'code2wav'],
]

/** The stage of a weight, by its name. Default: thinker. */
export function stageOf(name: string): WeightStage {
  return stagePrefixes.find(([prefix]) => name.startsWith(prefix))?.[1] ?? 'thinker'
}

/** The next finer type, for rows that do not divide into blocks. Default: f16. */
const finer: Readonly<Record<string, TensorType>> = {
  q4_k: 'q4_0',
  q5_k: 'q5_1',
  q6_k: 'q8_0',
  q4_0: 'f16',
  q5_1: 'f16',
  q8_0: 'f16',
}

/** The type of a weight for a choice of types. */
export function chooseType(
  declaration: Pick<ParameterDeclaration, 'name' | 'shape' | 'precision'>,
  choice: WeightTypeChoice,
): TensorType {
  if (declaration.precision === 'exact') return 'f32'
  const stage = stageOf(declaration.name)
  const requested = choice.stages?.[stage]
  const coarseAllowed = requested !== undefined || declaration.precision === 'coarse'
  let type: TensorType = requested ?? choice.type
  if (!coarseAllowed && bitsOf(type) < 8) type = 'q8_0'
  while (declaration.shape[0] % typeInfo(type).blockSize !== 0) type = finer[type] ?? 'f16'
  return type
}

function bitsOf(type: TensorType): number {
  const { blockBytes, blockSize } = typeInfo(type)
  return Math.floor((blockBytes * 8) / blockSize)
}

/** Checks a type's name from the command line. Throws `EngineError('unsupported')` with the supported names. */
export function parseWeightType(name: string): WeightType {
  const type = weightTypes.find((known) => known === name.toLowerCase())
  if (type !== undefined) return type
  throw new EngineError(
    'unsupported',
    `quantisation ${name} is not supported; choose one of ${weightTypes.join(', ')}`,
    {
      param: 'quantize',
    },
  )
}

/** Checks a stage's name from the command line. Throws `EngineError('unsupported')` with the supported names. */
export function parseWeightStage(name: string): WeightStage {
  const stage = weightStages.find((known) => known === name)
  if (stage !== undefined) return stage
  throw new EngineError('unsupported', `there is no stage ${name}; stages are ${weightStages.join(', ')}`, {
    param: 'quantize',
  })
}
