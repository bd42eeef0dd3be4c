/**
 * Makes a file that is too large for the API small enough, where the browser can: images are redrawn, audio becomes 16
 * kHz mono WAV. A video is not re-encoded; its frames can be sent instead (`frames.ts`).
 */
import { RECORDING_RATE } from '../audio/recorder.ts'
import { toInt16 } from '../../../src/arithmetic/pcm.ts'
import { encodeWav, mixDown } from '../audio/wav.ts'
import type { Media } from '../state/conversation.ts'
import { shrinkImage } from './frames.ts'
import { newId } from '../state/new-id.ts'

/** A copy of the media of at most `bytes`. Throws when that cannot be done. */
export async function shrinkMedia(media: Media, bytes: number): Promise<Media> {
  if (media.source.type !== 'blob') throw new Error('Only files can be made smaller.')
  const { blob } = media.source
  const base = media.name.replace(/\.[^.]+$/, '')
  if (media.kind === 'image') {
    const small = await shrinkImage(blob, bytes)
    const { width, height } = small
    return {
      ...media,
      id: newId(),
      name: `${base}.jpg`,
      shrunkFrom: blob.size,
      source: { type: 'blob', blob: small.blob },
      width,
      height,
    }
  }
  if (media.kind === 'audio') {
    const context = new OfflineAudioContext(1, 1, RECORDING_RATE)
    const decoded = await context.decodeAudioData(await blob.arrayBuffer())
    const wav = encodeWav(toInt16(mixDown(decoded)), RECORDING_RATE)
    if (wav.size > bytes) throw new Error('The audio is too long, even at 16 kHz mono.')
    return {
      ...media,
      id: newId(),
      name: `${base}.wav`,
      source: { type: 'blob', blob: wav },
      duration: decoded.duration,
    }
  }
  throw new Error('A video cannot be made smaller here. Send its frames instead.')
}
