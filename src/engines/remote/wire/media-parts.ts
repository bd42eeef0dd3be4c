/**
 * Media of a request as `data:` URLs. Peers do not fetch URLs: this server has already fetched and validated the files.
 *
 * In: media of the contract. Out: text for a request's body. Files are read completely.
 */

import sharp from 'sharp'
import { EngineError, type MediaFile, type VideoMedium } from '../../../contract/index.ts'
import { encodeWav } from '../../../media/index.ts'

/** Base64 of a file. */
export async function base64Of(file: MediaFile, signal: AbortSignal): Promise<string> {
  const bytes = await file.bytes(signal)
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

export async function dataUrl(file: MediaFile, signal: AbortSignal): Promise<string> {
  return `data:${file.mimeType};base64,${await base64Of(file, signal)}`
}

/** The only file of a medium. @throws EngineError if the medium has no file */
export function onlyFile(files: readonly MediaFile[]): MediaFile {
  const [file] = files
  if (file === undefined) throw new EngineError('internal', 'A medium without a file cannot be sent to a peer.')
  return file
}

/** Whether a video was given as a list of images. */
export function isFrameList(video: VideoMedium): boolean {
  return video.facts.source === undefined
}

/** The images of a frame list as one `data:` URL of JPEGs, vLLM's format. Other image formats are converted. */
export async function jpegFrames(video: VideoMedium, signal: AbortSignal): Promise<string> {
  const frames: string[] = []
  for (const file of video.files) {
    if (file.mimeType === 'image/jpeg') frames.push(await base64Of(file, signal))
    else {
      const bytes = await file.bytes(signal)
      const jpeg = await sharp(bytes).autoOrient().flatten({ background: '#ffffff' }).jpeg({ quality: 95 }).toBuffer()
      frames.push(jpeg.toString('base64'))
    }
    signal.throwIfAborted()
  }
  return `data:video/jpeg;base64,${frames.join(',')}`
}

/** The audio track of a video as a WAV file, for peers that do not support it inside the video. */
export async function audioTrack(video: VideoMedium, signal: AbortSignal): Promise<string | undefined> {
  try {
    const { audio } = await video.decode(signal)
    if (!audio) return undefined
    return `data:audio/wav;base64,${Buffer.from(encodeWav(audio.samples, audio.sampleRate)).toString('base64')}`
  } finally {
    video.release()
  }
}
