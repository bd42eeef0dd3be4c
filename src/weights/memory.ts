/**
 * How much memory a checkpoint's weights need with a choice of types, and whether it is available. Checked before
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
  /** Bytes of all weights. */
  readonly weights: number
  /** Bytes of each stage's weights. */
  readonly stages: Readonly<Partial<Record<WeightStage, number>>>
}

type Declared = Pick<ParameterDeclaration, 'name' | 'shape' | 'precision'>

/** Bytes of the declared weights with a choice of types: the size of a converted file without its header. */
export function estimateMemory(declarations: readonly Declared[], choice: WeightTypeChoice): MemoryEstimate {
  return totalOf(
    declarations.map((declaration) => [declaration, tensorBytes(chooseType(declaration, choice), declaration.shape)]),
  )
}

/** Bytes of an opened checkpoint's weights after `loadParameters`. Throws as `matchParameters` does. */
export function checkpointMemory(
  checkpoint: Checkpoint,
  declarations: readonly ParameterDeclaration[],
  options: { readonly types?: WeightTypeChoice; readonly naming?: CheckpointNaming } = {},
): MemoryEstimate {
  const { sources } = matchParameters(checkpoint, declarations, options.naming)
  return totalOf(
    sources.map((source) => [
      source.declaration,
      tensorBytes(loadedType(source, checkpoint, options.types), source.declaration.shape),
    ]),
  )
}

function totalOf(sizes: readonly (readonly [Declared, number])[]): MemoryEstimate {
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
 * Throws `EngineError('bad_checkpoint')` when the need exceeds `available` bytes (default: memory that the system
 * reports as available). The message contains the needed bytes and the most precise type that would fit.
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
  const smallest = smaller.at(-1)
  const advice =
    fitting === undefined
      ? `no smaller type would fit${smallest ? ` (${smallest[0]} needs ${gigabytes(smallest[1])})` : ''}; ` +
        'use a smaller checkpoint or a machine with more memory'
      : `converted with --quantize ${fitting[0]} it would fit, needing ${gigabytes(fitting[1])}`
  throw new EngineError(
    'bad_checkpoint',
    `${location} needs ${gigabytes(total)} of memory (${gigabytes(need.weights)} of it weights) and ${gigabytes(available)} is available: ${advice}`,
  )
}
