/** A file from a data URI or a download, with its type and a key of its content. */

import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { readFile } from 'node:fs/promises'
import type { MediaFile } from '../contract/index.ts'
import { abortedError, type SourceKind } from './errors.ts'
import type { Spool, SpooledBytes } from './fetch/spool.ts'
import { sniff, sniffLength } from './sniff.ts'

export class FetchedFile implements MediaFile, AsyncDisposable {
  readonly from: SourceKind
  /** Signal of the request that opened the file. */
  readonly signal: AbortSignal
  mimeType = 'application/octet-stream'
  contentKey = ''
  readonly #spool: Spool

  constructor(spool: Spool, from: SourceKind, signal: AbortSignal) {
    this.#spool = spool
    this.from = from
    this.signal = signal
  }

  get size(): number {
    return this.#spool.size
  }

  /** Sets the type and the content key. @param settings everything besides the bytes that decides the decoded result */
  async identify(settings: string): Promise<void> {
    const digest = createHash('sha256').update(settings).update('\0')
    let head: Uint8Array = new Uint8Array()
    for await (const piece of pieces(this.#spool.bytes())) {
      if (head.length < sniffLength) head = Buffer.concat([head, piece.subarray(0, sniffLength - head.length)])
      digest.update(piece)
      this.signal.throwIfAborted()
    }
    const { name } = await sniff(head)
    if (name.includes('/')) this.mimeType = name
    this.contentKey = digest.digest('hex')
  }

  /** The bytes or their path, for a decoder process. */
  input(): SpooledBytes {
    return this.#spool.bytes()
  }

  async bytes(signal?: AbortSignal): Promise<Uint8Array> {
    if (signal?.aborted) throw abortedError(signal)
    const spooled = this.#spool.bytes()
    return 'memory' in spooled ? spooled.memory : readFile(spooled.path, signal && { signal })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#spool[Symbol.asyncDispose]()
  }
}

const pieceBytes = 1 << 20

/** Yields a mebibyte at a time, so that a large file does not block the event loop. */
async function* pieces(spooled: SpooledBytes): AsyncGenerator<Uint8Array> {
  if ('path' in spooled) {
    await using handle = await open(spooled.path)
    for await (const piece of handle.createReadStream({ highWaterMark: pieceBytes, autoClose: false })) yield piece
    return
  }
  for (let offset = 0; offset < spooled.memory.length; offset += pieceBytes) {
    if (offset > 0) await new Promise<void>((resolve) => void setImmediate(resolve))
    yield spooled.memory.subarray(offset, offset + pieceBytes)
  }
}
