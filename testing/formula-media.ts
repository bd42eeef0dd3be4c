/**
 * Images, audio and videos made from integer formulas, as in `reference/omniserve_reference/media.py`: inputs
 * of the goldens.
 */

/** [height, width, 3] uint8. */
export function formulaImage(width: number, height: number, seed: number): Uint8Array {
  const data = new Uint8Array(width * height * 3)
  let at = 0
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const common = x * (3 + (seed % 5)) + y * 5 + ((x * y) >> 4) * 7 + ((x ^ y) & 15) * (seed % 7) * 2
      for (let c = 0; c < 3; c++) data[at++] = (common + c * 40) & 255
    }
  }
  return data
}

/** [samples] in [-1, 1], 16 kHz. */
export function formulaAudio(samples: number, seed: number): Float32Array {
  return Float32Array.from({ length: samples }, (_, i) => {
    const tone = (((i * (2 + (seed % 5))) % 160) - 80) * 60
    const noise = (((i * 7919 + ((i * i) % 1009) * 31) % 2001) - 1000) * 3
    return ((tone + noise) * (1 + ((i >> 12) % 4))) / 131072
  })
}

/** [bins, frames], for the audio encoder alone. */
export function formulaLogMel(bins: number, frames: number): Float32Array {
  const mel = new Float32Array(bins * frames)
  for (let b = 0; b < bins; b++) {
    for (let f = 0; f < frames; f++)
      mel[b * frames + f] = Math.fround(((f * 31 + b * 17 + ((f * b) % 23)) % 101) / 50) - 1
  }
  return mel
}

/** [count, size], for the vision encoder alone. */
export function formulaPatches(count: number, size: number): Float32Array {
  const patches = new Float32Array(count * size)
  for (let n = 0; n < count; n++) {
    for (let i = 0; i < size; i++)
      patches[n * size + i] = Math.fround(((n * 29 + i * 13 + ((n * i) % 37)) % 127) / 63) - 1
  }
  return patches
}

/** [frames, groups], for the vocoder alone. */
export function formulaCodes(groups: number, frames: number, size: number): Int32Array {
  const codes = new Int32Array(frames * groups)
  for (let f = 0; f < frames; f++) {
    for (let g = 0; g < groups; g++) codes[f * groups + g] = (f * 37 + g * 11 + ((f * f * (g + 1)) % 53)) % size
  }
  return codes
}

/** [frames, bands] of mean 0 and deviation 1, in place of the normal noise that a diffusion starts from. */
export function formulaNoise(frames: number, bands: number, seed: number): Float32Array {
  const noise = new Float32Array(frames * bands)
  for (let f = 0; f < frames; f++) {
    for (let b = 0; b < bands; b++) {
      const mixed = f * 7919 + b * 104_729 + ((f * f + 3 * b * b + f * b) % 1009) * (31 + (seed % 7))
      noise[f * bands + b] = ((mixed % 2001) - 1000) / 577
    }
  }
  return noise
}
