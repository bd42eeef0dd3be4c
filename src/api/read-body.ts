/**
 * Reads a request's JSON body within a size, and all bodies together within another.
 *
 * A body is in memory from its first byte to the end of the request, because it contains media. The request queue does
 * not limit that memory: a request enters it only after its body has been read.
 */
import type { Settings } from '../config/index.ts'
import { errors, structureFault } from '../protocol/index.ts'

/** Bodies of the largest size that fit together. */
const LARGEST_BODIES = 16

/**
 * Bodies with a declared size up to this are charged at once and read in one go, which is faster. Larger ones are
 * charged as they come.
 */
const smallBody = 64 * 1024

/** Memory for bodies, shared by all requests. */
export class BodyMemory {
  readonly #most: number
  #held = 0

  /** `maxBytes`: of one body. */
  constructor(maxBytes: number) {
    this.#most = LARGEST_BODIES * maxBytes
  }

  /** Bytes of all bodies in memory. */
  get held(): number {
    return this.#held
  }

  /** A request's share, empty at first. */
  share(): BodyShare {
    let mine = 0
    let open = true
    return {
      add: (bytes) => {
        if (!open) throw new Error('The request is over; its body is not read on.')
        if (this.#held + bytes > this.#most) throw errors.overloaded()
        this.#held += bytes
        mine += bytes
      },
      [Symbol.dispose]: () => {
        open = false
        this.#held -= mine
        mine = 0
      },
    }
  }
}

export interface BodyShare extends Disposable {
  /** Adds bytes. @throws ApiError 503 when they exceed the limit, and Error after disposal */
  add(bytes: number): void
}

export interface BodyLimits {
  readonly maxBytes: number
  /** For the whole body to arrive in, seconds; 0 is no limit. */
  readonly timeout: number
}

export function bodyLimits({ maxBodyBytes, bodyTimeout }: Settings): BodyLimits {
  return { maxBytes: maxBodyBytes, timeout: bodyTimeout }
}

/**
 * @throws ApiError 413 past `maxBytes`, 408 past `timeout`, 503 when `share` is exhausted, 400 when it is empty,
 * compressed, not UTF-8, not JSON, or has too much structure.
 */
export async function readJson(
  request: Request,
  { maxBytes, timeout }: BodyLimits,
  share: BodyShare,
): Promise<unknown> {
  const coding = request.headers.get('content-encoding')?.trim() ?? ''
  if (coding !== '' && coding.toLowerCase() !== 'identity') {
    throw errors.bodyInvalid(`it is compressed (content-encoding: ${coding.slice(0, 40)}); send it uncompressed.`)
  }
  const declared = request.headers.get('content-length')
  if (declared !== null && Number(declared) > maxBytes) throw errors.bodyTooLarge(maxBytes)
  const small = declared !== null && Number(declared) <= smallBody
  if (small) share.add(Number(declared))
  const reading = small ? readText(request) : readWithin(request, maxBytes, share)
  const text = await inTime(reading, timeout)
  if (text.trim() === '') throw errors.bodyInvalid('it is empty.')
  const fault = structureFault(text)
  if (fault !== undefined) throw errors.bodyInvalid(fault)
  try {
    return JSON.parse(text)
  } catch (error) {
    throw errors.bodyInvalid(`it is not JSON${placeOf(error)}.`)
  }
}

/** Where JSON stops being valid, if the parser says: ` (line 1, column 8)`. */
function placeOf(error: unknown): string {
  const message = (error as Error).message
  if (message.startsWith('Unexpected end')) return ' (it ends too early)'
  const place = /\(line (\d+) column (\d+)\)$/.exec(message)
  return place === null ? '' : ` (line ${place[1]}, column ${place[2]})`
}

async function readText(request: Request): Promise<string> {
  const bytes = await request.arrayBuffer()
  return utf8(() => new TextDecoder('utf-8', { fatal: true }).decode(bytes))
}

/** Text in another encoding would otherwise reach the model as replacement characters. @throws ApiError 400 */
function utf8(decode: () => string): string {
  try {
    return decode()
  } catch {
    throw errors.bodyInvalid('it is not UTF-8; send it encoded in UTF-8.')
  }
}

/** The rest ends with the connection, which an answer before the end of a body closes. */
async function inTime<T>(reading: Promise<T>, seconds: number): Promise<T> {
  if (seconds === 0) return reading
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(errors.bodyTimedOut(seconds)), seconds * 1000)
  })
  try {
    return await Promise.race([reading, late])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * A form of fields and files.
 * @throws ApiError 413 past `maxBytes`, 408 past `timeout`, 503 when `share` is exhausted, 400 when it is no form.
 */
export async function readForm(
  request: Request,
  { maxBytes, timeout }: BodyLimits,
  share: BodyShare,
): Promise<FormData> {
  const type = request.headers.get('content-type') ?? ''
  if (!type.toLowerCase().startsWith('multipart/form-data'))
    throw errors.bodyInvalid('it should be a form (multipart/form-data) with a file.')
  const declared = request.headers.get('content-length')
  if (declared !== null && Number(declared) > maxBytes) throw errors.bodyTooLarge(maxBytes)
  const bytes = await inTime(readBytesWithin(request, maxBytes, share), timeout)
  try {
    return await new Response(bytes, { headers: { 'content-type': type } }).formData()
  } catch {
    throw errors.bodyInvalid('it is no complete form.')
  }
}

async function readBytesWithin(request: Request, maxBytes: number, share: BodyShare): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array[] = []
  let size = 0
  if (request.body !== null) {
    for await (const piece of request.body) {
      size += piece.byteLength
      if (size > maxBytes) throw errors.bodyTooLarge(maxBytes)
      share.add(piece.byteLength)
      pieces.push(piece)
    }
  }
  return Buffer.concat(pieces)
}

async function readWithin(request: Request, maxBytes: number, share: BodyShare): Promise<string> {
  if (request.body === null) return ''
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const pieces: string[] = []
  let size = 0
  for await (const piece of request.body) {
    size += piece.byteLength
    // Leaving the loop early cancels the body.
    if (size > maxBytes) throw errors.bodyTooLarge(maxBytes)
    share.add(piece.byteLength)
    pieces.push(utf8(() => decoder.decode(piece, { stream: true })))
  }
  pieces.push(utf8(() => decoder.decode()))
  return pieces.join('')
}
