/**
 * Writes repacked weights to their cache file during repacking, and maps the written part of the file over the memory.
 *
 * In: parts of one memory range, in any order. Out: the file, under its final name once it is complete and synced. The
 * memory then consists of the file's pages, which the system can evict, so repacking needs memory for a few weights
 * only.
 */

import { mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'

import { dropPages, mapFileOver } from './file-mapping.ts'
import { bytesAt, type Address } from './native.ts'
import { writeAll } from './write-all.ts'

export interface RepackWriterOptions {
  readonly path: string
  /** First bytes of the file. */
  readonly header: Uint8Array
  /** Start of the memory, a multiple of 65536. */
  readonly address: Address
  /** Offset of the memory's bytes in the file, a multiple of 65536. */
  readonly dataOffset: number
  /** Length of the memory, a multiple of 65536. */
  readonly dataBytes: number
}

const PAGE = 65536
const CHUNK = 64 << 20

export class RepackWriter implements AsyncDisposable {
  readonly #options: RepackWriterOptions
  readonly #temporary: string
  /** Undefined once it is finished or abandoned. */
  #file: FileHandle | undefined
  /** Written parts that do not follow the continuous part: start to end. */
  readonly #written = new Map<number, number>()
  /** End of the continuous written part. */
  #writtenEnd = 0
  #mapped = 0

  private constructor(options: RepackWriterOptions) {
    this.#options = options
    this.#temporary = `${options.path}.${process.pid}.tmp`
  }

  /** Creates the file. If it cannot be written, now or later, there is a warning and the weights stay in memory. */
  static async create(options: RepackWriterOptions): Promise<RepackWriter> {
    const writer = new RepackWriter(options)
    try {
      await mkdir(dirname(options.path), { recursive: true })
      const file = await open(writer.#temporary, 'w+')
      writer.#file = file
      await writeAll(file, options.header, 0)
    } catch (error) {
      await writer.#abandon(error)
    }
    return writer
  }

  /** Number of leading bytes that are mapped from the file. */
  get mapped(): number {
    return this.#mapped
  }

  /**
   * Writes the bytes [from, until) of the memory, which must not change afterwards. All calls together cover the memory
   * without gaps.
   */
  async add(from: number, until: number): Promise<void> {
    const { address, dataOffset } = this.#options
    const file = this.#file
    if (!file) return
    try {
      for (let at = from; at < until; at += CHUNK) {
        const length = Math.min(CHUNK, until - at)
        await writeAll(file, bytesAt(address + BigInt(at), length), dataOffset + at)
      }
      if (this.#file !== file) return
      this.#written.set(from, until)
      for (let next; (next = this.#written.get(this.#writtenEnd)) !== undefined; this.#writtenEnd = next)
        this.#written.delete(this.#writtenEnd)
      this.#map(file, Math.floor(this.#writtenEnd / PAGE) * PAGE)
    } catch (error) {
      if (this.#file === file) await this.#abandon(error)
    }
  }

  /** Syncs the file and renames it to its final name. Returns whether it exists. */
  async finish(): Promise<boolean> {
    const { path, address, dataOffset, dataBytes } = this.#options
    const file = this.#file
    if (!file) return false
    try {
      await file.truncate(dataOffset + dataBytes)
      // Without a sync, a power failure may leave a file of the right size that contains zeros.
      await file.sync()
      this.#map(file, dataBytes)
      // Writes fill the page cache with small pages; a later read of the mapping uses large ones.
      dropPages(file.fd, dataOffset, address, dataBytes)
      await rename(this.#temporary, path)
    } catch (error) {
      await this.#abandon(error)
      return false
    }
    this.#file = undefined
    await file.close()
    return true
  }

  /** Removes an unfinished file. Its mapped part stays readable. */
  async [Symbol.asyncDispose](): Promise<void> {
    const file = this.#file
    if (!file) return
    this.#file = undefined
    await file.close()
    await rm(this.#temporary, { force: true })
  }

  async #abandon(error: unknown): Promise<void> {
    await this[Symbol.asyncDispose]()
    process.emitWarning(`repacked weights could not be cached in ${this.#options.path}: ${String(error)}`)
  }

  #map(file: FileHandle, until: number): void {
    const { address, dataOffset } = this.#options
    if (until <= this.#mapped) return
    mapFileOver(file.fd, dataOffset + this.#mapped, address + BigInt(this.#mapped), until - this.#mapped)
    this.#mapped = until
  }
}
