/**
 * Samples as the wire wants them, and how many codec frames to decode at a time.
 *
 * In: float samples in [-1, 1] and counts of frames. Out: 16-bit samples and chunk sizes. Pure.
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

/**
 * Frames in the n-th chunk (from 0) of a reply: 2, so that sound begins soon, then 4 (320 ms at 12.5 frames a second). The vocoder keeps
 * its state between chunks, so longer ones would save nothing and hold up everybody else for longer.
 */
export function chunkFrames(chunk: number): number {
  return chunk === 0 ? 2 : 4
}
