/**
 * Decodes an audio file to 16 kHz mono floats. Runs in a decoder process.
 *
 * In: any allowed container with an audio track (video and cover art are skipped). Out: `pcm` replies and `done`. A
 * damaged file is decoded as far as possible, with a warning; it is an error if nothing can be decoded. The links of a
 * chained Ogg file are decoded one after the other.
 */
import { type ByteSource, openByteSource, sliceBytes } from '../av/bytes.ts'
import { describeTruncation, describeUnreadParts } from '../av/truncation.ts'
import { MediaInput } from '../av/input.ts'
import { oggLinks } from '../av/ogg-links.ts'
import { type TrackChoice, chooseTrack, unknownTracks } from '../av/tracks.ts'
import type { Send } from '../decoder/worker.ts'
import { MediaError } from '../errors.ts'
import type { SpooledBytes } from '../fetch/spool.ts'
import { type AudioLimits, durationTolerance } from '../limits.ts'
import { audioRate } from './rate.ts'
import { AudioDecoder, hasTimestamps } from './audio-decoder.ts'

/** Totals over all links of a file. */
interface Totals {
  samples: number
  packets: number
  failedPackets: number
  codecName: string
  readonly warnings: string[]
}

/** @throws MediaError `audio_illegal`, `audio_empty`, `audio_too_long` */
export async function decodeAudio(source: SpooledBytes, limits: Required<AudioLimits>, send: Send): Promise<void> {
  using bytes = openByteSource(source)
  const links = linksOf(bytes)
  const totals: Totals = { samples: 0, packets: 0, failedPackets: 0, codecName: '', warnings: [] }
  for (const [i, { start, end }] of links.entries()) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- links follow one another
      await decodeLink(links.length === 1 ? bytes : sliceBytes(bytes, start, end), limits, totals, send)
    } catch (error) {
      if (i === 0 || !(error instanceof MediaError) || error.code !== 'audio_illegal') throw error
      totals.warnings.push(`part ${i + 1} of ${links.length} cannot be read: ${error.message}`)
    }
  }
  if (totals.samples === 0) {
    if (totals.packets > 0 && totals.failedPackets > 0) {
      throw new MediaError(
        'audio_illegal',
        `The ${totals.codecName} audio is broken: none of its packets can be decoded.`,
      )
    }
    throw new MediaError('audio_empty', 'The file has no audio samples.')
  }
  if (totals.failedPackets > totals.packets / 2) {
    throw new MediaError(
      'audio_illegal',
      `The ${totals.codecName} audio is broken: most of its packets cannot be decoded.`,
    )
  }
  if (totals.samples < limits.minDurationSeconds * audioRate) {
    throw new MediaError(
      'audio_empty',
      `The audio is shorter than ${limits.minDurationSeconds} s, the model's minimum.`,
    )
  }
  await send({ type: 'done', warnings: totals.warnings })
}

async function decodeLink(bytes: ByteSource, limits: Required<AudioLimits>, totals: Totals, send: Send): Promise<void> {
  const { input: opened, choice } = openAudio(bytes)
  using input = opened
  const { stream, unreadable } = choice
  if (stream === undefined) throw noAudioError(input, unreadable)

  const pieces: Float32Array[] = []
  using decoder = new AudioDecoder(stream, (piece) => pieces.push(piece), { useTimestamps: hasTimestamps(input) })
  const maxSamples = (limits.maxDurationSeconds + durationTolerance) * audioRate
  const checkLength = () => {
    if (totals.samples + decoder.samples > maxSamples) throw audioTooLongError(limits)
  }
  await input.readPacketsAsync((packet) => {
    if (packet.streamIndex !== stream.index) return undefined
    decoder.push(packet)
    checkLength()
    return sendPieces(pieces, send)
  })
  decoder.flush()
  checkLength()
  await sendPieces(pieces, send)
  totals.samples += decoder.samples
  totals.packets += decoder.packets
  totals.failedPackets += decoder.failedPackets
  totals.codecName = decoder.codecName
  totals.warnings.push(...audioWarnings(decoder), ...readWarnings(input, bytes, choice, decoder.samples / audioRate))
}

