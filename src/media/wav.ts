/**
 * Writes and reads RIFF/WAVE files without a library, for the command line and tests.
 *
 * Reads 8, 16, 24 and 32-bit integers and 32 and 64-bit floats, plain or extensible, RIFF or RIFX (big-endian). The
 * width of a sample is the block size's, not the number of valid bits. For untrusted files use the media loader
 * instead.
 *
 * Reference: Microsoft's Multimedia Programming Interface 1.0, RIFF WAVE; WAVEFORMATEXTENSIBLE; RFC 2361.
 */

import { toInt16, wavHeader } from '../arithmetic/pcm.ts'

export { wavHeader } from '../arithmetic/pcm.ts'

export interface WavFile {
  readonly sampleRate: number
  readonly channels: number
  readonly bitsPerSample: number
  /** Interleaved, in [-1, 1]. */
  readonly samples: Float32Array
}

/** A whole 16-bit file. Floats are clipped to [-1, 1]. */
export function encodeWav(samples: Int16Array | Float32Array, sampleRate: number, channels = 1): Uint8Array {
  const pcm = samples instanceof Int16Array ? samples : toInt16(samples)
  const header = wavHeader(sampleRate, pcm.length * 2, channels)
  const file = new Uint8Array(header.length + pcm.length * 2)
  file.set(header)
  const view = new DataView(file.buffer, header.length)
  for (let i = 0; i < pcm.length; i += 1) view.setInt16(i * 2, pcm[i]!, true)
  return file
}

/**
 * @throws RangeError if the file is cut off, is not a WAVE file, or has a sample format other than integer and float
 */
export function decodeWav(file: Uint8Array): WavFile {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const tag = (offset: number) => String.fromCharCode(...file.subarray(offset, offset + 4))
  const littleEndian = tag(0) === 'RIFF'
  if (file.length < 12 || !(littleEndian || tag(0) === 'RIFX') || tag(8) !== 'WAVE')
    throw new RangeError('not a WAVE file')
  let format: (SampleFormat & { channels: number; sampleRate: number }) | undefined
  for (let offset = 12; offset + 8 <= file.length;) {
    const name = tag(offset)
    const size = view.getUint32(offset + 4, littleEndian)
    const start = offset + 8
    if (name === 'fmt ') {
      const formatTag = view.getUint16(start, littleEndian)
      const channels = view.getUint16(start + 2, littleEndian)
      format = {
        formatTag: formatTag === 0xfffe ? view.getUint32(start + 24, littleEndian) : formatTag,
        channels,
        sampleRate: view.getUint32(start + 4, littleEndian),
        bits: (view.getUint16(start + 12, littleEndian) / channels) * 8,
        littleEndian,
      }
    } else if (name === 'data') {
      if (format === undefined)
        throw new RangeError('not a valid WAVE file: the `data` chunk comes before the `fmt ` chunk')
      const end = Math.min(file.length, start + size) // a stream's header declares 0xffffffff
      const { channels, sampleRate, bits } = format
      return { sampleRate, channels, bitsPerSample: bits, samples: readSamples(view, start, end, format) }
    }
    offset = start + size + (size % 2)
  }
  throw new RangeError('not a valid WAVE file: it has no `data` chunk')
}

interface SampleFormat {
  /** 1 for integers, 3 for floats. */
  readonly formatTag: number
  /** Width of a sample. */
  readonly bits: number
  readonly littleEndian: boolean
}

function readSamples(view: DataView, start: number, end: number, format: SampleFormat): Float32Array {
  const read = sampleReader(view, format)
  const width = format.bits / 8
  const samples = new Float32Array(Math.floor((end - start) / width))
  for (let i = 0; i < samples.length; i += 1) samples[i] = read(start + i * width)
  return samples
}

function sampleReader(view: DataView, { formatTag, bits, littleEndian }: SampleFormat): (offset: number) => number {
  if (formatTag === 1 && bits === 8) return (offset) => (view.getUint8(offset) - 128) / 128
  if (formatTag === 1 && bits === 16) return (offset) => view.getInt16(offset, littleEndian) / 32_768
  if (formatTag === 1 && bits === 24) {
    const [high, low] = littleEndian ? [2, 0] : [0, 1]
    return (offset) => ((view.getInt8(offset + high) << 16) | view.getUint16(offset + low, littleEndian)) / 8_388_608
  }
  if (formatTag === 1 && bits === 32) return (offset) => view.getInt32(offset, littleEndian) / 2_147_483_648
  if (formatTag === 3 && bits === 32) return (offset) => view.getFloat32(offset, littleEndian)
  if (formatTag === 3 && bits === 64) return (offset) => view.getFloat64(offset, littleEndian)
  throw new RangeError(`WAVE format tag ${formatTag} with ${bits} bits is not supported`)
}
