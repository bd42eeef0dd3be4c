/**
 * A cache file of repacked weights, which later loads map: they start faster, and the system can evict its pages.
 *
 * The file name contains a hash of everything that the bytes depend on: the source, the library's version, the CPU
 * kernels, and the weights' names, types, shapes and order. A source has one file per buffer type of its weights. Other
 * files of the same source are removed.
 */

import { createHash } from 'node:crypto'
import { closeSync, existsSync, openSync, readFileSync, readdirSync, readSync, rmSync, statSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'

import type { Backend } from './backend.ts'
import { canMapFiles, mapFileOver } from './file-mapping.ts'
import type { Address } from './native.ts'
import { RepackWriter } from './repack-writer.ts'
import type { Tensor } from './tensor.ts'

export interface RepackCacheOptions {
  /** Folder of the cache files; created when missing. */
  readonly directory: string
  /** Identifies the content of the source file, such as its hash. Letters, digits, `-` and `_`. */
  readonly key: string
}

/** Alignment of data in the file and in memory: the largest page size of the supported platforms. */
const PAGE = 65536
/** Linux uses large pages where the address and the file offset have the same remainder by this size. */
const LARGE_PAGE = 2 << 20
/** Weights of at least this many bytes are aligned for large pages. */
const LARGE_WEIGHTS = 64 << 20
const SUFFIX = '.repacked'
/** Milliseconds without a write after which an unfinished file counts as abandoned: process ids are reused. */
const ABANDONED_AFTER = 10 * 60_000

export class RepackCache {
  static readonly page = PAGE
  readonly path: string
  readonly #directory: string
  readonly #bytes: number

  private constructor(directory: string, name: string, bytes: number) {
    this.#directory = directory
    this.#bytes = bytes
    this.path = join(directory, `${name}${SUFFIX}`)
  }

  /** Alignment of the address of this many bytes of weights. */
  static alignmentOf(bytes: number): number {
    return bytes < LARGE_WEIGHTS ? PAGE : LARGE_PAGE
  }

  /** The first address from `base` on where the file can be mapped. */
  static startFrom(base: Address, bytes: number): Address {
    const alignment = BigInt(RepackCache.alignmentOf(bytes))
    // Weights follow the header, at the second page of the file.
    const remainder = BigInt(PAGE) % alignment
    return base + ((((remainder - base) % alignment) + alignment) % alignment)
  }

  /** The cache file of these weights, existing or not. Undefined where files cannot be mapped. */
  static forWeights(
    backend: Backend,
    bufferType: Address,
    weights: readonly { readonly tensor: Tensor }[],
    bytes: number,
    options: RepackCacheOptions,
  ): RepackCache | undefined {
    if (!canMapFiles()) return undefined
    const hash = createHash('sha256')
    hash.update(
      JSON.stringify([
        1,
        backend.library.version,
        backend.library.commit,
        backend.native.backend_buft_name(bufferType),
        cpuKernels(backend),
        bytes,
        weights.map(({ tensor }) => [tensor.name, tensor.type, tensor.shape]),
      ]),
    )
    const name = `${prefixOf(options)}${backend.native.backend_buft_name(bufferType)}.${hash.digest('hex').slice(0, 24)}`
    return new RepackCache(options.directory, name, bytes)
  }

  /** Whether the file exists and is complete. */
  exists(): boolean {
    if (!existsSync(this.path) || statSync(this.path).size !== this.#fileBytes) return false
    const fd = openSync(this.path, 'r')
    try {
      const header = Buffer.alloc(this.#header.length)
      readSync(fd, header, 0, header.length, 0)
      return header.equals(this.#header)
    } finally {
      closeSync(fd)
    }
  }

  /** Maps the file's weights over the memory at `address` (a multiple of 65536). Throws when the system refuses. */
  mapInto(address: Address): void {
    const fd = openSync(this.path, 'r')
    try {
      mapFileOver(fd, PAGE, address, this.#dataBytes)
    } finally {
      closeSync(fd)
    }
  }

  /**
   * Starts to write the file. Weights are added to the {@link RepackWriter} as they are repacked in memory, from
   * `address` on (a multiple of 65536).
   */
  write(address: Address): Promise<RepackWriter> {
    try {
      removeAbandoned(this.#directory)
    } catch {
      // The writer has the same error, and warns.
    }
    return RepackWriter.create({
      path: this.path,
      header: this.#header,
      address,
      dataOffset: PAGE,
      dataBytes: this.#dataBytes,
    })
  }

  get #dataBytes(): number {
    return Math.ceil(this.#bytes / PAGE) * PAGE
  }

  get #fileBytes(): number {
    return PAGE + this.#dataBytes
  }

  get #header(): Buffer {
    return Buffer.from(`omniserve repacked weights ${this.path.split(/[\\/]/).at(-1)}\n`)
  }
}

/** Removes the source's cache files except `caches`: those of other builds, processors or weights. */
export function removeOtherCaches(options: RepackCacheOptions, caches: readonly RepackCache[]): void {
  const current = new Set(caches.map(({ path }) => path))
  try {
    removeAbandoned(options.directory)
    for (const name of existsSync(options.directory) ? readdirSync(options.directory) : []) {
      const path = join(options.directory, name)
      if (name.startsWith(prefixOf(options)) && name.endsWith(SUFFIX) && !current.has(path))
        rmSync(path, { force: true })
    }
  } catch (error) {
    process.emitWarning(`old caches of repacked weights in ${options.directory} could not be removed: ${String(error)}`)
  }
}

/** Removes unfinished files of all sources whose process has ended. */
function removeAbandoned(directory: string): void {
  if (!existsSync(directory)) return
  for (const name of readdirSync(directory)) {
    const processId = /\.repacked\.(\d+)\.tmp$/.exec(name)?.[1]
    if (processId === undefined) continue
    const path = join(directory, name)
    const age = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now())
    if (age > ABANDONED_AFTER || !isRunning(Number(processId))) rmSync(path, { force: true })
  }
}

function isRunning(processId: number): boolean {
  try {
    process.kill(processId, 0)
    return true
  } catch (error) {
    // EPERM: it runs under another user.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

function prefixOf(options: RepackCacheOptions): string {
  return `${options.key.replaceAll(/[^A-Za-z0-9_-]/g, '_')}.`
}

/** The loaded build of the CPU kernels, and the processor. */
function cpuKernels(backend: Backend): string {
  return `${loadedKernels()} ${cpus()[0]?.model ?? process.arch} ${backend.deviceName}`
}

function loadedKernels(): string {
  if (process.platform === 'linux') {
    return /libggml-cpu[^/\s]*\.so/.exec(readFileSync('/proc/self/maps', 'utf8'))?.[0] ?? 'unknown'
  }
  const report = process.report?.getReport() as { sharedObjects?: string[] } | undefined
  return (
    report?.sharedObjects
      ?.find((path) => /ggml-cpu/.test(path))
      ?.split(/[\\/]/)
      .at(-1) ?? 'unknown'
  )
}
