/**
 * PCM to WAV and between number formats. 16-bit little-endian mono throughout.
 *
 * Reference: RIFF WAVE, format tag 1.
 */

/** A WAV file of mono samples at `sampleRate` Hz. */
export function encodeWav(samples: Int16Array, sampleRate: number): Blob {
  const header = new DataView(new ArrayBuffer(44))
  const text = (offset: number, value: string) => {
    for (let i = 0; i < value.length; i++) header.setUint8(offset + i, value.charCodeAt(i))
  }
  text(0, 'RIFF')
  header.setUint32(4, 36 + samples.byteLength, true)
  text(8, 'WAVEfmt ')
  header.setUint32(16, 16, true)
  header.setUint16(20, 1, true)
  header.setUint16(22, 1, true)
  header.setUint32(24, sampleRate, true)
  header.setUint32(28, sampleRate * 2, true)
  header.setUint16(32, 2, true)
  header.setUint16(34, 16, true)
  text(36, 'data')
  header.setUint32(40, samples.byteLength, true)
  return new Blob([header.buffer, samples.slice().buffer], { type: 'audio/wav' })
}

/** [-1, 1] to 16 bits, clipped. */
export function floatToInt16(samples: Float32Array): Int16Array {
  const result = new Int16Array(samples.length)
  for (let i = 0; i < samples.length; i++) {
    const value = Math.max(-1, Math.min(1, samples[i]!))
    result[i] = Math.round(value < 0 ? value * 32768 : value * 32767)
  }
  return result
}

export function int16ToFloat(samples: Int16Array): Float32Array<ArrayBuffer> {
  const result = new Float32Array(samples.length)
  for (let i = 0; i < samples.length; i++) result[i] = samples[i]! / 32768
  return result
}

/** The mean of an audio buffer's channels. */
export function mixDown(buffer: AudioBuffer): Float32Array {
  const mono = new Float32Array(buffer.length)
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const samples = buffer.getChannelData(channel)
    for (let i = 0; i < mono.length; i++) mono[i]! += samples[i]! / buffer.numberOfChannels
  }
  return mono
}

/** Joins pieces into one array. */
export function joinPcm(pieces: readonly Int16Array[]): Int16Array {
  const result = new Int16Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let offset = 0
  for (const piece of pieces) {
    result.set(piece, offset)
    offset += piece.length
  }
  return result
}

/** Decodes base64 pieces of one PCM stream; a byte left over at a piece's end waits for the next piece. */
export class PcmDecoder {
  #rest: number | undefined

  decode(base64: string): Int16Array {
    const text = atob(base64)
    const extra = this.#rest === undefined ? 0 : 1
    const bytes = new Uint8Array(text.length + extra)
    if (this.#rest !== undefined) bytes[0] = this.#rest
    for (let i = 0; i < text.length; i++) bytes[i + extra] = text.charCodeAt(i)
    const whole = bytes.length - (bytes.length % 2)
    this.#rest = whole < bytes.length ? bytes[whole] : undefined
    const view = new DataView(bytes.buffer)
    const samples = new Int16Array(whole / 2)
    for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(i * 2, true)
    return samples
  }
}
