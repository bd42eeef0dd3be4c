/**
 * How much memory a checkpoint's weights take under a choice of types, and whether this machine has it: checked before
 * loading, so that too little memory is an error message and not a killed process.
 */

import { EngineError } from '../contract/index.ts'
import type { ParameterDeclaration } from '../nn/parameters.ts'
import { tensorBytes } from '../tensor/index.ts'
import type { Checkpoint } from './checkpoint.ts'
import { loadedType } from './load-parameters.ts'
import { type CheckpointNaming, matchParameters } from './match-parameters.ts'
import { gigabytes } from './placement.ts'
import {
  chooseType,
  stageOf,
  type WeightStage,
  weightTypes,
  type WeightType,
  type WeightTypeChoice,
} from './weight-types.ts'

export interface MemoryEstimate {
  /** Bytes of weights. */
  readonly weights: number
  readonly stages: Readonly<Partial<Record<WeightStage, number>>>
}

type Declared = Pick<ParameterDeclaration, 'name' | 'shape' | 'precision'>

/** Bytes of the declared weights under a choice of types: the size of a converted file, headers aside. */
export function estimateMemory(declarations: readonly Declared[], choice: WeightTypeChoice): MemoryEstimate {
  return sum(
    declarations.map((declaration) => [declaration, tensorBytes(chooseType(declaration, choice), declaration.shape)]),
  )
}

/** Bytes of an opened checkpoint's weights after `loadParameters`. Throws as `matchParameters` does. */
export function checkpointMemory(
  checkpoint: Checkpoint,
  declarations: readonly ParameterDeclaration[],
  options: { readonly types?: WeightTypeChoice; readonly naming?: CheckpointNaming } = {},
): MemoryEstimate {
  const { recipes } = matchParameters(checkpoint, declarations, options.naming)
  return sum(
    recipes.map((recipe) => [
      recipe.declaration,
      tensorBytes(loadedType(recipe, checkpoint, options.types), recipe.declaration.shape),
    ]),
  )
}

function sum(sizes: readonly (readonly [Declared, number])[]): MemoryEstimate {
  const stages: Partial<Record<WeightStage, number>> = {}
  let weights = 0
  for (const [{ name }, bytes] of sizes) {
    const stage = stageOf(name)
    stages[stage] = (stages[stage] ?? 0) + bytes
    weights += bytes
  }
  return { weights, stages }
}

export interface MemoryNeed {
  /** Bytes of weights, from {@link estimateMemory} or {@link checkpointMemory}. */
  readonly weights: number
  /** Bytes for caches and intermediate results. */
  readonly working: number
}

/**
 * Throws `EngineError('bad_checkpoint')` when the need is more than `available` bytes (default: what the system reports
 * as available to this process). The message says how much is needed and the finest type that would fit.
 */
export function checkMemory(
  need: MemoryNeed,
  declarations: readonly Declared[],
  location: string,
  available: number = process.availableMemory(),
): void {
  const total = need.weights + need.working
  if (total <= available) return
  const smaller = weightTypes
    .toReversed()
    .map((type): [WeightType, number] => [type, estimateMemory(declarations, { type }).weights + need.working])
    .filter(([, bytes]) => bytes < total)
  const fitting = smaller.find(([, bytes]) => bytes <= available)
  const least = smaller.at(-1)
  const advice =
    fitting === undefined
      ? `no smaller type would fit${least ? ` (${least[0]} needs ${gigabytes(least[1])})` : ''}; ` +
        'use a smaller checkpoint or a machine with more memory'
      : `converted with --quantize ${fitting[0]} it would fit, needing ${gigabytes(fitting[1])}`
  throw new EngineError(
    'bad_checkpoint',
    `${location} needs ${gigabytes(total)} of memory (${gigabytes(need.weights)} of it weights) and ${gigabytes(available)} is available: ${advice}`,
  )
}
