import { expect, it } from 'vitest'
import { fc } from '../../testing/property.ts'
import { decodeWav, encodeWav } from './wav.ts'

const samples = fc.int16Array({ maxLength: 60 })
const rates = fc.integer({ min: 1, max: 192_000 })

/** A RIFF chunk, padded to an even length. */
function chunk(name: string, body: Uint8Array): Buffer {
  const head = Buffer.alloc(8)
  head.write(name.padEnd(4).slice(0, 4), 0, 'latin1')
  head.writeUInt32LE(body.length, 4)
  return Buffer.concat([head, body, Buffer.alloc(body.length % 2)])
}

it('reads what it wrote, with other chunks before the samples', () => {
  const others = fc.array(fc.tuple(fc.constantFrom('LIST', 'fact', 'bext', 'id3 '), fc.uint8Array({ maxLength: 9 })))
  fc.assert(
    fc.property(samples, rates, fc.integer({ min: 1, max: 8 }), others, (pcm, rate, channels, between) => {
      const whole = pcm.subarray(0, pcm.length - (pcm.length % channels))
      const file = Buffer.from(encodeWav(whole, rate, channels))
      const padding = between.map(([name, body]) => chunk(name, body))
      const read = decodeWav(
        Buffer.concat([file.subarray(0, 12), ...padding, file.subarray(12, 36), ...padding, file.subarray(36)]),
      )
      expect(read).toMatchObject({ sampleRate: rate, channels, bitsPerSample: 16 })
      expect([...read.samples]).toEqual([...whole].map((sample) => sample / 32_768))
    }),
  )
})

it('clips floats, and turns NaN into silence', () => {
  fc.assert(
    fc.property(fc.float32Array({ maxLength: 40 }), (floats) => {
      const expected = [...floats].map((value) => Math.max(-1, Math.min(1, Number.isNaN(value) ? 0 : value)))
      const read = [...decodeWav(encodeWav(floats, 8000)).samples]
      for (const [i, value] of expected.entries()) expect(Math.abs(read[i]! - value)).toBeLessThanOrEqual(2 / 32_768)
    }),
  )
})

it('reads or refuses a file with a damaged header, within its bounds', () => {
  const damage = fc.array(fc.tuple(fc.nat(43), fc.nat(255)), { minLength: 1, maxLength: 6 })
  fc.assert(
    fc.property(samples, damage, fc.nat(200), (pcm, changes, length) => {
      const file = encodeWav(pcm, 16_000)
      for (const [at, value] of changes) file[at] = value
      const given = file.slice(0, length)
      try {
        const read = decodeWav(given)
        expect(read.samples.length * (read.bitsPerSample / 8)).toBeLessThanOrEqual(given.length)
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError)
      }
    }),
  )
})
