import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { nameServerResolver, systemResolver } from './resolve.ts'

const never = new AbortController().signal
let answeringServer: Socket
let silentServer: Socket
let directory: string
let hostsFile: string

/** A name server with `media.test` (both families) and `four.test` (IPv4 only); other names do not exist. */
function reply(question: Buffer): Buffer {
  let end = 12
  while (question[end] !== 0) end += question[end]! + 1
  const name = question.toString('latin1', 13, end)
  const type = question.readUInt16BE(end + 1)
  const known = name.startsWith('media') || name.startsWith('four')
  const data =
    type === 1 && known
      ? Buffer.from([203, 0, 113, 7])
      : type === 28 && name.startsWith('media')
        ? Buffer.from('20010db8000000000000000000000007', 'hex')
        : undefined
  const header = Buffer.from(question.subarray(0, 12))
  header.writeUInt16BE(known ? 0x8180 : 0x8183, 2)
  header.writeUInt16BE(data === undefined ? 0 : 1, 6)
  header.writeUInt32BE(0, 8)
  const questionSection = question.subarray(12, end + 5)
  if (data === undefined) return Buffer.concat([header, questionSection])
  const record = Buffer.alloc(12)
  record.writeUInt16BE(0xc00c, 0)
  record.writeUInt16BE(type, 2)
  record.writeUInt16BE(1, 4)
  record.writeUInt32BE(60, 6)
  record.writeUInt16BE(data.length, 10)
  return Buffer.concat([header, questionSection, record, data])
}

const addressOf = (socket: Socket) => `127.0.0.1:${(socket.address() as AddressInfo).port}`

beforeAll(async () => {
  answeringServer = createSocket('udp4', (question, from) =>
    answeringServer.send(reply(question), from.port, from.address),
  )
  silentServer = createSocket('udp4')
  for (const socket of [answeringServer, silentServer]) socket.bind(0, '127.0.0.1')
  await Promise.all([once(answeringServer, 'listening'), once(silentServer, 'listening')])
  directory = await mkdtemp(join(tmpdir(), 'resolve-'))
  hostsFile = join(directory, 'hosts')
  await writeFile(hostsFile, '# comment\n198.51.100.4 listed.test other.test # more\nfd00::4\tLISTED.test\n')
})
afterAll(async () => {
  answeringServer.close()
  silentServer.close()
  await rm(directory, { recursive: true })
})

describe('the resolver that queries name servers', () => {
  it('returns addresses of both families, or of the only one', async () => {
    const resolve = nameServerResolver({ servers: [addressOf(answeringServer)], hostsFile })
    expect(await resolve('media.test', never)).toEqual([
      { address: '203.0.113.7', family: 4 },
      { address: '2001:db8::7', family: 6 },
    ])
    expect(await resolve('four.test', never)).toEqual([{ address: '203.0.113.7', family: 4 }])
  })

  it('rejects a name that does not exist', async () => {
    const resolve = nameServerResolver({ servers: [addressOf(answeringServer)], hostsFile })
    await expect(resolve('nowhere.test', never)).rejects.toMatchObject({ code: 'ENOTFOUND' })
  })

  it('reads the hosts file first and resolves localhost', async () => {
    const resolve = nameServerResolver({ servers: [addressOf(silentServer)], hostsFile })
    expect(await resolve('Listed.test.', never)).toEqual([
      { address: '198.51.100.4', family: 4 },
      { address: 'fd00::4', family: 6 },
    ])
    expect((await resolve('a.localhost', never)).map(({ address }) => address)).toEqual(['127.0.0.1', '::1'])
  })

  it('ends when aborted if the server never answers, and delays no other lookup', async () => {
    const stop = new AbortController()
    const stuck = nameServerResolver({ servers: [addressOf(silentServer)], hostsFile })
    const results = Promise.allSettled(Array.from({ length: 20 }, (_, i) => stuck(`stuck${i}.test`, stop.signal)))
    const free = nameServerResolver({ servers: [addressOf(answeringServer)], hostsFile })
    expect(await free('media.test', never)).toHaveLength(2)
    expect(await readFile(hostsFile, 'utf8')).toContain('listed.test')
    stop.abort()
    expect((await results).map(({ status }) => status)).toEqual(Array(20).fill('rejected'))
  })

  it('does not start if the signal is already aborted', async () => {
    const aborted = AbortSignal.abort()
    await expect(
      nameServerResolver({ servers: [addressOf(answeringServer)], hostsFile })('media.test', aborted),
    ).rejects.toThrow()
    await expect(systemResolver('localhost', aborted)).rejects.toThrow()
  })
})

it('lookups by the system wait in a queue when there are more than may run at once', async () => {
  const stop = new AbortController()
  const running = Array.from({ length: 6 }, () => systemResolver('localhost', never))
  const aborted = systemResolver('localhost', stop.signal)
  stop.abort()
  await expect(aborted).rejects.toThrow()
  const answers = await Promise.all(running)
  expect(answers.every((answer) => answer.length > 0)).toBe(true)
  expect((await systemResolver('localhost', never)).length).toBeGreaterThan(0)
})
