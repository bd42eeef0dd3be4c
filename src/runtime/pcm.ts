/**
 * Samples as the wire wants them, and how many codec frames to decode at a time.
 *
 * In: float samples in [-1, 1] and counts of frames. Out: 16-bit samples; chunk sizes that begin small (first sound soon) and grow
 * (less work per frame). Pure.
 */

/** Rounds to 16 bits; what is outside [-1, 1] is clipped, NaN becomes silence. */
export function toInt16(samples: Float32Array): Int16Array {
  const pcm = new Int16Array(samples.length)
  for (let index = 0; index < samples.length; index += 1) {
    const value = Math.round(samples[index]! * 32_767)
    pcm[index] = value > 32_767 ? 32_767 : value < -32_768 ? -32_768 : value
  }
  return pcm
}

/** Frames in the n-th chunk (from 0) of a reply: 2, 4, 8, 16, then 25 (two seconds at 12.5 frames a second). */
export function chunkFrames(chunk: number): number {
  return chunk < 4 ? 2 << chunk : 25
}
