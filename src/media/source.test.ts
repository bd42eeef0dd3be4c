import { describe, expect, it } from 'vitest'
import { MediaError } from './errors.ts'
import { parseSource } from './source.ts'

const codeOf = (source: string, max = 1000) => {
  try {
    parseSource(source, max)
    return 'none'
  } catch (error) {
    return error instanceof MediaError ? error.code : String(error)
  }
}

describe('media sources', () => {
  it.each([
    ['data:;base64,AQID', [1, 2, 3]],
    ['data:audio/wav;base64,AQID', [1, 2, 3]],
    ['data:image/svg+xml;charset=utf-8;base64,AQ==', [1]],
    ['data:audio/mp3;codecs="a,b";base64,AQI', [1, 2]],
    ['data:;base64,AQ\nID', [1, 2, 3]],
    ['DATA:;BASE64,_-8=', [0xff, 0xef]],
    ['data:;base64,', []],
    ['data:audio/webm; codecs=opus;base64,AQID', [1, 2, 3]],
    ['data:video/webm;codecs=vp8,opus;base64,AQID', [1, 2, 3]],
    ['data:video/webm; codecs="vp8, opus" ; base64 ,AQID', [1, 2, 3]],
    ['data:video/mp4;codecs="avc1.42E01E;x=\\"y\\", mp4a.40.2";base64,AQID', [1, 2, 3]],
    ['data:audio/wav;name=a%20b;charset=utf-8;base64,AQID', [1, 2, 3]],
    ['data:audio/wav;name=my file, final.wav;base64,AQID', [1, 2, 3]],
    ['data:audio/ogg;rate;base64,AQID', [1, 2, 3]],
    ['data: audio/wav;base64,AQID', [1, 2, 3]],
    ['data:image/*;base64,AQID', [1, 2, 3]],
    ['data:None;base64,AQID', [1, 2, 3]],
    ['data:audio/wav;name="a;base64,b";base64,AQID', [1, 2, 3]],
    ['data:;base64, AQ\tID', [1, 2, 3]],
    ['data:;base64,%2B/8%3D', [0xfb, 0xff]],
    ['data:;base64,AQ\r\n  ID\n', [1, 2, 3]],
  ])('accepts %j', (uri, bytes) => {
    const source = parseSource(uri, 1000)
    expect(source.kind === 'data' && [...source.bytes]).toEqual(bytes)
  })

  it('names the fault in base64', () => {
    expect(() => parseSource('data:;base64,AA A', 1000)).toThrow(/`\+`/)
    expect(() => parseSource('data:;base64,AAAAA', 1000)).toThrow(/wrong length \(5 characters\)/)
    expect(() => parseSource('data:;base64,AA*A', 1000)).toThrow(/"\*"/)
  })

  it('accepts an https URL', () => {
    const source = parseSource('https://example.com/a.png?sig=%2B', 1000)
    expect(source.kind === 'url' && source.url.href).toBe('https://example.com/a.png?sig=%2B')
  })

  it.each([
    'UklGRiQAAABXQVZFZm10',
    'data:audio/wav,abc',
    'data:;base64,a*b=',
    'data:;base64,=AAA',
    'data:audio/wav,a;base64x,AQID',
    'data:audio/wav;base64AQID',
    'data:audio/wav;base64,AQI D',
    'data:;base64,A',
    'data:;base64,AQIDA',
    'data:;base64,AQ=',
    'data:;base64,AQID=',
    'data:;base64,AQ===',
    'data:;base64,AQ==AQ==',
    'data:;base64,AQ%20D',
    'file:///etc/passwd',
    'ftp://example.com/a.png',
    'http://user:secret@example.com/a.png',
    'concat:a.mp3|b.mp3',
    '/etc/passwd',
    '',
    'A'.repeat(100_000),
  ])('refuses %.40s', (source) => {
    expect(codeOf(source)).toBe('url_invalid')
  })

  it.each([
    ['http://127.0.0.1:99999/a.png', 'The URL cannot be parsed: check its host and port.'],
    ['https://exa mple.com/a.png', 'The URL cannot be parsed: check its host and port.'],
    [`http://a.com/${'a'.repeat(9000)}`, 'The URL has 9013 characters; at most 8192 are accepted.'],
    ['iVBORw0KGgo=', 'Base64 needs the prefix `data:;base64,`.'],
  ])('says what is wrong with %.40s', (source, reason) => {
    expect(() => parseSource(source, 1_000_000)).toThrow(reason)
  })

  it('limits the length of the whole data URI', () => {
    const uri = `data:;base64,${'A'.repeat(87)}`
    expect(codeOf(uri, 100)).toBe('none')
    expect(codeOf(`${uri}A`, 100)).toBe('data_uri_too_large')
  })

  it('does not repeat a password in its message', () => {
    expect(() => parseSource('http://user:secret@example.com/', 1000)).not.toThrow(/secret/)
  })
})
