/** Which number format a checkpoint's weights need on this machine. */
import { totalmem } from 'node:os'
import type { ModelDescription } from '../models/index.ts'
import { estimateMemory, type WeightType } from '../weights/index.ts'

/** The types that `--quantize auto` may choose, finest first. Finer types gain little and are slower. */
const candidates = ['q8_0', 'q6_k', 'q4_0'] as const satisfies readonly WeightType[]

/** Of the machine's memory, and bytes for caches and results: the rest is the system's. */
const share = 0.9
const working = 1e9

export interface Advice {
  /** Undefined when nothing fits. */
  readonly type: WeightType | undefined
  /** Bytes of weights of `type`, or of the smallest there is. */
  readonly bytes: number
  /** Bytes available for weights. */
  readonly available: number
}

/** @param memory bytes of the machine; by default of this one */
export function adviseType(description: ModelDescription, memory: number = totalmem()): Advice {
  const available = Math.max(0, share * memory - working)
  const sizes = candidates.map((type) => [type, estimateMemory(description.declarations, { type }).weights] as const)
  const fitting = sizes.find(([, bytes]) => bytes <= available)
  return { type: fitting?.[0], bytes: fitting?.[1] ?? sizes.at(-1)?.[1] ?? 0, available }
}
