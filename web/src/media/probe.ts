/**
 * Turns a picked, pasted or dropped file, or a link, into {@link Media}: its kind, and its size or duration.
 *
 * Throws {@link MediaError} for other kinds of files, and for HEIC that this browser cannot read (the server cannot
 * either). A duration unknown to the browser is left out; the server then decides.
 */
import type { Media, MediaKind } from '../state/conversation.ts'
import { shrinkMedia } from './shrink.ts'
import { newId } from '../state/new-id.ts'

export class MediaError extends Error {
  readonly reason: 'unknownType' | 'unreadable' | 'heic'
  constructor(reason: MediaError['reason'], name: string) {
    super(name)
    this.name = 'MediaError'
    this.reason = reason
  }
}

const ENDINGS: Record<string, Exclude<MediaKind, 'frames'>> = {}
for (const ending of ['png', 'jpg', 'jpeg', 'webp', 'bmp', 'gif', 'tif', 'tiff', 'heic', 'heif', 'ico', 'jp2'])
  ENDINGS[ending] = 'image'
for (const ending of ['wav', 'mp3', 'aac', 'amr', 'flac', 'm4a', 'ogg', 'opus', '3gpp']) ENDINGS[ending] = 'audio'
for (const ending of ['mp4', 'mov', 'mkv', 'avi', 'flv', 'wmv', 'webm', 'm4v']) ENDINGS[ending] = 'video'

/** `accept` attributes of the pickers. */
export const ACCEPT = {
  image: 'image/*',
  audio: 'audio/*,.amr,.flac,.3gp,.3gpp',
  video: 'video/*,.mkv,.flv,.wmv,.avi',
} as const

/** A file's kind, from its media type, else its name. */
export function kindOf(name: string, type = ''): Exclude<MediaKind, 'frames'> | undefined {
  const family = type.split('/')[0]
  if (family === 'image' || family === 'audio' || family === 'video') return family
  const ending = /\.([a-z0-9]+)(?:[?#].*)?$/i.exec(name)?.[1]?.toLowerCase()
  return ending === undefined ? undefined : ENDINGS[ending]
}

async function imageSize(blob: Blob): Promise<{ width: number; height: number } | undefined> {
  try {
    const bitmap = await createImageBitmap(blob)
    const size = { width: bitmap.width, height: bitmap.height }
    bitmap.close()
    return size
  } catch {
    return undefined
  }
}

/** Seconds, or undefined when the browser cannot play the file or does not know. */
export function durationOf(kind: 'audio' | 'video', blob: Blob): Promise<number | undefined> {
  const element = document.createElement(kind)
  const url = URL.createObjectURL(blob)
  return new Promise<number | undefined>((resolve) => {
    const timer = setTimeout(() => resolve(undefined), 5000)
    element.preload = 'metadata'
    element.addEventListener('loadedmetadata', () => {
      clearTimeout(timer)
      resolve(Number.isFinite(element.duration) ? element.duration : undefined)
    })
    element.addEventListener('error', () => {
      clearTimeout(timer)
      resolve(undefined)
    })
    element.src = url
  }).finally(() => {
    element.removeAttribute('src')
    URL.revokeObjectURL(url)
  })
}

export async function mediaFromFile(file: File): Promise<Media> {
  const kind = kindOf(file.name, file.type)
  if (kind === undefined) throw new MediaError('unknownType', file.name)
  if (file.size === 0) throw new MediaError('unreadable', file.name)
  const media: Media = { id: newId(), kind, name: file.name, source: { type: 'blob', blob: file } }
  if (kind === 'image') {
    const size = await imageSize(file)
    if (/\.hei[cf]$/i.test(file.name) || /^image\/hei[cf]/.test(file.type)) {
      if (size === undefined) throw new MediaError('heic', file.name)
      // Safari reads HEIC and the server does not, so it is sent as JPEG.
      return shrinkMedia({ ...media, ...size }, Infinity)
    }
    Object.assign(media, size)
  } else {
    const duration = await durationOf(kind, file)
    if (duration !== undefined) media.duration = duration
  }
  return media
}

export function mediaFromLink(url: string, kind: Exclude<MediaKind, 'frames'>): Media {
  const name = decodeURIComponent(new URL(url).pathname.split('/').pop() || new URL(url).host)
  return { id: newId(), kind, name, source: { type: 'url', url } }
}
