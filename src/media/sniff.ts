/**
 * Detects a file's format from its first bytes; names and content types are not used.
 *
 * In: the first bytes of a file, up to {@link sniffLength}. Out: its format and class. For audio and video this is only
 * a first check: FFmpeg's own probing, limited to the allowed formats, decides.
 *
 * Reference: `file-type` for the signatures; those of SGI images, TIFF and text formats are here.
 */
import { fileTypeFromBuffer } from 'file-type'
import { illegalCode, MediaError, type MediaKind, supportedFormats } from './errors.ts'

export type ImageFormat = 'jpeg' | 'png' | 'webp' | 'gif' | 'tiff' | 'avif' | 'bmp' | 'ico' | 'icns' | 'jp2' | 'sgi'

export interface Sniffed {
  /**
   * `other`: a known format that is not media (archive, document, web page, playlist). `unknown`: no known signature.
   */
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

/** Detects the format. @param head first bytes of the file. Never throws: an unrecognised file is `unknown`. */
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
    mime = undefined // a known signature, but the bytes after it are incomplete or broken
  }
  // A TGA file may begin like an icon file without images.
  if (mime === 'image/x-icon' && head[4] === 0 && head[5] === 0) mime = undefined
  // `file-type` needs a TIFF's directory, which is at the end of compressed files.
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
 * Refuses a file that is certainly not a `kind`, so that a download can stop at its first bytes.
 *
 * Does not distinguish audio and video, because audio may be in a video container. Decoding checks the tracks.
 *
 * @throws MediaError `image_illegal`, `audio_illegal` or `video_invalid`
 */
export function expectKind(sniffed: Sniffed, kind: MediaKind): void {
  const allowed =
    kind === 'image' ? sniffed.imageFormat !== undefined : sniffed.class !== 'image' && sniffed.class !== 'other'
  if (allowed) return
  const { class: found, name } = sniffed
  const article = kind === 'image' ? 'an ' : kind === 'video' ? 'a ' : ''
  const what =
    found === 'unknown'
      ? `The format of the file is unknown. ${supportedFormats[kind]}`
      : found === 'other'
        ? `The file is ${name}, not a supported ${kind} format. ${supportedFormats[kind]}`
        : `The file is ${name}, not ${article}${kind}. Send it as \`${partOf[found]}\`.`
  throw new MediaError(illegalCode(kind), what, { kind })
}

const partOf: Readonly<Record<MediaKind, string>> = {
  image: 'image_url',
  audio: 'input_audio',
  video: 'video_url',
}

/** TIFF and BigTIFF, in either byte order. */
function isTiff(head: Uint8Array): boolean {
  const start = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, 4)).toString('latin1')
  return ['II*\0', 'MM\0*', 'II+\0', 'MM\0+'].includes(start)
}

/** Names text that is not media: formats through which a library might open other files, and web pages. */
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
