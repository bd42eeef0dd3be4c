/**
 * RIFF/WAVE files, written and read without any library, for the command line and tests.
 *
 * Reads 8, 16, 24 and 32-bit integers and 32 and 64-bit floats, plain or extensible, RIFF or RIFX (big-endian). Samples
 * are as wide as their container, whatever number of its bits is used. For untrusted files use the media loader
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

/** @throws RangeError when the file is cut off, is no WAVE file, or holds a coding other than integers and floats */
export function decodeWav(file: Uint8Array): WavFile {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const tag = (at: number) => String.fromCharCode(...file.subarray(at, at + 4))
  const little = tag(0) === 'RIFF'
  if (file.length < 12 || !(little || tag(0) === 'RIFX') || tag(8) !== 'WAVE') throw new RangeError('not a WAVE file')
  let format: (Coding & { channels: number; sampleRate: number }) | undefined
  for (let at = 12; at + 8 <= file.length;) {
    const name = tag(at)
    const size = view.getUint32(at + 4, little)
    const start = at + 8
    if (name === 'fmt ') {
      const code = view.getUint16(start, little)
      const channels = view.getUint16(start + 2, little)
      format = {
        code: code === 0xfffe ? view.getUint32(start + 24, little) : code,
        channels,
        sampleRate: view.getUint32(start + 4, little),
        bits: (view.getUint16(start + 12, little) / channels) * 8,
        little,
      }
    } else if (name === 'data') {
      if (format === undefined) throw new RangeError('WAVE data before its format')
      const end = Math.min(file.length, start + size) // 0xffffffff: a stream's header
      const { channels, sampleRate, bits } = format
      return { sampleRate, channels, bitsPerSample: bits, samples: readSamples(view, start, end, format) }
    }
    at = start + size + (size % 2)
  }
  throw new RangeError('WAVE file without data')
}

interface Coding {
  /** 1 for integers, 3 for floats. */
  readonly code: number
  /** Of a sample's container. */
  readonly bits: number
  readonly little: boolean
}

function readSamples(view: DataView, start: number, end: number, format: Coding): Float32Array {
  const read = sampleReader(view, format)
  const width = format.bits / 8
  const samples = new Float32Array(Math.floor((end - start) / width))
  for (let i = 0; i < samples.length; i += 1) samples[i] = read(start + i * width)
  return samples
}

function sampleReader(view: DataView, { code, bits, little }: Coding): (at: number) => number {
  if (code === 1 && bits === 8) return (at) => (view.getUint8(at) - 128) / 128
  if (code === 1 && bits === 16) return (at) => view.getInt16(at, little) / 32_768
  if (code === 1 && bits === 24) {
    const [high, low] = little ? [2, 0] : [0, 1]
    return (at) => ((view.getInt8(at + high) << 16) | view.getUint16(at + low, little)) / 8_388_608
  }
  if (code === 1 && bits === 32) return (at) => view.getInt32(at, little) / 2_147_483_648
  if (code === 3 && bits === 32) return (at) => view.getFloat32(at, little)
  if (code === 3 && bits === 64) return (at) => view.getFloat64(at, little)
  throw new RangeError(`WAVE coding ${code} with ${bits} bits is not read`)
}
