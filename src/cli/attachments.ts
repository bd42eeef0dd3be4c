/**
 * Pictures, sounds and clips given on the command line, as content parts of a message.
 *
 * A URL or data URI goes as it is; a file becomes a data URI, or is lent by URL when it is too large for one and the server is our own.
 */
import { open, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { sniff, sniffLength } from '../media/sniff.ts'
import type { UserPart } from '../protocol/index.ts'
import type { Door } from './door.ts'
import { CommandError, EXIT } from './exit.ts'

export type AttachmentKind = 'image' | 'audio' | 'video'

/** The API's limit for a data URI, characters. */
const maxDataUri = 10_485_760

/** @throws CommandError naming the file and what is wrong with it */
export async function attach(door: Door, kind: AttachmentKind, source: string): Promise<UserPart> {
  const url = await urlOf(door, kind, source)
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

/** A clip as a list of pictures. @throws CommandError */
export async function attachFrames(door: Door, sources: readonly string[]): Promise<UserPart> {
  return { type: 'video', video: await Promise.all(sources.map((source) => urlOf(door, 'image', source))) }
}

async function urlOf(door: Door, kind: AttachmentKind, source: string): Promise<string> {
  if (/^(https?:\/\/|data:)/i.test(source)) return source
  const path = source.startsWith('file://') ? fileURLToPath(source) : source
  const { size, head } = await look(path)
  const found = await sniff(head)
  if (found.class === 'other' || ((kind === 'image') !== (found.class === 'image') && found.class !== 'unknown')) {
    throw new CommandError(`${path} is ${found.name}, which cannot be given as ${kind}`, EXIT.usage)
  }
  const type = kind === 'image' && found.class === 'image' ? found.name : ''
  const prefix = `data:${type};base64,`
  if (prefix.length + Math.ceil(size / 3) * 4 <= maxDataUri) return prefix + (await readFile(path, 'base64'))
  if (door.lend !== undefined) return door.lend(path)
  throw new CommandError(
    `${path} has ${size} bytes, too large to send inside a request (7.8 MB): put it where ${door.name} can fetch it and give its URL`,
    EXIT.usage,
  )
}

/** What a file is, by its content: the kind to attach it as, `text`, or undefined for what is neither. */
export async function kindOfFile(path: string): Promise<AttachmentKind | 'text' | undefined> {
  const { head } = await look(path)
  const found = await sniff(head)
  switch (found.class) {
    case 'image':
    case 'audio':
      return found.class
    case 'video':
      // Ogg, Matroska and MP4 hold sound alone as well.
      return /\.(og[ag]|opus|m4a|mka|wma)$/i.test(path) ? 'audio' : 'video'
    case 'unknown':
    case 'other':
      return isText(head) ? 'text' : undefined
    default:
      return found.class satisfies never
  }
}

function isText(head: Uint8Array): boolean {
  try {
    // The cut may go through a character: streaming tolerates that.
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
    if (stats.isDirectory()) throw new CommandError(`${path} is a folder; give a file`, EXIT.usage)
    if (stats.size === 0) throw new CommandError(`${path} is empty`, EXIT.usage)
    const head = new Uint8Array(Math.min(sniffLength, stats.size))
    await file.read(head, 0, head.length, 0)
    return { size: stats.size, head }
  } finally {
    await file.close()
  }
}
