/** Pitch and loudness of a part of 16 kHz samples, given in seconds. */
const rate = 16_000

/** Frequency by zero crossings, Hz; exact for a clean tone, 0 for silence. */
export function dominantHz(samples: Float32Array, from: number, to: number): number {
  const part = samples.subarray(Math.round(from * rate), Math.round(to * rate))
  let crossings = 0
  for (let i = 1; i < part.length; i += 1) if (part[i - 1]! < 0 !== part[i]! < 0) crossings += 1
  return (crossings / 2 / part.length) * rate
}

/** Root mean square. */
export function loudness(samples: Float32Array, from: number, to: number): number {
  const part = samples.subarray(Math.round(from * rate), Math.round(to * rate))
  return Math.sqrt(part.reduce((sum, sample) => sum + sample * sample, 0) / part.length)
}
