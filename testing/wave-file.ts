/**
 * WAVE files of any width, valid bits, byte order and header, for tests of readers. A 440 Hz tone at half scale.
 *
 * Reference: WAVEFORMATEX, WAVEFORMATEXTENSIBLE, RIFF and RIFX.
 */
export interface WaveDescription {
  /** Bits of a sample in the file, and how many of them, at the top, are used. */
  readonly bits: number
  readonly validBits?: number
  readonly float?: boolean
  readonly channels?: number
  readonly bigEndian?: boolean
  readonly extensible?: boolean
  readonly seconds?: number
}

const rate = 16_000

export function waveFile(description: WaveDescription): Buffer {
  const { bits, validBits = bits, float = false, channels = 1, bigEndian = false, extensible = false } = description
  const frames = Math.round((description.seconds ?? 1) * rate)
  const width = bits / 8
  const data = Buffer.alloc(frames * channels * width)
  for (let i = 0; i < frames * channels; i += 1) {
    const value = 0.5 * Math.sin((2 * Math.PI * 440 * Math.floor(i / channels)) / rate)
    const sample = data.subarray(i * width, (i + 1) * width)
    if (float && width === 4) sample.writeFloatLE(value)
    else if (float) sample.writeDoubleLE(value)
    else if (width === 1) sample[0] = Math.round(value * 127) + 128
    else sample.writeIntLE(Math.round(value * (2 ** (validBits - 1) - 1)) * 2 ** (bits - validBits), 0, width)
    if (bigEndian) sample.reverse()
  }
  const word = (value: number) => order(Buffer.from([value & 255, value >> 8]))
  const long = (value: number) => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(value)
    return order(bytes)
  }
  const order = (bytes: Buffer) => (bigEndian ? Buffer.from(bytes).reverse() : bytes)
  const code = float ? 3 : 1
  const block = channels * width
  const format = [
    word(extensible ? 0xfffe : code),
    word(channels),
    long(rate),
    long(rate * block),
    word(block),
    word(bits),
  ]
  if (extensible) {
    const tail = Buffer.from('800000aa00389b71', 'hex')
    format.push(word(22), word(validBits), long(channels === 2 ? 3 : 4), long(code), word(0), word(16), tail)
  }
  const chunk = (name: string, bytes: Buffer) => Buffer.concat([Buffer.from(name), long(bytes.length), bytes])
  const body = Buffer.concat([Buffer.from('WAVE'), chunk('fmt ', Buffer.concat(format)), chunk('data', data)])
  return chunk(bigEndian ? 'RIFX' : 'RIFF', body)
}
