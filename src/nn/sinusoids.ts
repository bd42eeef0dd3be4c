/** Sinusoidal position embeddings, which encoders add to their input. */

/** A table [length, channels]: sines, then cosines. Reference: transformers `SinusoidsPositionEmbedding`. */
export function sinusoids(length: number, channels: number): Float32Array {
  const half = channels / 2
  const increment = Math.log(10_000) / (half - 1)
  const table = new Float32Array(length * channels)
  for (let i = 0; i < half; i++) {
    const frequency = Math.fround(Math.exp(Math.fround(-increment * i)))
    for (let position = 0; position < length; position++) {
      const angle = Math.fround(position * frequency)
      table[position * channels + i] = Math.sin(angle)
      table[position * channels + half + i] = Math.cos(angle)
    }
  }
  return table
}
