/**
 * Which track of a container is decoded: the best of those that can be decoded.
 *
 * In: an opened input. Out: the stream, and a sentence for each skipped track that cannot be decoded, so that it is
 * never taken for absent. Where there are several, a few packets of each are decoded first: a codec with a decoder may
 * still hold unsupported data (encrypted samples, a damaged header).
 */
import {
  AVMEDIA_TYPE_ATTACHMENT,
  AVMEDIA_TYPE_AUDIO,
  AVMEDIA_TYPE_SUBTITLE,
  AVMEDIA_TYPE_VIDEO,
  AV_CODEC_ID_BIN_DATA,
  AV_CODEC_ID_NONE,
  AV_DISPOSITION_ATTACHED_PIC,
  AV_DISPOSITION_DEFAULT,
  AV_DISPOSITION_HEARING_IMPAIRED,
  AV_DISPOSITION_VISUAL_IMPAIRED,
} from 'node-av/constants'
import type { Stream } from 'node-av/lib'
import { AudioDecoder } from '../audio/audio-decoder.ts'
import type { MediaKind } from '../errors.ts'
import { FrameDecoder } from '../video/frame-decoder.ts'
import type { ByteSource } from './bytes.ts'
import { allowedDecoder, codecName, videoDecoders } from './formats.ts'
import { MediaInput } from './input.ts'

export type TrackKind = 'audio' | 'video'

export interface Choice {
  /** Undefined when there is no track of the kind, or none that can be decoded. */
  readonly stream: Stream | undefined
  /** Tracks of the kind without a decoder here, described. */
  readonly unreadable: readonly string[]
}

/** Packets of each track that are tried, and packets of the file that are read for that. */
const trial = { packets: 12, read: 4000 } as const

/** @param maxPixels bounds trials of video decoders */
export function chooseTrack(input: MediaInput, bytes: ByteSource, kind: TrackKind, maxPixels: number): Choice {
  const type = kind === 'audio' ? AVMEDIA_TYPE_AUDIO : AVMEDIA_TYPE_VIDEO
  const tracks = input.currentStreams.filter(
    ({ codecpar, disposition }) => codecpar.codecType === type && (disposition & AV_DISPOSITION_ATTACHED_PIC) === 0,
  )
  const opened = tracks.filter((stream) => opens(stream, kind, maxPixels))
  const failed = opened.length > 1 ? failedTrials(opened, bytes, kind, maxPixels) : new Set<number>()
  const readable = opened.filter(({ index }) => !failed.has(index))
  const best = input.format.findBestStream(type)
  const rank = (stream: Stream) => (stream.index === best ? 100 : 0) + dispositionRank(stream.disposition)
  const stream = readable.toSorted((a, b) => rank(b) - rank(a) || a.index - b.index)[0]
  const unreadable = tracks.filter((track) => !readable.includes(track)).map(described)
  return { stream, unreadable }
}

/** Tracks of unknown kind with packets: they may be the missing ones. */
export function unknownTracks(input: MediaInput, packetsOf: (stream: number) => number): readonly string[] {
  const known: readonly number[] = [
    AVMEDIA_TYPE_AUDIO,
    AVMEDIA_TYPE_VIDEO,
    AVMEDIA_TYPE_SUBTITLE,
    AVMEDIA_TYPE_ATTACHMENT,
  ]
  const nameless: readonly number[] = [AV_CODEC_ID_NONE, AV_CODEC_ID_BIN_DATA]
  return input.currentStreams
    .filter(
      ({ index, codecpar }) =>
        !known.includes(codecpar.codecType) && nameless.includes(codecpar.codecId) && packetsOf(index) > 0,
    )
    .map(described)
}

function described(stream: Stream): string {
  return `track ${stream.index + 1} (${codecName(stream.codecpar)})`
}

function dispositionRank(disposition: number): number {
  const impaired = (disposition & (AV_DISPOSITION_HEARING_IMPAIRED | AV_DISPOSITION_VISUAL_IMPAIRED)) !== 0
  return (impaired ? 0 : 2) + ((disposition & AV_DISPOSITION_DEFAULT) === 0 ? 0 : 1)
}

/** Frames that are too large are refused by the caller: such a track counts as readable. */
function tooLarge({ codecpar }: Stream, maxPixels: number): boolean {
  return codecpar.width * codecpar.height > maxPixels
}

function opens(stream: Stream, kind: TrackKind, maxPixels: number): boolean {
  if (kind === 'video' && tooLarge(stream, maxPixels)) {
    return allowedDecoder(stream.codecpar.codecId, videoDecoders) !== undefined
  }
  try {
    using _decoder = openDecoder(stream, kind, maxPixels)
    return true
  } catch {
    return false
  }
}

function openDecoder(stream: Stream, kind: TrackKind, maxPixels: number): AudioDecoder | FrameDecoder {
  return kind === 'audio' ? new AudioDecoder(stream, () => {}) : new FrameDecoder(stream, maxPixels)
}

interface Trial {
  readonly decoder: AudioDecoder | FrameDecoder | undefined
  tried: number
  gave: boolean
}

/** Indices of the tracks whose first packets all fail and give nothing. */
function failedTrials(tracks: readonly Stream[], bytes: ByteSource, kind: TrackKind, maxPixels: number): Set<number> {
  using input = MediaInput.open(bytes, kind satisfies MediaKind)
  const trials = new Map<number, Trial>()
  for (const { index } of tracks) {
    const stream = input.currentStreams[index]
    const untried = stream === undefined || (kind === 'video' && tooLarge(stream, maxPixels))
    const decoder = untried ? undefined : openDecoder(stream, kind, maxPixels)
    trials.set(index, { decoder, tried: 0, gave: false })
  }
  let read = 0
  input.readPackets((packet) => {
    read += 1
    const one = trials.get(packet.streamIndex)
    if (one?.decoder !== undefined && !one.gave && one.tried < trial.packets) {
      one.tried += 1
      if (one.decoder instanceof AudioDecoder) {
        one.decoder.push(packet)
        one.gave = one.decoder.samples > 0 || one.decoder.failedPackets < one.tried
      } else {
        void one.decoder.push(packet, () => {
          one.gave = true
          return undefined
        })
        one.gave ||= one.decoder.failedPackets < one.tried
      }
    }
    const open = [...trials.values()].some(({ gave, tried }) => !gave && tried < trial.packets)
    return open && read < trial.read
  })
  for (const { decoder } of trials.values()) decoder?.[Symbol.dispose]()
  return new Set([...trials].filter(([, { tried, gave }]) => tried > 0 && !gave).map(([index]) => index))
}
