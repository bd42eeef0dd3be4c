/**
 * Reads an audio file's duration from its packets, without decoding them. Runs in a decoder process.
 *
 * In: as for decoding. Out: a `done` reply with the duration and with warnings about missing parts that packets show.
 * Decoding may change the duration slightly: a codec's priming is removed, or the end is damaged.
 */
import { type ByteSource, openByteSource, sliceBytes } from '../av/bytes.ts'
import type { Send } from '../decoder/worker.ts'
import { MediaError } from '../errors.ts'
import type { SpooledBytes } from '../fetch/spool.ts'
import { type AudioLimits, durationTolerance } from '../limits.ts'
import { audioTooLongError, linksOf, noAudioError, openAudio, readWarnings } from './decode.ts'
import { decodedSeconds, durationIsUnknown } from './decoded-seconds.ts'
import { packetSeconds } from './packet-seconds.ts'
import { minSampleRate, hasTimestamps } from './audio-decoder.ts'

/** Packet durations include a codec's priming and padding, which may add this much. Seconds. */
const packetTolerance = 0.2

/** @throws MediaError `audio_illegal`, `audio_empty`, `audio_too_long` */
export async function probeAudio(source: SpooledBytes, limits: Required<AudioLimits>, send: Send): Promise<void> {
  using bytes = openByteSource(source)
  const links = linksOf(bytes)
  const maxSeconds = limits.maxDurationSeconds + durationTolerance + packetTolerance
  let total = 0
  const warnings: string[] = []
  for (const [i, { start, end }] of links.entries()) {
    try {
      const link = links.length === 1 ? bytes : sliceBytes(bytes, start, end)
      const { input: opened, choice } = openAudio(link)
      using input = opened
      if (choice.stream === undefined) throw noAudioError(input, choice.unreadable)
      const { sampleRate } = choice.stream.codecpar
      if (sampleRate > 0 && sampleRate < minSampleRate)
        throw new MediaError(
          'audio_illegal',
          `The audio's sample rate of ${sampleRate} Hz is below ${minSampleRate} Hz.`,
        )
      const byPackets = packetSeconds(input, choice.stream, maxSeconds)
      total += durationIsUnknown(input, choice.stream.index) ? durationByDecoding(link, maxSeconds) : byPackets
      if (total <= maxSeconds) warnings.push(...readWarnings(input, link, choice, 0))
    } catch (error) {
      if (i === 0 || !(error instanceof MediaError) || error.code !== 'audio_illegal') throw error
      warnings.push(`part ${i + 1} of ${links.length} cannot be read: ${error.message}`)
    }
    if (total > maxSeconds) throw audioTooLongError(limits)
  }
  if (total <= 0) throw new MediaError('audio_empty', 'The file has no audio samples.')
  await send({ type: 'done', warnings, audioSeconds: total })
}

function durationByDecoding(link: ByteSource, maxSeconds: number): number {
  const { input: opened, choice } = openAudio(link)
  using input = opened
  return decodedSeconds(input, choice.stream!, { useTimestamps: hasTimestamps(input) }, maxSeconds)
}
