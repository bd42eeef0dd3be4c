/**
 * Which number format each weight is stored in.
 *
 * One type is asked for the whole checkpoint, and optionally others for single stages. What a weight is used for sets a
 * floor: norms and biases stay f32, the code predictor and the encoders keep at least 8 bits, and a row that does not
 * divide into a type's blocks takes the next finer type that it does divide into.
 */

import { EngineError } from '../contract/index.ts'
import type { ParameterDeclaration } from '../nn/parameters.ts'
import { type TensorType, typeInfo } from '../tensor/index.ts'

/** Types that `--quantize` takes, coarse to fine. */
export const weightTypes = ['q4_0', 'q4_k', 'q5_k', 'q6_k', 'q8_0', 'f16', 'bf16', 'f32'] as const
export type WeightType = (typeof weightTypes)[number]

/** Parts of a model that can have a type of their own. */
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
  /** Taken as requested for all weights of a stage that are not exact, floors aside. */
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

/** Which stage a weight belongs to; the thinker for names outside all of them. */
export function stageOf(name: string): WeightStage {
  return stagePrefixes.find(([prefix]) => name.startsWith(prefix))?.[1] ?? 'thinker'
}

/** Next finer type when a row does not divide into blocks. */
const finer: Readonly<Record<string, TensorType>> = {
  q4_k: 'q4_0',
  q5_k: 'q5_1',
  q6_k: 'q8_0',
  q4_0: 'f16',
  q5_1: 'f16',
  q8_0: 'f16',
}

/** The type that a weight is stored in under a choice. */
export function chooseType(
  declaration: Pick<ParameterDeclaration, 'name' | 'shape' | 'precision'>,
  choice: WeightTypeChoice,
): TensorType {
  if (declaration.precision === 'exact') return 'f32'
  const stage = stageOf(declaration.name)
  const asked = choice.stages?.[stage]
  const coarseAllowed = asked !== undefined || declaration.precision === 'coarse'
  let type: TensorType = asked ?? choice.type
  if (!coarseAllowed && bitsOf(type) < 8) type = 'q8_0'
  while (declaration.shape[0] % typeInfo(type).blockSize !== 0) type = finer[type] ?? 'f16'
  return type
}

function bitsOf(type: TensorType): number {
  const { blockBytes, blockSize } = typeInfo(type)
  return Math.floor((blockBytes * 8) / blockSize)
}

/** Checks a type's name from a command line. Throws `unsupported` listing the names that exist. */
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

/** Checks a stage's name from a command line. */
export function parseWeightStage(name: string): WeightStage {
  const stage = weightStages.find((known) => known === name)
  if (stage !== undefined) return stage
  throw new EngineError('unsupported', `there is no stage ${name}; stages are ${weightStages.join(', ')}`, {
    param: 'quantize',
  })
}
