/** Chooses the finest weight type of a checkpoint that fits the memory of a machine. */
import { totalmem } from 'node:os'
import type { ModelDescription } from '../models/index.ts'
import { estimateMemory, type WeightType } from '../weights/index.ts'

/** The types that `--quantize auto` may choose, finest first. Finer types gain little and are slower. */
const candidates = ['q8_0', 'q6_k', 'q4_0'] as const satisfies readonly WeightType[]

/** Fraction of the machine's memory that may be used; the rest is for the system. */
const usableFraction = 0.9
/** Bytes for caches and intermediate results. */
const workingBytes = 1e9

export interface Advice {
  /** The finest type that fits; undefined if none does. */
  readonly type: WeightType | undefined
  /** Bytes of the weights as `type`, or as the smallest type if none fits. */
  readonly bytes: number
  /** Bytes available for weights. */
  readonly available: number
}

/** @param memory the machine's memory in bytes. Default: this machine's */
export function adviseType(description: ModelDescription, memory: number = totalmem()): Advice {
  const available = Math.max(0, usableFraction * memory - workingBytes)
  const sizes = candidates.map((type) => [type, estimateMemory(description.declarations, { type }).weights] as const)
  const fitting = sizes.find(([, bytes]) => bytes <= available)
  return { type: fitting?.[0], bytes: fitting?.[1] ?? sizes.at(-1)?.[1] ?? 0, available }
}
