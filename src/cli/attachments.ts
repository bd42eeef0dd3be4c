/**
 * Images, audio and video of the command line, as content parts of a message.
 *
 * A URL or data URI is sent unchanged; a file becomes a data URI, or a URL of this process when it is too large for one
 * and the server is in this process.
 */
import { open, readFile, stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { sniff, sniffLength } from '../media/sniff.ts'
import type { UserPart } from '../protocol/index.ts'
import type { ApiConnection } from './api-connection.ts'
import { CommandError, EXIT } from './exit.ts'

export type AttachmentKind = 'image' | 'audio' | 'video'

/** The API's limit for a data URI, characters. */
const maxDataUri = 10_485_760
/** Characters of `data:image/...;base64,` at most. */
const longestPrefix = 64

/** @throws CommandError naming the file and the fault */
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

/** Whether each file can be sent inside a request. URLs and files that cannot be read are left to {@link attach}. */
export async function fitRequest(sources: readonly string[]): Promise<boolean> {
  const sizes = sources.map(async (source) => {
    if (isUrl(source)) return 0
    return (await stat(pathOf(source)).catch(() => undefined))?.size ?? 0
  })
  return (await Promise.all(sizes)).every((size) => base64Length(size) + longestPrefix <= maxDataUri)
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
  const { size, head } = await look(path)
  const found = await sniff(head)
  if (found.class === 'other' || ((kind === 'image') !== (found.class === 'image') && found.class !== 'unknown')) {
    throw new CommandError(`${path} is ${found.name}, which cannot be used as ${kind}`, EXIT.usage)
  }
  const type = kind === 'image' && found.class === 'image' ? found.name : ''
  const prefix = `data:${type};base64,`
  if (prefix.length + base64Length(size) <= maxDataUri) return prefix + (await readFile(path, 'base64'))
  if (api.shareFile !== undefined) return api.shareFile(path)
  throw new CommandError(
    `${path} has ${size} bytes, more than fits into a request (7.8 MB): give a URL from which ${api.name} can download it, or use --checkpoint`,
    EXIT.usage,
  )
}

/** A file's kind, by its content: the kind to attach it as, `text`, or undefined. */
export async function kindOfFile(path: string): Promise<AttachmentKind | 'text' | undefined> {
  const { head } = await look(path)
  const found = await sniff(head)
  switch (found.class) {
    case 'image':
    case 'audio':
      return found.class
    case 'video':
      // Ogg, Matroska and MP4 files may contain only audio.
      return /\.(og[ag]|opus|m4a|mka|wma)$/i.test(path) || isMatroskaAudio(head) ? 'audio' : 'video'
    case 'unknown':
    case 'other':
      return isText(head) ? 'text' : undefined
    default:
      return found.class satisfies never
  }
}

/** Matroska and WebM name the codecs of their tracks, which stand at the beginning: browsers record audio so. */
function isMatroskaAudio(head: Uint8Array): boolean {
  if (head[0] !== 0x1a || head[1] !== 0x45 || head[2] !== 0xdf || head[3] !== 0xa3) return false
  const text = Buffer.from(head).toString('latin1')
  return /\x86[\x80-\xff]A_[A-Z]/.test(text) && !/\x86[\x80-\xff]V_[A-Z]/.test(text)
}

function isText(head: Uint8Array): boolean {
  try {
    // The limit may split a character: streaming tolerates that.
    return !new TextDecoder('utf-8', { fatal: true }).decode(head, { stream: true }).includes('\0')
  } catch {
    return false
  }
}

async function look(path: string): Promise<{ readonly size: number; readonly head: Uint8Array }> {
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
    return { size: stats.size, head }
  } finally {
    await file.close()
  }
}
