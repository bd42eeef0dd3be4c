/**
 * A file's bytes at an address: mapped where the system can (Linux, macOS), read into memory elsewhere (Windows).
 *
 * Mapped pages are shared with other processes and can be evicted; nothing is copied. Tested on Linux only; macOS uses
 * the same system calls.
 */

import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

import koffi from 'koffi'

import { TensorError } from './errors.ts'
import { bytesAt, callAsync, type Address, type NativeFunction } from './native.ts'

interface Libc {
  mmap(
    address: Address | null,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
  ): Address | null
  munmap(address: Address, length: number): number
  madvise: NativeFunction<[address: Address, length: number, advice: number], number>
  posix_fadvise?(fd: number, offset: number, length: number, advice: number): number
}

let libc: Libc | undefined

function systemCalls(): Libc | undefined {
  if (process.platform === 'win32') return undefined
  if (libc) return libc
  const library = koffi.load(process.platform === 'darwin' ? 'libSystem.B.dylib' : 'libc.so.6')
  libc = {
    mmap: library.func('void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)'),
    munmap: library.func('int munmap(void *address, size_t length)'),
    madvise: library.func('int madvise(void *address, size_t length, int advice)'),
    ...(process.platform === 'linux' && {
      posix_fadvise: library.func('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)'),
    }),
  } as unknown as Libc
  return libc
}

const PROT_READ = 1
const PROT_READ_WRITE = 3
const MAP_SHARED = 1
const MAP_PRIVATE_FIXED = 0x12
const MADV_WILLNEED = 3
const MADV_DONTNEED = 4
const POSIX_FADV_DONTNEED = 4
const MADV_HUGEPAGE = 14
const MADV_POPULATE_READ = 22
const MAP_FAILED = 0xffffffffffffffffn

/** See the file header. */
export class FileMapping implements Disposable {
  readonly path: string
  readonly address: Address
  readonly size: number
  /** False where the file was read into memory instead. */
  readonly mapped: boolean
  readonly #owner: Address | undefined
  #disposed = false

  private constructor(path: string, address: Address, size: number, owner?: Address) {
    this.path = path
    this.address = address
    this.size = size
    this.mapped = owner === undefined
    this.#owner = owner
  }

  /**
   * Maps a file. Throws the system's error when it cannot be opened, {@link TensorError} when it is empty or cannot be
   * mapped.
   */
  static open(path: string, options: { mode?: 'map' | 'read' } = {}): FileMapping {
    const fd = openSync(path, 'r')
    try {
      const { size } = fstatSync(fd)
      if (size === 0) throw new TensorError(`${path} is empty`)
      const calls = options.mode === 'read' ? undefined : systemCalls()
      if (!calls) {
        // Extra bytes, so that the data can start at an aligned address.
        const memory = koffi.alloc('uint8_t', size + ALIGNMENT) as Address
        const padding = Number((BigInt(ALIGNMENT) - (memory % BigInt(ALIGNMENT))) % BigInt(ALIGNMENT))
        const bytes = bytesAt(memory, size + ALIGNMENT)
        for (let done = 0; done < size;) {
          const count = readSync(fd, bytes, padding + done, Math.min(size - done, 1 << 30), done)
          if (count === 0) {
            koffi.free(memory)
            throw new TensorError(`${path} became shorter while it was read`)
          }
          done += count
        }
        return new FileMapping(path, memory + BigInt(padding), size, memory)
      }
      const address = calls.mmap(null, size, PROT_READ, MAP_SHARED, fd, 0)
      if (address === null || address === MAP_FAILED)
        throw new TensorError(`${path} could not be mapped (errno ${koffi.errno()})`)
      adviseLargePages(address, size)
      return new FileMapping(path, address, size)
    } finally {
      closeSync(fd)
    }
  }

