import { expect, it } from 'vitest'
import { fc } from '../../testing/property.ts'
import { MediaError } from './errors.ts'
import { parseSource } from './source.ts'

const limit = 1_000_000
const bytes = fc.uint8Array({ maxLength: 200 })

function bytesOf(source: string): Buffer {
  const parsed = parseSource(source, limit)
  if (parsed.kind !== 'data') throw new Error('not read as data')
  return parsed.bytes
}

it('decodes any data URI: both alphabets, with or without padding and line breaks', () => {
  const types = fc.constantFrom('', 'image/png', 'audio/x-wav', 'application/vnd.a+b', 'VIDEO/MP4')
  const parameters = fc.constantFrom('', ';charset=utf-8', ';codecs=vp8,opus', '; codecs="vp8, opus"', ';a=b;c=d')
  const forms = fc.record({
    urlSafe: fc.boolean(),
    padded: fc.boolean(),
    escaped: fc.boolean(),
    lineLength: fc.option(fc.integer({ min: 1, max: 76 })),
    lineEnd: fc.constantFrom('\n', '\r\n', '\n  '),
    marker: fc.constantFrom(';base64,', '; base64,', ';BASE64,'),
  })
  fc.assert(
    fc.property(bytes, types, parameters, forms, (data, type, parameter, form) => {
      let payload = Buffer.from(data).toString('base64')
      if (!form.padded) payload = payload.replace(/=+$/, '')
      if (form.urlSafe) payload = payload.replaceAll('+', '-').replaceAll('/', '_')
      if (form.lineLength !== null)
        payload = payload.replace(new RegExp(`.{${form.lineLength}}`, 'g'), `$&${form.lineEnd}`)
      if (form.escaped) payload = payload.replace(/[+/=]/g, encodeURIComponent)
      expect(bytesOf(`data:${type}${parameter}${form.marker}${payload}`)).toEqual(Buffer.from(data))
    }),
  )
})

it('refuses a payload with a missing or invalid character', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 60 }),
      fc.nat(),
      fc.constantFrom(' ', '!', '.', '"', 'é'),
      (data, at, invalid) => {
        const payload = Buffer.from(data).toString('base64')
        const position = at % payload.length
        expect(() =>
          bytesOf(`data:;base64,${payload.slice(0, position)}${invalid}x${payload.slice(position)}`),
        ).toThrow(MediaError)
        if (data.length % 3 === 1) expect(() => bytesOf(`data:;base64,${payload.slice(0, -3)}`)).toThrow(MediaError)
      },
    ),
  )
})

it('returns a source or throws a MediaError for any text', () => {
  const prefixed = fc.tuple(
    fc.constantFrom('data:', 'data:;base64,', 'DATA:a/b;', 'http://', 'https://[', 'ftp://'),
    fc.string({ unit: 'binary' }),
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        prefixed.map((parts) => parts.join('')),
        fc.webUrl(),
      ),
      (text) => {
        try {
          expect(['url', 'data']).toContain(parseSource(text, limit).kind)
        } catch (error) {
          expect(error).toBeInstanceOf(MediaError)
        }
      },
    ),
  )
})
