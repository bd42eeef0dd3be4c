/**
 * The initial noise of a request's mel: one tensor for the whole reply, from which each window uses its frames.
 *
 * Reference: `torch.randn([1, frames, mels])` in transformers `Qwen2_5OmniToken2WavDiTModel.sample`.
 */

/** Noise of frames `from` to `from + count`: [count, mels]. The same frame has the same noise at each call. */
export type NoiseSource = (from: number, count: number) => Float32Array

/** Noise from given values, [frames, mels]. Throws RangeError beyond their end. */
export function givenNoise(values: Float32Array, mels: number): NoiseSource {
  return (from, count) => {
    if ((from + count) * mels > values.length)
      throw new RangeError(`noise of ${values.length / mels} frames is given, frame ${from + count} is needed`)
    return values.slice(from * mels, (from + count) * mels)
  }
}

/** Standard normal noise from uniform numbers in [0, 1), frame after frame (Box-Muller). */
export function normalNoise(random: () => number, mels: number): NoiseSource {
  let values = new Float32Array(mels * 256)
  let made = 0
  const grow = (count: number): void => {
    if (count > values.length) {
      const larger = new Float32Array(Math.max(count, 2 * values.length))
      larger.set(values)
      values = larger
    }
    while (made < count) {
      const radius = Math.sqrt(-2 * Math.log(1 - random()))
      const angle = 2 * Math.PI * random()
      values[made++] = radius * Math.cos(angle)
      if (made < values.length) values[made++] = radius * Math.sin(angle)
    }
  }
  return (from, count) => {
    grow((from + count) * mels)
    return values.slice(from * mels, (from + count) * mels)
  }
}
