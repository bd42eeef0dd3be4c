/**
 * A file's format, by its first bytes; names and content types are not used.
 *
 * In: the head of a file (4 100 bytes are enough). Out: its format and class. For audio and video only a coarse first
 * check: FFmpeg's own probing, limited to a list of formats, decides there.
 *
 * Reference: `file-type` for the signatures; SGI's and the playlists' are added here.
 */
import { fileTypeFromBuffer } from 'file-type'
import { illegalCode, MediaError, type MediaKind } from './errors.ts'

export type ImageFormat = 'jpeg' | 'png' | 'webp' | 'gif' | 'tiff' | 'avif' | 'bmp' | 'ico' | 'icns' | 'jp2' | 'sgi'

export interface Sniffed {
  /** `other` is anything known that is no medium (archives, documents, pages, playlists); `unknown` is no signature. */
  readonly class: 'image' | 'audio' | 'video' | 'other' | 'unknown'
  /** For display: a media type or a short name. */
  readonly name: string
  readonly imageFormat?: ImageFormat
}

/** Bytes {@link sniff} needs, if the file has that many. */
export const sniffLength = 4100

const imageFormats: Readonly<Record<string, ImageFormat>> = {
  'image/jpeg': 'jpeg',
  'image/png': 'png',
  'image/apng': 'png',
  'image/webp': 'webp',
  'image/gif': 'gif',
  'image/tiff': 'tiff',
  'image/avif': 'avif',
  'image/bmp': 'bmp',
  'image/x-icon': 'ico',
  'image/icns': 'icns',
  'image/jp2': 'jp2',
  'image/j2c': 'jp2',
}

/** Checks the head of a file. Never throws: an unrecognised one is `unknown`. */
export async function sniff(head: Uint8Array): Promise<Sniffed> {
  if (head.length >= 4 && head[0] === 0x01 && head[1] === 0xda && head[2]! <= 1 && (head[3] === 1 || head[3] === 2)) {
    return { class: 'image', name: 'image/sgi', imageFormat: 'sgi' }
  }
  if (head.length >= 4 && head[0] === 0xff && head[1] === 0x4f && head[2] === 0xff && head[3] === 0x51) {
    return { class: 'image', name: 'image/j2c', imageFormat: 'jp2' }
  }
  const text = textName(head)
  if (text !== undefined) return { class: 'other', name: text }
  let mime: string | undefined
  try {
    mime = (await fileTypeFromBuffer(head.subarray(0, sniffLength)))?.mime
  } catch {
    mime = undefined // a signature whose structure is cut off or broken
  }
  // TGA files may begin like an icon without images.
  if (mime === 'image/x-icon' && head[4] === 0 && head[5] === 0) mime = undefined
  // A TIFF's directory, which `file-type` needs, may be anywhere: compressed files have it at their end.
  if (mime === undefined && isTiff(head)) mime = 'image/tiff'
  if (mime === undefined) return { class: 'unknown', name: 'unknown' }
  const imageFormat = imageFormats[mime]
  if (imageFormat !== undefined) return { class: 'image', name: mime, imageFormat }
  if (mime.startsWith('image/')) return { class: 'other', name: mime }
  if (mime.startsWith('audio/')) return { class: 'audio', name: mime }
  if (mime.startsWith('video/') || mime === 'application/vnd.ms-asf') return { class: 'video', name: mime }
  if (mime === 'application/ogg' || mime === 'application/mxf') return { class: 'video', name: mime }
  return { class: 'other', name: mime }
}

/**
 * Refuses what is certainly not a `kind`, so that a download can stop at its first bytes.
 *
 * Audio may come in a video container and a video without a video track is found later, so decoding distinguishes audio
 * and video.
 *
 * @throws MediaError `image_illegal`, `audio_illegal` or `video_invalid`
 */
export function expectKind(sniffed: Sniffed, kind: MediaKind): void {
  const fits =
    kind === 'image' ? sniffed.imageFormat !== undefined : sniffed.class !== 'image' && sniffed.class !== 'other'
  if (fits) return
  const what = sniffed.class === 'unknown' ? 'The format of the file is unknown' : `The file is ${sniffed.name}`
  throw new MediaError(
    illegalCode(kind),
    `${what}; it cannot be read as ${kind === 'audio' ? 'audio' : `${kind === 'image' ? 'an' : 'a'} ${kind}`}.`,
    { kind },
  )
}

/** Either byte order, with 32-bit offsets or with BigTIFF's of 64. */
function isTiff(head: Uint8Array): boolean {
  const start = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, 4)).toString('latin1')
  return ['II*\0', 'MM\0*', 'II+\0', 'MM\0+'].includes(start)
}

/** Text formats that a media library might follow to other files, or a page sent in place of a file. */
function textName(head: Uint8Array): string | undefined {
  const start = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, 512))
    .toString('latin1')
    .replace(/^\u00ef\u00bb\u00bf/, '')
    .trimStart()
    .toLowerCase()
  if (start.startsWith('#extm3u')) return 'a playlist (m3u8)'
  if (start.startsWith('ffconcat')) return 'a playlist (ffconcat)'
  if (start.startsWith('<!doctype html') || start.startsWith('<html')) return 'a web page'
  if (start.startsWith('<svg') || (start.startsWith('<?xml') && start.includes('<svg'))) return 'image/svg+xml'
  if (start.startsWith('<?xml') || start.startsWith('<!doctype')) return 'an XML document'
  if (start.startsWith('v=0\r\n') || start.startsWith('v=0\no=')) return 'a session description'
  return undefined
}
