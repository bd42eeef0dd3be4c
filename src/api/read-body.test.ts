import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { BodyMemory, readJson } from './read-body.ts'

const read = async (body: string | Buffer, headers: Record<string, string> = {}) => {
  using share = new BodyMemory(1000).share()
  return await readJson(
    new Request('http://x/', { method: 'POST', body: new Uint8Array(Buffer.from(body)), headers }),
    { maxBytes: 1000, timeout: 0 },
    share,
  )
}

describe('a body with a content coding', () => {
  it.each(['gzip', 'br', 'GZIP, deflate'])('%s is refused by its name', async (coding) => {
    const reply = read(gzipSync('{}'), { 'content-encoding': coding })
    await expect(reply).rejects.toMatchObject({ status: 400 })
    await expect(reply).rejects.toThrow(`compressed (content-encoding: ${coding}); send it uncompressed`)
  })

  it.each(['identity', 'Identity', ''])('%j is none', async (coding) => {
    expect(await read('{"a":1}', { 'content-encoding': coding })).toEqual({ a: 1 })
  })
})

describe('a body that is not UTF-8', () => {
  it.each([
    ['GBK', Buffer.from('7b2261223a22c4e3bac322 7d'.replaceAll(' ', ''), 'hex')],
    ['UTF-16', Buffer.from('\ufeff{"a":1}', 'utf16le')],
  ])('%s is refused, with and without a declared size', async (_, body) => {
    for (const size of [{ 'content-length': String(body.length) }, {}] as Record<string, string>[]) {
      const reply = read(body, size)
      await expect(reply).rejects.toMatchObject({ status: 400 })
      await expect(reply).rejects.toThrow('it is not UTF-8')
    }
  })

  it('a byte order mark is no part of it', async () => {
    expect(await read('\ufeff{"a":"你"}', { 'content-length': '14' })).toEqual({ a: '你' })
    expect(await read('\ufeff{"a":"你"}')).toEqual({ a: '你' })
  })
})
