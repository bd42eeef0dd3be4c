/**
 * Makes content parts of a message from the images, audio and video of the command line.
 *
 * A URL or data URI is sent unchanged; a file becomes a data URI, or a URL of this process when it is too large for one
 * and the server is in this process.
 */
import { open, readFile, stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Sniffed } from '../media/sniff.ts'
import type { UserPart } from '../protocol/index.ts'
import type { ApiConnection } from './api-connection.ts'
import { CommandError, EXIT } from './exit.ts'

export type AttachmentKind = 'image' | 'audio' | 'video'

/** The API's limit for a data URI, characters. */
const maxDataUriLength = 10_485_760
/** Most characters of `data:image/...;base64,`. */
const maxPrefixLength = 64

/** @throws CommandError that names the file and the fault */
export async function attach(api: ApiConnection, kind: AttachmentKind, source: string): Promise<UserPart> {
  const url = await urlOf(api, kind, source)
  switch (kind) {
    case 'image':
      return { type: 'image_url', image_url: { url } }
    case 'audio':
      return { type: 'input_audio', input_audio: { data: url } }
    case 'video':
      return { type: 'video_url', video_url: { url } }
    default:
      return kind satisfies never
  }
}

/** Whether each file can be sent inside a request. True for URLs; {@link attach} reports files that cannot be read. */
export async function fitInRequest(sources: readonly string[]): Promise<boolean> {
  const sizes = sources.map(async (source) => {
    if (isUrl(source)) return 0
    return (await stat(pathOf(source)).catch(() => undefined))?.size ?? 0
  })
  return (await Promise.all(sizes)).every((size) => base64Length(size) + maxPrefixLength <= maxDataUriLength)
}

function isUrl(source: string): boolean {
  return /^(https?:\/\/|data:)/i.test(source)
}

function pathOf(source: string): string {
  return source.startsWith('file://') ? fileURLToPath(source) : source
}

function base64Length(bytes: number): number {
  return Math.ceil(bytes / 3) * 4
}

/** A video as a list of images. @throws CommandError */
export async function attachFrames(api: ApiConnection, sources: readonly string[]): Promise<UserPart> {
  return { type: 'video', video: await Promise.all(sources.map((source) => urlOf(api, 'image', source))) }
}

async function urlOf(api: ApiConnection, kind: AttachmentKind, source: string): Promise<string> {
  if (isUrl(source)) return source
  const path = pathOf(source)
  const { size, sniffed } = await readHead(path)
  if (
    sniffed.class === 'other' ||
    ((kind === 'image') !== (sniffed.class === 'image') && sniffed.class !== 'unknown')
  ) {
    throw new CommandError(`${path} is ${sniffed.name}, which cannot be used as ${kind}`, EXIT.usage)
  }
  const type = kind === 'image' && sniffed.class === 'image' ? sniffed.name : ''
  const prefix = `data:${type};base64,`
  if (prefix.length + base64Length(size) <= maxDataUriLength) return prefix + (await readFile(path, 'base64'))
  if (api.shareFile !== undefined) return api.shareFile(path)
  throw new CommandError(
    `${path} has ${size} bytes, more than the 7.8 MB that fit into a request: give a URL from which ${api.name} can download it, or use --checkpoint`,
    EXIT.usage,
  )
}

/** A file's kind, detected from its content; undefined if it is neither media nor text. */
export async function kindOfFile(path: string): Promise<AttachmentKind | 'text' | undefined> {
  const { head, sniffed } = await readHead(path)
  switch (sniffed.class) {
    case 'image':
    case 'audio':
      return sniffed.class
    case 'video':
      // Ogg, Matroska and MP4 files may contain only audio.
      return /\.(og[ag]|opus|m4a|mka|wma)$/i.test(path) || isMatroskaAudio(head) ? 'audio' : 'video'
    case 'unknown':
    case 'other':
      return isText(head) ? 'text' : undefined
    default:
      return sniffed.class satisfies never
  }
}

/** Whether a Matroska or WebM file has only audio, as browsers record it. Its head names the codecs of the tracks. */
function isMatroskaAudio(head: Uint8Array): boolean {
  if (head[0] !== 0x1a || head[1] !== 0x45 || head[2] !== 0xdf || head[3] !== 0xa3) return false
  const text = Buffer.from(head).toString('latin1')
  return /\x86[\x80-\xff]A_[A-Z]/.test(text) && !/\x86[\x80-\xff]V_[A-Z]/.test(text)
}

function isText(head: Uint8Array): boolean {
  try {
    // The head may end inside a character, which streaming accepts.
    return !new TextDecoder('utf-8', { fatal: true }).decode(head, { stream: true }).includes('\0')
  } catch {
    return false
  }
}

/** Size, first bytes and format of a file. @throws CommandError */
async function readHead(
  path: string,
): Promise<{ readonly size: number; readonly head: Uint8Array; readonly sniffed: Sniffed }> {
  // Loaded with the first file, as most questions have none.
  const { sniff, sniffLength } = await import('../media/sniff.ts')
  let file
  try {
    file = await open(path)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    const reason = code === 'ENOENT' ? 'no such file' : code === 'EACCES' ? 'permission denied' : String(error)
    throw new CommandError(`${path}: ${reason}`, EXIT.usage)
  }
  try {
    const stats = await file.stat()
    if (stats.isDirectory()) throw new CommandError(`${path} is a folder, not a file`, EXIT.usage)
    if (stats.size === 0) throw new CommandError(`${path} is empty`, EXIT.usage)
    const head = new Uint8Array(Math.min(sniffLength, stats.size))
    await file.read(head, 0, head.length, 0)
    return { size: stats.size, head, sniffed: await sniff(head) }
  } finally {
    await file.close()
  }
}
