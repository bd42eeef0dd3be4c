/**
 * Chooses the track of a container to decode: the best of those that can be decoded.
 *
 * In: an opened input. Out: the stream, and a description of each track that cannot be decoded, so that it can be
 * reported. If there are several tracks, a few packets of each are decoded first: a track whose codec has a decoder may
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

export interface TrackChoice {
  /** Undefined when there is no track of the kind, or none that can be decoded. */
  readonly stream: Stream | undefined
  /** Descriptions of the tracks of this kind that cannot be decoded. */
  readonly unreadable: readonly string[]
}

/** A trial decodes at most so many packets of a track, and reads at most so many packets of the file. */
const trialLimits = { trackPackets: 12, filePackets: 4000 } as const

/** @param maxPixels largest frame that a trial of a video decoder may decode */
export function chooseTrack(input: MediaInput, bytes: ByteSource, kind: TrackKind, maxPixels: number): TrackChoice {
  const type = kind === 'audio' ? AVMEDIA_TYPE_AUDIO : AVMEDIA_TYPE_VIDEO
  const tracks = input.currentStreams.filter(
    ({ codecpar, disposition }) => codecpar.codecType === type && (disposition & AV_DISPOSITION_ATTACHED_PIC) === 0,
  )
  const opened = tracks.filter((stream) => decoderOpens(stream, kind, maxPixels))
  const failed = opened.length > 1 ? failedTrials(opened, bytes, kind, maxPixels) : new Set<number>()
  const readable = opened.filter(({ index }) => !failed.has(index))
  const best = input.format.findBestStream(type)
  const rank = (stream: Stream) => (stream.index === best ? 100 : 0) + dispositionRank(stream.disposition)
  const stream = readable.toSorted((a, b) => rank(b) - rank(a) || a.index - b.index)[0]
  const unreadable = tracks.filter((track) => !readable.includes(track)).map(describeTrack)
  return { stream, unreadable }
}

/** Descriptions of tracks whose type FFmpeg does not know and that have packets: one may be the missing track. */
export function unknownTracks(input: MediaInput, packetsOf: (stream: number) => number): readonly string[] {
  const knownTypes: readonly number[] = [
    AVMEDIA_TYPE_AUDIO,
    AVMEDIA_TYPE_VIDEO,
    AVMEDIA_TYPE_SUBTITLE,
    AVMEDIA_TYPE_ATTACHMENT,
  ]
  const unknownCodecs: readonly number[] = [AV_CODEC_ID_NONE, AV_CODEC_ID_BIN_DATA]
  return input.currentStreams
    .filter(
      ({ index, codecpar }) =>
        !knownTypes.includes(codecpar.codecType) && unknownCodecs.includes(codecpar.codecId) && packetsOf(index) > 0,
    )
    .map(describeTrack)
}

function describeTrack(stream: Stream): string {
  return `track ${stream.index + 1} (${codecName(stream.codecpar)})`
}

function dispositionRank(disposition: number): number {
  const impaired = (disposition & (AV_DISPOSITION_HEARING_IMPAIRED | AV_DISPOSITION_VISUAL_IMPAIRED)) !== 0
  return (impaired ? 0 : 2) + ((disposition & AV_DISPOSITION_DEFAULT) === 0 ? 0 : 1)
}

/** Such a track counts as readable, because the caller refuses it with an error of its own. */
function tooLarge({ codecpar }: Stream, maxPixels: number): boolean {
  return codecpar.width * codecpar.height > maxPixels
}

function decoderOpens(stream: Stream, kind: TrackKind, maxPixels: number): boolean {
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
  /** Undefined where the track is not tried. */
  readonly decoder: AudioDecoder | FrameDecoder | undefined
  packets: number
  /** Whether a packet was decoded. */
  succeeded: boolean
}

/** Indices of the tracks whose first packets all fail to decode. */
function failedTrials(tracks: readonly Stream[], bytes: ByteSource, kind: TrackKind, maxPixels: number): Set<number> {
  using input = MediaInput.open(bytes, kind satisfies MediaKind)
  const trials = new Map<number, Trial>()
  for (const { index } of tracks) {
    const stream = input.currentStreams[index]
    const skipped = stream === undefined || (kind === 'video' && tooLarge(stream, maxPixels))
    const decoder = skipped ? undefined : openDecoder(stream, kind, maxPixels)
    trials.set(index, { decoder, packets: 0, succeeded: false })
  }
  let packetsRead = 0
  input.readPackets((packet) => {
    packetsRead += 1
    const trial = trials.get(packet.streamIndex)
    if (trial?.decoder !== undefined && !trial.succeeded && trial.packets < trialLimits.trackPackets) {
      trial.packets += 1
      if (trial.decoder instanceof AudioDecoder) {
        trial.decoder.push(packet)
        trial.succeeded = trial.decoder.samples > 0 || trial.decoder.failedPackets < trial.packets
      } else {
        void trial.decoder.push(packet, () => {
          trial.succeeded = true
          return undefined
        })
        trial.succeeded ||= trial.decoder.failedPackets < trial.packets
      }
    }
    const undecided = [...trials.values()].some(
      ({ succeeded, packets }) => !succeeded && packets < trialLimits.trackPackets,
    )
    return undecided && packetsRead < trialLimits.filePackets
  })
  for (const { decoder } of trials.values()) decoder?.[Symbol.dispose]()
  return new Set([...trials].filter(([, { packets, succeeded }]) => packets > 0 && !succeeded).map(([index]) => index))
}
