/**
 * Chooses and opens a compute device: a named one, or the best GPU that works, else the CPU.
 *
 * In: {@link BackendOptions}. Out: a {@link Backend} whose results were checked with `selfTest`.
 */

import { availableParallelism } from 'node:os'

import { Backend, type SkippedDevice, type ThreadCounts } from './backend.ts'
import { TensorError, TensorLibraryError } from './errors.ts'
import { loadLibrary, packagesFor, type DeviceKind, type Library } from './library.ts'
import type { Address } from './native.ts'
import type { GpuPrecision } from './precision.ts'
import { selfTest } from './self-test.ts'

export interface BackendOptions {
  /** `auto`: the best GPU whose package is installed and works, else the CPU. Default `auto`. */
  readonly device?: DeviceKind | 'auto'
  /** Compute threads of the CPU. Default: all cores, 16 at most. */
  readonly threads?: number
  /** Additional threads for {@link Backend.parallel}. Default 0: it takes its threads from `threads`. */
  readonly parallelThreads?: number
  /** How precisely a GPU computes. Default `fast`. */
  readonly precision?: GpuPrecision
  /** Accepts a build of the library that is not in `testedBuilds`. Default false. */
  readonly allowUntested?: boolean
}

/**
 * Loads the library, opens the device and checks its results.
 *
 * Throws {@link TensorLibraryError} when the package is missing, its version is untested or a result is wrong;
 * {@link TensorError} for a wrong number of threads.
 */
export async function loadBackend(options: BackendOptions = {}): Promise<Backend> {
  const threads = options.threads ?? Math.min(16, availableParallelism())
  if (!Number.isInteger(threads) || threads < 1 || threads > 512) {
    throw new TensorError(`threads must be an integer from 1 to 512, got ${threads}`)
  }
  const requested = options.device ?? 'auto'
  const candidates: readonly DeviceKind[] =
    requested === 'auto'
      ? (['cuda', 'metal', 'vulkan', 'cpu'] as const).filter((kind) => packagesFor(kind).length > 0)
      : [requested]
  const libraryOptions = {
    ...(options.allowUntested !== undefined && { allowUntested: options.allowUntested }),
    ...(options.precision !== undefined && { precision: options.precision }),
  }
  const counts: ThreadCounts = { threads, parallel: options.parallelThreads ?? 0 }
  const skipped: SkippedDevice[] = []
  let lastError: unknown
  for (const kind of candidates) {
    let backend: Backend | undefined
    try {
      backend = openBackend(loadLibrary(kind, libraryOptions), kind, counts, skipped)
      await selfTest(backend)
      return backend
    } catch (error) {
      backend?.[Symbol.dispose]()
      // With `auto`, only the error of the last candidate, the CPU, is thrown.
      lastError = error
      skipped.push({ device: kind, reason: error instanceof Error ? error.message : String(error) })
    }
  }
  throw lastError
}

function openBackend(
  library: Library,
  kind: DeviceKind,
  counts: ThreadCounts,
  skipped: readonly SkippedDevice[],
): Backend {
  const { native } = library
  const cpu = native.backend_dev_by_type(0)
  if (cpu === null)
    throw new TensorLibraryError(`${library.packageName} has no CPU backend that this processor can run`)
  let device: Address | null = null
  if (kind === 'cpu') device = cpu
  else {
    const count = Number(native.backend_dev_count())
    for (let i = 0; i < count && device === null; i++) {
      const candidate = native.backend_dev_get(i)
      if (candidate === null) continue
      const registry = native.backend_dev_backend_reg(candidate)
      const name = registry === null ? '' : native.backend_reg_name(registry).toLowerCase()
      if (name.startsWith(kind === 'metal' ? 'm' : kind) && native.backend_dev_type(candidate) !== 0) device = candidate
    }
  }
  if (device === null) {
    throw new TensorLibraryError(
      `device ${kind}: ${library.packageName} is installed but finds no such device or driver on this machine`,
    )
  }
  return new Backend(library, kind, device, cpu, counts, skipped)
}
