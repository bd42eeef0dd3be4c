/**
 * A sound file to 16 kHz mono floats, in a decoder process.
 *
 * In: any allowed container with a sound stream (pictures and cover art are passed over). Out: `pcm` replies and `done`.
 * A broken file is decoded as far as it is whole, with a warning; one that yields nothing is an error.
 */
import { AVDISCARD_ALL, AVMEDIA_TYPE_AUDIO } from 'node-av/constants'
import type { Stream } from 'node-av/lib'
import { MediaInput } from '../av/input.ts'
import { seconds } from '../av/time.ts'
import { MediaError } from '../errors.ts'
import { type AudioLimits, durationTolerance } from '../limits.ts'
import type { SpooledBytes } from '../fetch/spool.ts'
import type { Send } from '../decoder/worker.ts'
import { soundRate } from './rate.ts'
import { SoundDecoder } from './sound-decoder.ts'

/** @throws MediaError `audio_illegal`, `audio_empty`, `audio_too_long` */
export async function decodeAudio(source: SpooledBytes, limits: Required<AudioLimits>, send: Send): Promise<void> {
  using input = MediaInput.open(source, 'audio')
  const index = input.format.findBestStream(AVMEDIA_TYPE_AUDIO)
  const stream = input.streams[index]
  if (index < 0 || stream === undefined) throw new MediaError('audio_illegal', 'The file has no sound in it.')
  for (const other of input.streams) if (other.index !== index) other.discard = AVDISCARD_ALL

  const pieces: Float32Array[] = []
  using decoder = openDecoder(stream, pieces)
  const mostSamples = (limits.maxDurationSeconds + durationTolerance) * soundRate
  await input.readPacketsAsync((packet) => {
    if (packet.streamIndex !== index) return undefined
    decoder.push(packet)
    if (decoder.samples > mostSamples) throw tooLong(limits)
    return sendPieces(pieces, send)
  })
  decoder.flush()
  if (decoder.samples > mostSamples) throw tooLong(limits)
  if (decoder.samples === 0) {
    if (decoder.packets > 0 && decoder.failedPackets > 0) {
      throw new MediaError('audio_illegal', `The ${decoder.codecName} sound is broken: nothing in it can be decoded.`)
    }
    throw new MediaError('audio_empty', 'The audio is empty: it has no samples.')
  }
  if (decoder.failedPackets > decoder.packets / 2) {
    throw new MediaError('audio_illegal', `The ${decoder.codecName} sound is broken: most of it cannot be decoded.`)
  }
  if (decoder.samples < limits.minDurationSeconds * soundRate) {
    throw new MediaError('audio_empty', `The audio is shorter than ${limits.minDurationSeconds} s.`)
  }
  await sendPieces(pieces, send)
  await send({ type: 'done', warnings: soundWarnings(decoder, declaredSeconds(stream)) })
}

function openDecoder(stream: Stream, pieces: Float32Array[]): SoundDecoder {
  try {
    return new SoundDecoder(stream, (piece) => pieces.push(piece))
  } catch (cause) {
    throw new MediaError('audio_illegal', `The file's sound cannot be decoded: ${(cause as Error).message}.`, { cause })
  }
}

/** Sends what has gathered; undefined when there is nothing to wait for. */
export function sendPieces(pieces: Float32Array[], send: Send): Promise<void> | undefined {
  if (pieces.length === 0) return undefined
  return (async () => {
    for (const piece of pieces.splice(0)) {
      // oxlint-disable-next-line no-await-in-loop -- pieces are in order
      await send({ type: 'pcm' }, new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength))
    }
  })()
}

/** What a listener should know of a sound that was decoded all the same. */
export function soundWarnings(decoder: SoundDecoder, declared: number | undefined): string[] {
  const warnings: string[] = []
  if (decoder.failedPackets > 0) {
    warnings.push(`${decoder.failedPackets} of ${decoder.packets} sound packets are broken and were left out`)
  }
  if (decoder.nonFinite > 0) {
    warnings.push(`${decoder.nonFinite} sound samples are not finite numbers and were made silent`)
  }
  const actual = decoder.samples / soundRate
  if (declared !== undefined && actual < declared * 0.9 - 0.5) {
    warnings.push(`the sound is cut off: ${actual.toFixed(1)} s of ${declared.toFixed(1)} s are there`)
  }
  return warnings
}

/** What the stream's header says; most raw formats say nothing exact. */
function declaredSeconds(stream: Stream): number | undefined {
  return stream.duration > 0n ? seconds(stream.duration, stream.timeBase) : undefined
}

function tooLong(limits: Required<AudioLimits>): MediaError {
  return new MediaError(
    'audio_too_long',
    `The audio is longer than the ${limits.maxDurationSeconds} s the model takes.`,
  )
}
