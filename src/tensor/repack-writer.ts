/**
 * Writes repacked weights to their cache file while they are made, and maps what is written in place of the memory it
 * was made in.
 *
 * In: pieces of one stretch of memory, in any order. Out: the file, under its name once it is whole and on the disk;
 * the memory then is the file's pages, which the system may drop and read again. So repacking takes no more memory
 * than a few weights.
 */

import { mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'

import { dropPages, mapOver } from './file-mapping.ts'
import { bytesAt, type Address } from './native.ts'

export interface RepackWriterOptions {
  readonly path: string
  /** First bytes of the file. */
  readonly header: Uint8Array
  /** Start of the memory, a multiple of 65536; its length `dataBytes` too. */
  readonly address: Address
  /** Where the memory's bytes begin in the file, a multiple of 65536. */
  readonly dataAt: number
  readonly dataBytes: number
}

const PAGE = 65536
const CHUNK = 64 << 20

export class RepackWriter implements AsyncDisposable {
  readonly #options: RepackWriterOptions
  readonly #temporary: string
  /** Undefined once it is finished or given up. */
  #file: FileHandle | undefined
  /** Pieces written beyond the mapped part: where they begin, and end. */
  readonly #written = new Map<number, number>()
  /** All before it has been written. */
  #until = 0
  #mapped = 0

  private constructor(options: RepackWriterOptions) {
    this.#options = options
    this.#temporary = `${options.path}.${process.pid}.tmp`
  }

  /** A full disk or a read-only folder is no error: the weights then stay in memory, with a warning. */
  static async create(options: RepackWriterOptions): Promise<RepackWriter> {
    const writer = new RepackWriter(options)
    try {
      await mkdir(dirname(options.path), { recursive: true })
      const file = await open(writer.#temporary, 'w+')
      writer.#file = file
      await writer.#write(file, options.header, 0)
    } catch (error) {
      await writer.#giveUp(error)
    }
    return writer
  }

  /** Bytes, from the start, that are the file's pages by now. */
  get mapped(): number {
    return this.#mapped
  }

  /**
   * The bytes [from, until) of the memory will not change any more. Pieces of all calls together cover it without
   * gaps.
   */
  async add(from: number, until: number): Promise<void> {
    const { address, dataAt } = this.#options
    const file = this.#file
    if (!file) return
    try {
      for (let at = from; at < until; at += CHUNK) {
        const length = Math.min(CHUNK, until - at)
        await this.#write(file, bytesAt(address + BigInt(at), length), dataAt + at)
      }
      if (this.#file !== file) return
      this.#written.set(from, until)
      for (let next; (next = this.#written.get(this.#until)) !== undefined; this.#until = next)
        this.#written.delete(this.#until)
      this.#map(file, Math.floor(this.#until / PAGE) * PAGE)
    } catch (error) {
      if (this.#file === file) await this.#giveUp(error)
    }
  }

  /** Gives the file its name. Returns whether it is there. */
  async finish(): Promise<boolean> {
    const { path, address, dataAt, dataBytes } = this.#options
    const file = this.#file
    if (!file) return false
    try {
      await file.truncate(dataAt + dataBytes)
      // Without it a power failure may leave a file of the right size with zeros in it.
      await file.sync()
      this.#map(file, dataBytes)
      // Writing fills the page cache with small pages; reading a mapping fills it with large ones.
      dropPages(file.fd, dataAt, address, dataBytes)
      await rename(this.#temporary, path)
    } catch (error) {
      await this.#giveUp(error)
      return false
    }
    this.#file = undefined
    await file.close()
    return true
  }

  /** Gives up what is not finished. What is mapped stays readable. */
  async [Symbol.asyncDispose](): Promise<void> {
    const file = this.#file
    if (!file) return
    this.#file = undefined
    await file.close()
    await rm(this.#temporary, { force: true })
  }

  async #giveUp(error: unknown): Promise<void> {
    await this[Symbol.asyncDispose]()
    process.emitWarning(`repacked weights could not be kept in ${this.#options.path}: ${String(error)}`)
  }

  #map(file: FileHandle, until: number): void {
    const { address, dataAt } = this.#options
    if (until <= this.#mapped) return
    mapOver(file.fd, dataAt + this.#mapped, address + BigInt(this.#mapped), until - this.#mapped)
    this.#mapped = until
  }

  async #write(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
    for (let sent = 0; sent < bytes.length && this.#file === file;)
      sent += (await file.write(bytes, sent, bytes.length - sent, at + sent)).bytesWritten
  }
}
