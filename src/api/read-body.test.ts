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
