/** The report of `verify`, for users and for issues. It has no paths, keys or host name. */
import { arch, availableParallelism, cpus, platform, release, totalmem } from 'node:os'
import type { Level } from './tasks.ts'

/** One question and its reply. */
export interface Detail {
  readonly asked: string
  readonly wanted?: string
  readonly got: string
}

export interface Finding {
  readonly name: string
  readonly what: string
  readonly state: 'passed' | 'failed' | 'not checked'
  /** Only if not checked. */
  readonly reason?: string
  /** Null if nothing was measured. */
  readonly measured: number | null
  readonly unit: 'share' | 'error rate' | 'dB' | 'correlation'
  /** The pass mark: at least `least`, or at most `most`. */
  readonly mark: { readonly least: number } | { readonly most: number }
  readonly seconds: number
  readonly details: readonly Detail[]
}

export interface CheckedModel {
  /** Name without folders. */
  readonly name: string
  readonly architecture: string
  readonly weights: string
  readonly context_length: number
  readonly speakers: number
}

export interface Report {
  readonly report: 'omniserve verify 1'
  readonly date: string
  /** False if the command ended before its last check. */
  readonly complete: boolean
  readonly passed: boolean
  readonly checkpoint: CheckedModel
  readonly against: CheckedModel | null
  readonly level: Level
  readonly seed: number
  readonly device: string
  readonly speech: { readonly solver: string; readonly steps: number; readonly guidance: number }
  readonly load_seconds: number
  readonly versions: { readonly omniserve: string; readonly node: string; readonly library: string }
  readonly machine: {
    readonly processor: string
    readonly cores: number
    readonly memory_bytes: number
    readonly system: string
  }
  readonly findings: readonly Finding[]
}

export function machineFacts(): Report['machine'] {
  return {
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memory_bytes: totalmem(),
    system: `${platform()} ${release()} ${arch()}`,
  }
}

/** `100 %`, `71.3 dB`, `0.998`. */
export function amountText(amount: number, unit: Finding['unit']): string {
  switch (unit) {
    case 'share':
    case 'error rate':
      return `${(100 * amount).toFixed(Number.isInteger(100 * amount) ? 0 : 1)} %`
    case 'dB':
      return `${amount.toFixed(1)} dB`
    case 'correlation':
      return amount.toFixed(3)
    default:
      return unit satisfies never
  }
}

export function markText({ mark, unit }: Finding): string {
  return 'least' in mark ? `at least ${amountText(mark.least, unit)}` : `at most ${amountText(mark.most, unit)}`
}

/** Whether a measured value passes; NaN does not. */
export function reaches(measured: number, mark: Finding['mark']): boolean {
  return 'least' in mark ? measured >= mark.least : measured <= mark.most
}
