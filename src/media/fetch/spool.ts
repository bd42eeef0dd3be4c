/**
 * Holds downloaded bytes until they are decoded: small files in memory, large ones in a private temporary file, so that
 * they do not stay in the API server's memory. Disposing deletes the file.
 */
import { randomUUID } from 'node:crypto'
import { type FileHandle, mkdir, mkdtemp, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { resourceError } from './resources.ts'

/** A file of at most this many bytes stays in memory. */
export const spoolMemoryBytes = 8 * 1024 * 1024

/** The bytes or their path, for a decoder process. */
export type SpooledBytes = { readonly memory: Uint8Array } | { readonly path: string }

/**
 * Creates a private folder for spools.
 *
 * @throws MediaError `overloaded` if the machine has a shortage
 */
export async function makeSpoolDirectory(parent: string): Promise<string> {
  try {
    return await mkdtemp(join(parent, 'omniserve-media-'))
  } catch (error) {
    throw resourceError(error) ?? error
  }
}

export class Spool implements AsyncDisposable {
  readonly #directory: string
  readonly #memoryBytes: number
  #chunks: Buffer[] = []
  #file: { path: string; handle: FileHandle } | undefined
  #size = 0

  /** @param directory an existing folder that only this process's user can read */
  constructor(directory: string, memoryBytes = spoolMemoryBytes) {
    this.#directory = directory
    this.#memoryBytes = memoryBytes
  }

  static of(bytes: Buffer): Spool {
    const spool = new Spool('', Number.POSITIVE_INFINITY)
    spool.#chunks = [bytes]
    spool.#size = bytes.length
    return spool
  }

  get size(): number {
    return this.#size
  }

  async write(chunk: Buffer): Promise<void> {
    this.#size += chunk.length
    if (this.#file === undefined) {
      this.#chunks.push(chunk)
      if (this.#size <= this.#memoryBytes) return
      const path = join(this.#directory, randomUUID())
      this.#file = { path, handle: await this.#create(path) }
      const pending = this.#chunks
      this.#chunks = []
      for (const part of pending) await this.#file.handle.writeFile(part) // appends at the handle's position
      return
    }
    await this.#file.handle.writeFile(chunk)
  }

  /** Recreates the folder when another program has removed it. */
  async #create(path: string): Promise<FileHandle> {
    try {
      return await open(path, 'wx', 0o600)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      await mkdir(this.#directory, { recursive: true, mode: 0o700 })
      return await open(path, 'wx', 0o600)
    }
  }

  bytes(): SpooledBytes {
    if (this.#file !== undefined) return { path: this.#file.path }
    if (this.#chunks.length !== 1) this.#chunks = [Buffer.concat(this.#chunks)]
    return { memory: this.#chunks[0]! }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#chunks = []
    const file = this.#file
    this.#file = undefined
    if (file === undefined) return
    await file.handle.close().catch(() => {})
    await rm(file.path, { force: true })
  }
}
