/**
 * An audio file's duration, from its packets alone, in a decoder process.
 *
 * In: as for decoding. Out: a `done` reply with the duration, which decoding may correct by a codec's priming or a
 * damaged end, and with the missing parts of the file as far as packets show them.
 */
import { type ByteSource, openBytes, partOf } from '../av/bytes.ts'
import type { Send } from '../decoder/worker.ts'
import { MediaError } from '../errors.ts'
import type { SpooledBytes } from '../fetch/spool.ts'
import { type AudioLimits, durationTolerance } from '../limits.ts'
import { audioTooLong, linksOf, noAudio, openAudio, readWarnings } from './decode.ts'
import { decodedSeconds, lengthIsOpen } from './decoded-seconds.ts'
import { packetSeconds } from './packet-seconds.ts'
import { minRate, timesAreKept } from './audio-decoder.ts'

/** A duration by packets may exceed the real one by a codec's priming and padding, seconds. */
const packetTolerance = 0.2

/** @throws MediaError `audio_illegal`, `audio_empty`, `audio_too_long` */
export async function probeAudio(source: SpooledBytes, limits: Required<AudioLimits>, send: Send): Promise<void> {
  using bytes = openBytes(source)
  const links = linksOf(bytes)
  const most = limits.maxDurationSeconds + durationTolerance + packetTolerance
  let total = 0
  const warnings: string[] = []
  for (const [i, { start, end }] of links.entries()) {
    try {
      const link = links.length === 1 ? bytes : partOf(bytes, start, end)
      const { input: opened, choice } = openAudio(link)
      using input = opened
      if (choice.stream === undefined) throw noAudio(input, choice.unreadable)
      const { sampleRate } = choice.stream.codecpar
      if (sampleRate > 0 && sampleRate < minRate)
        throw new MediaError('audio_illegal', `The audio's rate of ${sampleRate} Hz is under ${minRate} Hz.`)
      const byPackets = packetSeconds(input, choice.stream, most)
      total += lengthIsOpen(input, choice.stream.index) ? lengthOf(link, most) : byPackets
      if (total <= most) warnings.push(...readWarnings(input, link, choice, 0))
    } catch (error) {
      if (i === 0 || !(error instanceof MediaError) || error.code !== 'audio_illegal') throw error
      warnings.push(`part ${i + 1} of ${links.length} cannot be read: ${error.message}`)
    }
    if (total > most) throw audioTooLong(limits)
  }
  if (total <= 0) throw new MediaError('audio_empty', 'The audio is empty: it has no samples.')
  await send({ type: 'done', warnings, audioSeconds: total })
}

function lengthOf(link: ByteSource, most: number): number {
  const { input: opened, choice } = openAudio(link)
  using input = opened
  return decodedSeconds(input, choice.stream!, { byTime: timesAreKept(input) }, most)
}
