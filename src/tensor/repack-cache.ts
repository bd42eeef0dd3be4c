/**
 * A cache file of repacked weights, which is memory-mapped at the next start: a faster start, and evictable memory.
 *
 * The file's name is a hash of all that the bytes depend on: the source, the library's version, the CPU kernels in
 * use, and the weights' names, types, shapes and order. A source has a file for each kind of repacking that its
 * weights take; a file that does not fit is rewritten, and older ones of the same source are removed.
 */

import { createHash } from 'node:crypto'
import { closeSync, existsSync, openSync, readFileSync, readdirSync, readSync, rmSync, statSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'

import type { Backend } from './backend.ts'
import { canMapOver, mapOver } from './file-mapping.ts'
import type { Address } from './native.ts'
import { RepackWriter } from './repack-writer.ts'
import type { Tensor } from './tensor.ts'

export interface RepackCacheOptions {
  /** Folder of the cache files; made when missing. */
  readonly directory: string
  /** Names the source file's content, such as its hash. Letters, digits, `-` and `_`. */
  readonly key: string
}

/** Alignment of data in the file and in memory: the largest page size of the platforms we run on. */
const PAGE = 65536
/** Linux maps files in large pages where address and place in the file have the same remainder by their size. */
const LARGE_PAGE = 2 << 20
/** Bytes of weights from which on large pages are worth their alignment. */
const LARGE = 64 << 20
const SUFFIX = '.repacked'
/** Milliseconds without a write after which an unfinished file is abandoned, whoever has its process id now. */
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

  /** What the address of so many bytes of weights is aligned to. */
  static alignmentOf(bytes: number): number {
    return bytes < LARGE ? PAGE : LARGE_PAGE
  }

  /** The first address from `base` on where the file can be mapped: less than the alignment away. */
  static startFrom(base: Address, bytes: number): Address {
    const alignment = BigInt(RepackCache.alignmentOf(bytes))
    // The weights' place in the file.
    const remainder = BigInt(PAGE) % alignment
    return base + ((((remainder - base) % alignment) + alignment) % alignment)
  }

  /** The cache of these weights, or undefined where files cannot be mapped. */
  static forSet(
    backend: Backend,
    bufferType: Address,
    weights: readonly { readonly tensor: Tensor }[],
    bytes: number,
    options: RepackCacheOptions,
  ): RepackCache | undefined {
    if (!canMapOver()) return undefined
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

  /** Whether the file is there and whole. */
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

  /** Maps the file's weights in place of the memory at `address` (a multiple of 65536). */
  mapInto(address: Address): void {
    const fd = openSync(this.path, 'r')
    try {
      mapOver(fd, PAGE, address, this.#dataBytes)
    } finally {
      closeSync(fd)
    }
  }

  /**
   * Begins to write the file. Its weights are given to the {@link RepackWriter} as they are rearranged, from
   * `address` on (a multiple of 65536).
   */
  write(address: Address): Promise<RepackWriter> {
    try {
      removeAbandoned(this.#directory)
    } catch {
      // Whatever is wrong with the folder, the writer finds too, and says.
    }
    return RepackWriter.create({
      path: this.path,
      header: this.#header,
      address,
      dataAt: PAGE,
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

/** Removes the source's files other than those of `caches`: of other builds, other processors, other weights. */
export function removeOthers(options: RepackCacheOptions, caches: readonly RepackCache[]): void {
  const kept = new Set(caches.map(({ path }) => path))
  try {
    removeAbandoned(options.directory)
    for (const name of existsSync(options.directory) ? readdirSync(options.directory) : []) {
      const path = join(options.directory, name)
      if (name.startsWith(prefixOf(options)) && name.endsWith(SUFFIX) && !kept.has(path)) rmSync(path, { force: true })
    }
  } catch (error) {
    process.emitWarning(`old repacked weights in ${options.directory} could not be removed: ${String(error)}`)
  }
}

/** Removes unfinished files whose process is gone, of whatever source. */
function removeAbandoned(directory: string): void {
  if (!existsSync(directory)) return
  for (const name of readdirSync(directory)) {
    const id = /\.repacked\.(\d+)\.tmp$/.exec(name)?.[1]
    if (id === undefined) continue
    const path = join(directory, name)
    const untouched = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now())
    if (untouched > ABANDONED_AFTER || !isRunning(Number(id))) rmSync(path, { force: true })
  }
}

function isRunning(processId: number): boolean {
  try {
    process.kill(processId, 0)
    return true
  } catch (error) {
    // EPERM: it runs, as somebody else.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

function prefixOf(options: RepackCacheOptions): string {
  return `${options.key.replaceAll(/[^A-Za-z0-9_-]/g, '_')}.`
}

/** Which build of the CPU kernels is in use, and on which processor. */
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
