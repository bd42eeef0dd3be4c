/**
 * 16-bit PCM: to and from floats in [-1, 1], from bytes that come in pieces, and the header of a WAVE file. Pure; runs
 * in browsers too.
 *
 * Reference: Microsoft's Multimedia Programming Interface 1.0, RIFF WAVE, format tag 1.
 */

/** Rounds to 16 bits. Values outside [-1, 1] are clipped; NaN becomes silence. */
export function toInt16(samples: Float32Array): Int16Array<ArrayBuffer> {
  const pcm = new Int16Array(samples.length)
  for (let index = 0; index < samples.length; index += 1) {
    const value = Math.round(samples[index]! * 32_767)
    pcm[index] = value > 32_767 ? 32_767 : value < -32_768 ? -32_768 : value
  }
  return pcm
}

/** 16-bit samples in [-1, 1). */
export function toFloat32(pcm: Int16Array): Float32Array<ArrayBuffer> {
  const samples = new Float32Array(pcm.length)
  for (let index = 0; index < pcm.length; index += 1) samples[index] = pcm[index]! / 32_768
  return samples
}

/** Pieces as one array. */
export function joinPcm(pieces: readonly Int16Array[]): Int16Array<ArrayBuffer> {
  const joined = new Int16Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    joined.set(piece, at)
    at += piece.length
  }
  return joined
}

/**
 * Converts little-endian bytes of one stream to samples. An odd byte at the end of a piece waits for the next piece.
 */
export class PcmReader {
  #odd: number | undefined

  read(piece: Uint8Array): Int16Array<ArrayBuffer> {
    const carried = this.#odd === undefined ? 0 : 1
    const bytes = new Uint8Array(carried + piece.length)
    if (this.#odd !== undefined) bytes[0] = this.#odd
    bytes.set(piece, carried)
    this.#odd = bytes.length % 2 === 1 ? bytes.at(-1) : undefined
    const view = new DataView(bytes.buffer)
    return Int16Array.from({ length: bytes.length >> 1 }, (_, index) => view.getInt16(index * 2, true))
  }
}

const headerBytes = 44

/**
 * The 44 bytes before 16-bit samples in a WAVE file.
 *
 * @param dataBytes length of what follows; left out for a stream whose length is not yet known (players read to the
 * end)
 */
export function wavHeader(sampleRate: number, dataBytes?: number, channels = 1): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(headerBytes)
  const view = new DataView(header.buffer)
  const tag = (at: number, text: string): void => header.set(new TextEncoder().encode(text), at)
  tag(0, 'RIFF')
  view.setUint32(4, dataBytes === undefined ? 0xffff_ffff : headerBytes - 8 + dataBytes, true)
  tag(8, 'WAVEfmt ')
  view.setUint32(16, 16, true)
  view.setUint16(20, 1, true)
  view.setUint16(22, channels, true)
  view.setUint32(24, sampleRate, true)
  view.setUint32(28, sampleRate * channels * 2, true)
  view.setUint16(32, channels * 2, true)
  view.setUint16(34, 16, true)
  tag(36, 'data')
  view.setUint32(40, dataBytes === undefined ? 0xffff_ffff : dataBytes, true)
  return header
}
