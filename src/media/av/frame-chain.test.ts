import { describe, expect, it } from 'vitest'
import { makeMedia } from '../../../testing/make-media.ts'
import { openByteSource } from './bytes.ts'
import { lastFrameEnd } from './frame-chain.ts'

const endOf = (memory: Buffer) => lastFrameEnd(openByteSource({ memory }))

describe('bare audio frames', () => {
  it.each([
    ['adts', 'aac', 44_100],
    ['ac3', 'ac3', 44_100],
    ['ac3', 'ac3', 48_000],
    ['eac3', 'eac3', 48_000],
    ['mp2', 'mp2', 44_100],
    ['mp2', 'mp2', 22_050],
  ])('%s of %s at %d Hz end at the end of the file', (container, codec, rate) => {
    const audio = { codec, rate, tones: [{ start: 0, seconds: 2, hz: 440 }] }
    const file = makeMedia({ container, tracks: [{ audio }] })
    expect(endOf(file)).toBe(file.length)
    expect(endOf(file.subarray(0, -20))).toBe(file.length)
    const tag = Buffer.concat([Buffer.from('ID3\x04\0\0\0\0\0\x05'), Buffer.alloc(5)])
    expect(endOf(Buffer.concat([tag, file.subarray(0, -20)]))).toBe(tag.length + file.length)
    expect(endOf(Buffer.concat([file, Buffer.from('TAG')]))).toBeUndefined()
  })

  it.each([
    ['#!AMR\n', 0x3c, 32],
    ['#!AMR-WB\n', 0x44, 61],
  ])('%j frames end at the end of the file', (header, type, bytes) => {
    const frame = Buffer.alloc(bytes)
    frame[0] = type
    const file = Buffer.concat([Buffer.from(header), ...Array.from({ length: 50 }, () => frame)])
    expect(endOf(file)).toBe(file.length)
    expect(endOf(file.subarray(0, -5))).toBe(file.length)
  })

  it('are not found in other data', () => {
    expect(endOf(Buffer.alloc(1000, 0x55))).toBeUndefined()
    expect(endOf(Buffer.from([0xff]))).toBeUndefined()
  })
})
