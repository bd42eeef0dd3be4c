/**
 * Predicts the result of decoding a video from its packets. Runs in a decoder process.
 *
 * In: as for decoding. Out: a `done` reply with the file's facts, the number and size of the frames, and the duration
 * of the audio.
 */
import { openByteSource } from '../av/bytes.ts'
import type { Send } from '../decoder/worker.ts'
import type { SpooledBytes } from '../fetch/spool.ts'
import type { VideoLimits } from '../limits.ts'
import { planVideo } from './plan.ts'

/**
 * @throws MediaError `video_invalid`, `video_too_long`, `video_too_short`, `video_audio_undecodable`,
 * `image_dimensions`
 */
export async function probeVideo(source: SpooledBytes, limits: Required<VideoLimits>, send: Send): Promise<void> {
  using bytes = openByteSource(source)
  const { warnings, facts, frame, indices, audioSeconds } = planVideo(bytes, limits)
  const frames = { count: indices.length, ...frame }
  await send({ type: 'done', warnings, video: { ...facts, hasAudio: audioSeconds > 0 }, frames, audioSeconds })
}
