/**
 * Files for the browser tests, made by formula: speech-like audio, images.
 */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import sharp from 'sharp'

/** A WAV of syllables: a voiced buzz of falling pitch, with pauses, so that noise suppression takes it for speech. */
export function syllables(seconds: number, sampleRate: number): Buffer {
  const count = Math.round(seconds * sampleRate)
  const wav = Buffer.alloc(44 + count * 2)
  wav.write('RIFF', 0)
  wav.writeUInt32LE(36 + count * 2, 4)
  wav.write('WAVEfmt ', 8)
  wav.writeUInt32LE(16, 16)
  wav.writeUInt16LE(1, 20)
  wav.writeUInt16LE(1, 22)
  wav.writeUInt32LE(sampleRate, 24)
  wav.writeUInt32LE(sampleRate * 2, 28)
  wav.writeUInt16LE(2, 32)
  wav.writeUInt16LE(16, 34)
  wav.write('data', 36)
  wav.writeUInt32LE(count * 2, 40)
  let phase = 0
  for (let index = 0; index < count; index += 1) {
    const time = index / sampleRate
    const within = time % 0.35
    const loud = within < 0.24 ? Math.sin((Math.PI * within) / 0.24) : 0
    phase += (2 * Math.PI * (150 - 60 * within)) / sampleRate
    let value = 0
    for (let harmonic = 1; harmonic <= 16; harmonic += 1) value += Math.sin(phase * harmonic) / harmonic
    wav.writeInt16LE(Math.round(value * loud * 9000), 44 + index * 2)
  }
  return wav
}

/** A temporary folder, and files in it. */
export function temporaryFile(name: string, bytes: Uint8Array): string {
  const file = path.join(mkdtempSync(path.join(tmpdir(), 'omniserve-browser-')), name)
  writeFileSync(file, bytes)
  return file
}

/** A plain image; `noisy` ones do not compress. */
export async function testImage(
  width: number,
  height: number,
  options: { noisy?: boolean; format?: 'png' | 'jpeg' } = {},
): Promise<Buffer> {
  const format = options.format ?? 'png'
  if (options.noisy === true) {
    const raw = Buffer.alloc(width * height * 3)
    let state = 1
    for (let index = 0; index < raw.length; index += 1) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      raw[index] = state >>> 24
    }
    return sharp(raw, { raw: { width, height, channels: 3 } })
      .toFormat(format, { compressionLevel: 0 })
      .toBuffer()
  }
  return sharp({ create: { width, height, channels: 3, background: '#2a7' } })
    .toFormat(format)
    .toBuffer()
}
