import { expect, it } from 'vitest'
import { fc } from '../../../testing/property.ts'
import { AudioPieces } from './audio-pieces.ts'

it('gives pieces that join as one Base64 text and decode one by one to the samples, whatever sizes come in', () => {
  const sizes = fc.array(fc.oneof(fc.nat(20), fc.nat(20_000)), { maxLength: 8 })
  fc.assert(
    fc.property(sizes, fc.integer(), (lengths, seed) => {
      const cutter = new AudioPieces()
      const given: Int16Array[] = []
      const pieces: string[] = []
      for (const [index, length] of lengths.entries()) {
        const samples = Int16Array.from({ length }, (_, at) => Math.imul(at + 1, seed + index))
        given.push(samples)
        pieces.push(...cutter.push(samples))
      }
      pieces.push(...cutter.end())
      const all = Buffer.concat(given.map(({ buffer }) => new Uint8Array(buffer)))
      expect(cutter.samples).toBe(all.length / 2)
      expect(Buffer.from(pieces.join(''), 'base64').equals(all)).toBe(true)
      const decoded = pieces.map((piece) => Buffer.from(piece, 'base64'))
      expect(Buffer.concat(decoded).equals(all)).toBe(true)
      for (const [i, piece] of pieces.entries()) {
        expect(piece.length).toBeGreaterThan(0)
        expect(decoded[i]!.length % 2).toBe(0)
        if (i < pieces.length - 1) expect(piece).not.toContain('=')
      }
      expect([...cutter.end()]).toEqual([])
    }),
  )
})