  /**
   * A view of `length` bytes from `offset`; valid until the mapping is disposed. Throws {@link TensorError} out of
   * range.
   */
  bytes(offset: number, length: number): Uint8Array {
    if (this.#disposed) throw new TensorError(`${this.path} is unmapped`)
    if (offset < 0 || length < 0 || offset + length > this.size) {
      throw new TensorError(`${this.path} has ${this.size} bytes; ${length} from ${offset} are beyond its end`)
    }
    return bytesAt(this.address + BigInt(offset), length)
  }

  /** Evicts a range that will not be read again soon from memory. A later access reads the file again. */
  evict(offset: number, length: number): void {
    if (!this.mapped || this.#disposed) return
    const page = 65536
    const start = Math.ceil(offset / page) * page
    const end = Math.floor((offset + length) / page) * page
    if (end <= start) return
    const fd = openSync(this.path, 'r')
    try {
      dropPages(fd, start, this.address + BigInt(start), end - start)
    } finally {
      closeSync(fd)
    }
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return
    this.#disposed = true
    if (this.#owner === undefined) systemCalls()?.munmap(this.address, this.size)
    else koffi.free(this.#owner)
  }
}

/** Tensor data in place must start at a multiple of this. */
export const ALIGNMENT = 32

/**
 * @internal Asks Linux for large pages, of memory or of a mapped file: reading weights then needs fewer TLB entries.
 */
export function adviseLargePages(address: Address, length: number): void {
  if (process.platform !== 'linux') return
  const page = 1n << 21n
  const start = ((address + page - 1n) / page) * page
  const end = ((address + BigInt(length)) / page) * page
  if (end > start) systemCalls()?.madvise(start, Number(end - start), MADV_HUGEPAGE)
}

/** Memory that a file is mapped to: bytes [address, address + length). */
export interface MappedRange {
  readonly address: Address
  readonly length: number
}

const PREFETCH_CHUNK = 64 << 20

/**
 * Loads mapped pages from their files into memory, in order, on a worker thread. On Linux it resolves when they are
 * loaded; elsewhere it only advises the system. Rejects with the signal's reason when aborted, between two chunks.
 *
 * @internal
 */
export async function prefetch(ranges: readonly MappedRange[], signal?: AbortSignal): Promise<void> {
  const calls = systemCalls()
  if (!calls) return
  const page = 65536n
  const chunks = ranges.flatMap(({ address, length }) => {
    const start = (address / page) * page
    const total = Number(address - start) + length
    return Array.from({ length: Math.ceil(total / PREFETCH_CHUNK) }, (_, i) => {
      const at = i * PREFETCH_CHUNK
      return { address: start + BigInt(at), length: Math.min(PREFETCH_CHUNK, total - at) }
    })
  })
  for (const { address, length } of chunks) {
    signal?.throwIfAborted()
    // MADV_WILLNEED fills the page cache with small pages; it is the fallback before Linux 5.14 and on other systems.
    const loaded =
      process.platform === 'linux' && (await callAsync(calls.madvise, address, length, MADV_POPULATE_READ)) === 0
    if (!loaded) await callAsync(calls.madvise, address, length, MADV_WILLNEED)
  }
}

/** Whether this system can map files, as the cache of repacked weights requires. */
export function canMapFiles(): boolean {
  return systemCalls() !== undefined
}

/**
 * @internal Maps a file's pages over existing memory: `address`, `length` and `offset` are multiples of 65536. Writes
 * stay private. Throws {@link TensorError} when the system refuses.
 */
export function mapFileOver(fd: number, offset: number, address: Address, length: number): void {
  const calls = systemCalls()
  if (!calls) throw new TensorError('files cannot be mapped on this system')
  if (calls.mmap(address, length, PROT_READ_WRITE, MAP_PRIVATE_FIXED, fd, offset) !== address) {
    throw new TensorError(`a cache file could not be mapped (errno ${koffi.errno()})`)
  }
  adviseLargePages(address, length)
}

/**
 * @internal Drops a file's pages that are mapped at `address` from the process and, on Linux, from the page cache: the
 * next access reads the file. Requires a file that is synced and a mapping without writes.
 */
export function dropPages(fd: number, offset: number, address: Address, length: number): void {
  const calls = systemCalls()
  calls?.madvise(address, length, MADV_DONTNEED)
  calls?.posix_fadvise?.(fd, offset, length, POSIX_FADV_DONTNEED)
}

/**
 * @internal Replaces a file's pages by anonymous memory. Required before the memory is freed, because its allocator may
 * reuse it.
 */
export function mapAnonymousOver(address: Address, length: number): void {
  const flags = MAP_PRIVATE_FIXED | (process.platform === 'darwin' ? 0x1000 : 0x20)
  systemCalls()?.mmap(address, length, PROT_READ_WRITE, flags, -1, 0)
}
