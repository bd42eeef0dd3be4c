import { AVMEDIA_TYPE_AUDIO, AVMEDIA_TYPE_VIDEO } from 'node-av/constants'
import { InputFormat } from 'node-av/lib'
import { describe, expect, it } from 'vitest'
import { allowedDecoder, audioDecoders, decoderNamed, demuxers, videoDecoders } from './formats.ts'

describe('the lists of allowed formats', () => {
  it.each([
    ['video', videoDecoders, AVMEDIA_TYPE_VIDEO],
    ['audio', audioDecoders, AVMEDIA_TYPE_AUDIO],
  ] as const)('have %s decoders that the library has', (_kind, names, type) => {
    const wrong = names.filter((name) => decoderNamed(name)?.type !== type)
    expect(wrong).toEqual([])
    expect(new Set(names).size).toBe(names.length)
  })

  it('have demuxers that the library has', () => {
    expect(demuxers.filter((name) => InputFormat.findInputFormat(name) === null)).toEqual([])
  })

  it('have a decoder for every listed codec', () => {
    for (const names of [videoDecoders, audioDecoders]) {
      const ids = names.map((name) => decoderNamed(name)!.id)
      expect(names.filter((_, i) => allowedDecoder(ids[i]!, names) === undefined)).toEqual([])
    }
  })
})
