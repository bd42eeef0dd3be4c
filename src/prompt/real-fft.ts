/**
 * Power spectrum of real frames of any even length. FFT packages require powers of two; Whisper's length is 400.
 *
 * A mixed-radix decimation in time over the half-length complex sequence, in double precision.
 * Reference: Cooley and Tukey 1965; Numerical Recipes 12.3 for the split of a real sequence.
 */

/** Returns a function that fills `power` [length / 2 + 1] with |FFT(frame)|^2. */
export function createPowerSpectrum(length: number): (frame: Float64Array, power: Float64Array) => void {
  if (length < 2 || length % 2 !== 0) throw new Error(`FFT length must be even, got ${length}`)
  const half = length / 2
  const factors = factorise(half)
  const cosines = new Float64Array(length)
  const sines = new Float64Array(length)
  for (let i = 0; i < length; i++) {
    cosines[i] = Math.cos((-2 * Math.PI * i) / length)
    sines[i] = Math.sin((-2 * Math.PI * i) / length)
  }
  const inRe = new Float64Array(half)
  const inIm = new Float64Array(half)
  const outRe = new Float64Array(half)
  const outIm = new Float64Array(half)
  const scratchRe = new Float64Array(Math.max(...factors, 1))
  const scratchIm = new Float64Array(Math.max(...factors, 1))

  /** Transforms inputs at `start`, `start + stride`, ... into out[offset, offset + size). */
  function transform(start: number, stride: number, offset: number, size: number, level: number): void {
    if (size === 1) {
      outRe[offset] = inRe[start]!
      outIm[offset] = inIm[start]!
      return
    }
    const radix = factors[level]!
    const part = size / radix
    for (let r = 0; r < radix; r++) {
      transform(start + r * stride, stride * radix, offset + r * part, part, level + 1)
    }
    // Twiddles of this size are every `step`-th of the table.
    const step = length / size
    for (let k = 0; k < part; k++) {
      for (let r = 0; r < radix; r++) {
        const at = offset + r * part + k
        const w = (r * k * step) % length
        scratchRe[r] = outRe[at]! * cosines[w]! - outIm[at]! * sines[w]!
        scratchIm[r] = outRe[at]! * sines[w]! + outIm[at]! * cosines[w]!
      }
      for (let q = 0; q < radix; q++) {
        let re = scratchRe[0]!
        let im = scratchIm[0]!
        for (let r = 1; r < radix; r++) {
          const w = (((q * r) % radix) * length) / radix
          const c = cosines[w]!
          const s = sines[w]!
          re += scratchRe[r]! * c - scratchIm[r]! * s
          im += scratchRe[r]! * s + scratchIm[r]! * c
        }
        outRe[offset + q * part + k] = re
        outIm[offset + q * part + k] = im
      }
    }
  }

  return (frame, power) => {
    for (let i = 0; i < half; i++) {
      inRe[i] = frame[2 * i]!
      inIm[i] = frame[2 * i + 1]!
    }
    transform(0, 1, 0, half, 0)
    // Even samples are the real part, odd samples the imaginary part: their spectra are separated and combined.
    for (let k = 0; k <= half; k++) {
      const a = k % half
      const b = (half - k) % half
      const evenRe = (outRe[a]! + outRe[b]!) / 2
      const evenIm = (outIm[a]! - outIm[b]!) / 2
      const oddRe = (outIm[a]! + outIm[b]!) / 2
      const oddIm = (outRe[b]! - outRe[a]!) / 2
      const c = k === half ? -1 : cosines[k]!
      const s = k === half ? 0 : sines[k]!
      const re = evenRe + oddRe * c - oddIm * s
      const im = evenIm + oddRe * s + oddIm * c
      power[k] = re * re + im * im
    }
  }
}

function factorise(value: number): number[] {
  const factors: number[] = []
  let rest = value
  for (let p = 2; p * p <= rest; p++) {
    while (rest % p === 0) {
      factors.push(p)
      rest /= p
    }
  }
  if (rest > 1) factors.push(rest)
  return factors
}
