/**
 * An audio file to 16 kHz mono floats, in a decoder process.
 *
 * In: any allowed container with an audio track (video and cover art are skipped). Out: `pcm` replies and `done`. A
 * damaged file is decoded as far as possible, with a warning; one that yields nothing is an error. The links of a
 * chained Ogg file follow one another.
 */
import { type ByteSource, openBytes, partOf } from '../av/bytes.ts'
import { cutOff, leftOut } from '../av/cut-off.ts'
import { MediaInput } from '../av/input.ts'
import { oggLinks } from '../av/ogg-links.ts'
import { type Choice, chooseTrack, unknownTracks } from '../av/tracks.ts'
import type { Send } from '../decoder/worker.ts'
import { MediaError } from '../errors.ts'
import type { SpooledBytes } from '../fetch/spool.ts'
import { type AudioLimits, durationTolerance } from '../limits.ts'
import { audioRate } from './rate.ts'
import { AudioDecoder, timesAreKept } from './audio-decoder.ts'

/** The audio of all links of a file. */
interface Total {
  samples: number
  packets: number
  failedPackets: number
  codecName: string
  readonly warnings: string[]
}

/** @throws MediaError `audio_illegal`, `audio_empty`, `audio_too_long` */
export async function decodeAudio(source: SpooledBytes, limits: Required<AudioLimits>, send: Send): Promise<void> {
  using bytes = openBytes(source)
  const links = linksOf(bytes)
  const total: Total = { samples: 0, packets: 0, failedPackets: 0, codecName: '', warnings: [] }
  for (const [i, { start, end }] of links.entries()) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- links follow one another
      await decodeLink(links.length === 1 ? bytes : partOf(bytes, start, end), limits, total, send)
    } catch (error) {
      if (i === 0 || !(error instanceof MediaError) || error.code !== 'audio_illegal') throw error
      total.warnings.push(`part ${i + 1} of ${links.length} cannot be read: ${error.message}`)
    }
  }
  if (total.samples === 0) {
    if (total.packets > 0 && total.failedPackets > 0) {
      throw new MediaError('audio_illegal', `The ${total.codecName} audio is broken: nothing in it can be decoded.`)
    }
    throw new MediaError('audio_empty', 'The audio is empty: it has no samples.')
  }
  if (total.failedPackets > total.packets / 2) {
    throw new MediaError('audio_illegal', `The ${total.codecName} audio is broken: most of it cannot be decoded.`)
  }
  if (total.samples < limits.minDurationSeconds * audioRate) {
    throw new MediaError('audio_empty', `The audio is shorter than ${limits.minDurationSeconds} s.`)
  }
  await send({ type: 'done', warnings: total.warnings })
}

async function decodeLink(bytes: ByteSource, limits: Required<AudioLimits>, total: Total, send: Send): Promise<void> {
  const { input: opened, choice } = openAudio(bytes)
  using input = opened
  const { stream, unreadable } = choice
  if (stream === undefined) throw noAudio(input, unreadable)

  const pieces: Float32Array[] = []
  using decoder = new AudioDecoder(stream, (piece) => pieces.push(piece), { byTime: timesAreKept(input) })
  const mostSamples = (limits.maxDurationSeconds + durationTolerance) * audioRate
  const checkLength = () => {
    if (total.samples + decoder.samples > mostSamples) throw audioTooLong(limits)
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
  total.samples += decoder.samples
  total.packets += decoder.packets
  total.failedPackets += decoder.failedPackets
  total.codecName = decoder.codecName
  total.warnings.push(...audioWarnings(decoder), ...readWarnings(input, bytes, choice, decoder.samples / audioRate))
}

/** The whole file, or each link of a chained Ogg file. */
export function linksOf(bytes: ByteSource): readonly { readonly start: number; readonly end: number }[] {
  return isOgg(bytes) ? oggLinks(bytes) : [{ start: 0, end: bytes.size }]
}

/** Probes the whole file where its first seconds do not describe an audio track completely. */
export function openAudio(bytes: ByteSource): { input: MediaInput; choice: Choice } {
  const input = MediaInput.open(bytes, 'audio')
  const choice = chooseTrack(input, bytes, 'audio', 0)
  if ((choice.stream?.codecpar.sampleRate ?? choice.unreadable.length) > 0) return { input, choice }
  input[Symbol.dispose]()
  const deep = MediaInput.open(bytes, 'audio', { deep: true })
  return { input: deep, choice: chooseTrack(deep, bytes, 'audio', 0) }
}

export function noAudio(input: MediaInput, unreadable: readonly string[]): MediaError {
  if (unreadable.length > 0) {
    return new MediaError('audio_illegal', `The file's audio cannot be decoded: ${unreadable.join(', ')}.`)
  }
  const counts = new Map<number, number>()
  input.readPackets(({ streamIndex }) => {
    counts.set(streamIndex, (counts.get(streamIndex) ?? 0) + 1)
  })
  const unknown = unknownTracks(input, (index) => counts.get(index) ?? 0)
  if (unknown.length === 0) return new MediaError('audio_illegal', 'The file has no audio in it.')
  return new MediaError(
    'audio_illegal',
    `The file has no audio that can be read; ${unknown.join(', ')} is of no known kind.`,
  )
}

/** Sends what has accumulated; undefined when there is nothing to wait for. */
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
    warnings.push(`${decoder.failedPackets} of ${decoder.packets} audio packets are broken and were left out`)
  }
  if (decoder.nonFinite > 0) {
    warnings.push(`${decoder.nonFinite} audio samples are not finite numbers and were made silent`)
  }
  return warnings
}

/** Warnings about a file whose packets were all read, of which `decoded` seconds were decoded. */
export function readWarnings(input: MediaInput, bytes: ByteSource, choice: Choice, decoded: number): string[] {
  const { stream, unreadable } = choice
  const passedOver = unreadable.length > 0 ? [`${unreadable.join(', ')} cannot be decoded and was passed over`] : []
  const cut = stream === undefined ? undefined : cutOff(input, bytes, stream.index, decoded)
  return [...passedOver, ...(cut === undefined ? leftOut(input, bytes) : [`the audio is cut off: ${cut}`])]
}

function isOgg(bytes: ByteSource): boolean {
  return bytes.at(0, 4).toString('latin1') === 'OggS'
}

export function audioTooLong(limits: Required<AudioLimits>): MediaError {
  return new MediaError(
    'audio_too_long',
    `The audio is longer than the ${limits.maxDurationSeconds} s the model takes.`,
  )
}