/** Byte ranges to decode one after the other: the whole file, or each link of a chained Ogg file. */
export function linksOf(bytes: ByteSource): readonly { readonly start: number; readonly end: number }[] {
  return isOgg(bytes) ? oggLinks(bytes) : [{ start: 0, end: bytes.size }]
}

/** Opens a file. Where its first seconds do not describe an audio track completely, the whole file is probed. */
export function openAudio(bytes: ByteSource): { input: MediaInput; choice: TrackChoice } {
  const input = MediaInput.open(bytes, 'audio')
  const choice = chooseTrack(input, bytes, 'audio', 0)
  if ((choice.stream?.codecpar.sampleRate ?? choice.unreadable.length) > 0) return { input, choice }
  input[Symbol.dispose]()
  const deep = MediaInput.open(bytes, 'audio', { deep: true })
  return { input: deep, choice: chooseTrack(deep, bytes, 'audio', 0) }
}

/** The error for a file without an audio track that can be decoded. @param unreadable audio tracks, described */
export function noAudioError(input: MediaInput, unreadable: readonly string[]): MediaError {
  if (unreadable.length > 0) {
    return new MediaError('audio_illegal', `The file's audio cannot be decoded: ${unreadable.join(', ')}.`)
  }
  const counts = new Map<number, number>()
  input.readPackets(({ streamIndex }) => {
    counts.set(streamIndex, (counts.get(streamIndex) ?? 0) + 1)
  })
  const unknown = unknownTracks(input, (index) => counts.get(index) ?? 0)
  if (unknown.length === 0) return new MediaError('audio_illegal', 'The file has no audio track.')
  return new MediaError(
    'audio_illegal',
    `The file has no audio track that can be decoded; ${unknown.join(', ')} has an unknown type.`,
  )
}

/** Sends and removes the pieces. @returns undefined when there are none */
export function sendPieces(pieces: Float32Array[], send: Send): Promise<void> | undefined {
  if (pieces.length === 0) return undefined
  return (async () => {
    for (const piece of pieces.splice(0)) {
      // oxlint-disable-next-line no-await-in-loop -- pieces are in order
      await send({ type: 'pcm' }, new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength))
    }
  })()
}

/** Warnings about audio that was decoded nevertheless. */
export function audioWarnings(decoder: AudioDecoder): string[] {
  const warnings: string[] = []
  if (decoder.failedPackets > 0) {
    warnings.push(`${decoder.failedPackets} of ${decoder.packets} audio packets are broken and were skipped`)
  }
  if (decoder.nonFinite > 0) {
    warnings.push(`${decoder.nonFinite} audio samples are not finite numbers and were replaced by silence`)
  }
  return warnings
}

/** Warnings about a file whose packets were all read. @param decoded seconds of decoded audio, 0 if not decoded */
export function readWarnings(input: MediaInput, bytes: ByteSource, choice: TrackChoice, decoded: number): string[] {
  const { stream, unreadable } = choice
  const skipped = unreadable.length > 0 ? [`${unreadable.join(', ')} cannot be decoded and was skipped`] : []
  const truncation = stream === undefined ? undefined : describeTruncation(input, bytes, stream.index, decoded)
  return [
    ...skipped,
    ...(truncation === undefined ? describeUnreadParts(input, bytes) : [`the audio is cut off: ${truncation}`]),
  ]
}

function isOgg(bytes: ByteSource): boolean {
  return bytes.read(0, 4).toString('latin1') === 'OggS'
}

export function audioTooLongError(limits: Required<AudioLimits>): MediaError {
  return new MediaError('audio_too_long', `The audio is longer than ${limits.maxDurationSeconds} s, the model's limit.`)
}
