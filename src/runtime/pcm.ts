/** Samples as the wire wants them: floats in [-1, 1] to 16 bits. Pure. */

/** Rounds to 16 bits; what is outside [-1, 1] is clipped, NaN becomes silence. */
export function toInt16(samples: Float32Array): Int16Array {
  const pcm = new Int16Array(samples.length)
  for (let index = 0; index < samples.length; index += 1) {
    const value = Math.round(samples[index]! * 32_767)
    pcm[index] = value > 32_767 ? 32_767 : value < -32_768 ? -32_768 : value
  }
  return pcm
}
