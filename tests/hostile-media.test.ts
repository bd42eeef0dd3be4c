/**
 * Hostile media against the whole media loader: every case gets its error or is served, decoder processes never outlive
 * their limits, no forbidden address is reached, and memory is freed.
 *
 * `OMNISERVE_HOSTILE_REQUESTS=2000` makes the last test as long as the documented limit.
 */
import { readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MediaError, type MediaKind, type Resolver } from '../src/media/index.ts'
import { createDecodingLoader, type DecodingLoader } from '../testing/decode-at-once.ts'

import { until } from '../testing/until.ts'
import { type HostileFile, hostileFiles } from './hostile-media-corpus.ts'
import { type HostileServers, startHostileServers, startRawServer } from './hostile-media-servers.ts'
import { soakMedia } from './hostile-media-soak.ts'

const corpus = hostileFiles('http://127.0.0.1:1/bait')
const toUri = ({ bytes }: HostileFile) => `data:;base64,${bytes.toString('base64')}`

let servers: HostileServers
let loader: DecodingLoader
/** With short timeouts. */
let hasty: DecodingLoader
let directory: string
const asked: string[] = []
const table: Record<string, string[][]> = {}

/** Answers from a table; each query takes the next answer, the last one repeats. */
const resolve: Resolver = async (hostname) => {
  asked.push(hostname)
  const answers = table[hostname] ?? [[]]
  const answer = answers.length > 1 ? answers.shift()! : answers[0]!
  return answer.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
}

beforeAll(async () => {
  servers = await startHostileServers(new Map(corpus.map((file) => [encodeURIComponent(file.name), file.bytes])))
  directory = await mkdtemp(join(tmpdir(), 'hostile-'))
  const patience = { connectMs: 60_000, idleMs: 60_000, totalMs: 60_000 }
  const options = { workers: 2, allowHosts: [servers.hostPort], temporaryDirectory: directory, resolve }
  loader = createDecodingLoader({ ...options, downloadTimeouts: patience, decodeTimeoutMs: 60_000 })
  hasty = createDecodingLoader({ ...options, downloadTimeouts: { connectMs: 400, idleMs: 300, totalMs: 1200 } })
})
afterAll(async () => {
  await loader[Symbol.asyncDispose]()
  await hasty[Symbol.asyncDispose]()
  await servers[Symbol.asyncDispose]()
  await rm(directory, { recursive: true, force: true })
})

const load = (kind: MediaKind, source: string, limits = {}): Promise<unknown> => {
  if (kind === 'image') return loader.image(source, limits)
  return kind === 'audio' ? loader.audio(source, limits) : loader.video(source, limits)
}
/** `none`, or the code; any other error fails the test. */
const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise
    return 'none'
  } catch (error) {
    if (error instanceof MediaError) return error.code
    throw error
  }
}

describe('hostile files', () => {
  it.each(corpus)('$name', async (file) => {
    const code = await codeOf(load(file.kind, toUri(file)))
    expect(file.codes, `${file.name} got ${code}`).toContain(code)
  })

  it('samples that are not numbers become silence, with a warning', async () => {
    const { pcm, warnings } = await loader.audio(toUri(corpus.find(({ name }) => name === 'NaN samples')!))
    expect(pcm.samples.every((sample) => Number.isFinite(sample) && Math.abs(sample) <= 1)).toBe(true)
    expect(warnings.join()).toMatch(/not finite/)
  })

  it('are refused by their headers, within little memory', async () => {
    const bombs = corpus.filter(
      ({ name, kind, codes }) => kind === 'image' && name.startsWith('bomb') && codes[0] === 'image_dimensions',
    )
    await using small = createDecodingLoader({ workers: 1, decodeMemoryBytes: 256 * 1024 ** 2 })
    for (const file of bombs) expect(await codeOf(small.image(toUri(file))), file.name).toBe('image_dimensions')
  })
})

describe('hostile servers', () => {
  const at = (path: string) => `${servers.origin}${path}`

  it.each([
    ['/status/404', 'not_found'],
    ['/status/410', 'not_found'],
    ['/status/401', 'unauthorized'],
    ['/status/403', 'unauthorized'],
    ['/status/500', 'download_failed'],
    ['/status/204', 'download_failed'],
    ['/status/304', 'download_failed'],
    ['/type/text/html', 'wrong_content_type'],
    ['/type/application/json', 'wrong_content_type'],
    ['/loop/0', 'download_failed'],
    ['/redirect?to=ftp://example.com/', 'url_invalid'],
    ['/redirect?to=file:///etc/passwd', 'url_invalid'],
    ['/redirect?to=http://[', 'download_failed'],
    ['/redirect?to=data:;base64,AAAA', 'url_invalid'],
    ['/huge', 'too_large'],
    ['/short', 'download_failed'],
    ['/gzip', 'download_failed'],
  ])('%s is %s', async (path, code) => {
    expect(await codeOf(loader.image(at(path)))).toBe(code)
  })

  it.each(['/mute', '/silent', '/dribble'])('%s is given up', async (path) => {
    expect(await codeOf(hasty.image(at(path)))).toBe('download_timeout')
  })

  it('an endless response is cut off at its first bytes or at the limit', async () => {
    const before = servers.endlessBytes()
    expect(await codeOf(loader.image(at('/endless/nothing')))).toBe('image_illegal')
    expect(servers.endlessBytes() - before).toBeLessThan(8_000_000)
    const file = encodeURIComponent('png 11 x 11')
    expect(await codeOf(loader.image(at(`/endless/${file}`), { maxBytes: 1_000_000 }))).toBe('too_large')
    expect(servers.endlessBytes() - before).toBeLessThan(20_000_000)
  })

  it('large files are stored on disk and deleted afterwards', async () => {
    const code = await codeOf(loader.audio(at('/endless/nothing'), { maxBytes: 20_000_000 }))
    expect(['too_large', 'download_timeout']).toContain(code)
    const left = readdirSync(directory).flatMap((name) => readdirSync(join(directory, name)))
    expect(left).toEqual([])
  })

  it('closed, refused and invalid responses', async () => {
    await using raw = await startRawServer(Buffer.from('HTTP/9.9 what\r\n\r\n'))
    await using flood = await startRawServer(Buffer.from(`HTTP/1.1 200 OK\r\nx: ${'a'.repeat(100_000)}\r\n\r\n`))
    await using own = createDecodingLoader({ allowHosts: ['127.0.0.1'], downloadTimeouts: { connectMs: 60_000 } })
    for (const port of [raw.port, flood.port, 1]) {
      // oxlint-disable-next-line no-await-in-loop -- a handful
      expect(await codeOf(own.image(`http://127.0.0.1:${port}/`))).toBe('download_failed')
    }
  })

  it('a disconnected caller frees the connection', async () => {
    const leave = new AbortController()
    const waiting = codeOf(loader.image(at('/dribble'), {}, leave.signal))
    await until(() => servers.open() > 0)
    leave.abort()
    expect(await waiting).toBe('aborted')
    await until(() => servers.open() === 0)
  })
})

describe('addresses', () => {
  it.each([
    'http://127.0.0.1:PORT/',
    'http://localhost.test:PORT/',
    'http://2130706433:PORT/',
    'http://0x7f.0.0.1:PORT/',
    'http://0177.0.0.1:PORT/',
    'http://127.1:PORT/',
    'http://0:PORT/',
    'http://[::1]:PORT/',
    'http://[::ffff:127.0.0.1]:PORT/',
    'http://[64:ff9b::7f00:1]:PORT/',
    'http://169.254.169.254/latest/meta-data/',
    'http://100.100.100.200/latest/meta-data/',
    'http://metadata.test/',
    'http://mapped.test/',
    'https://10.0.0.1/',
  ])('%s is forbidden, directly and behind a redirect', async (template) => {
    table['localhost.test'] = [['127.0.0.1']]
    table['metadata.test'] = [['169.254.169.254', 'fd00:ec2::254']]
    table['mapped.test'] = [['::ffff:127.0.0.1']]
    const url = template.replace('PORT', String(servers.forbiddenPort))
    expect(await codeOf(loader.image(url))).toBe('forbidden_host')
    expect(await codeOf(loader.audio(`${servers.origin}/redirect?to=${encodeURIComponent(url)}`))).toBe(
      'forbidden_host',
    )
    expect(servers.forbiddenHits()).toBe(0)
  })

  it('a name is resolved once, so a second answer has no effect', async () => {
    table['rebind.test'] = [['203.0.114.77'], ['127.0.0.1']]
    asked.length = 0
    const code = await codeOf(hasty.image(`http://rebind.test:${servers.forbiddenPort}/`))
    expect(['download_timeout', 'download_failed']).toContain(code)
    expect(asked).toEqual(['rebind.test'])
    expect(servers.forbiddenHits()).toBe(0)
    expect(await codeOf(loader.image(`http://rebind.test:${servers.forbiddenPort}/`))).toBe('forbidden_host')
  })

  it('an allowed name is fetched only on its port, and its redirects are checked', async () => {
    table['files.test'] = [['127.0.0.1']]
    await using own = createDecodingLoader({ allowHosts: [`files.test:${servers.port}`], resolve })
    const file = encodeURIComponent('png 11 x 11')
    const image = await own.image(`http://files.test:${servers.port}/file/${file}`)
    expect([image.width, image.height]).toEqual([11, 11])
    expect(await codeOf(own.image(`http://files.test:${servers.forbiddenPort}/`))).toBe('forbidden_host')
    const onward = encodeURIComponent(`http://127.0.0.1:${servers.port}/file/${file}`)
    expect(await codeOf(own.image(`http://files.test:${servers.port}/redirect?to=${onward}`))).toBe('forbidden_host')
  })

  it('names that do not exist, and proxies in the environment', async () => {
    expect(await codeOf(loader.image('http://nowhere.test/a.png'))).toBe('download_failed')
    process.env['HTTP_PROXY'] = `http://127.0.0.1:${servers.forbiddenPort}`
    process.env['http_proxy'] = process.env['HTTP_PROXY']
    expect(await codeOf(loader.image(`${servers.origin}/status/404`))).toBe('not_found')
    expect(servers.forbiddenHits()).toBe(0)
    delete process.env['HTTP_PROXY']
    delete process.env['http_proxy']
  })
})

it('memory is freed', { timeout: 600_000 }, async () => {
  const requests = Number(process.env['OMNISERVE_HOSTILE_REQUESTS'] ?? 300)
  const result = await soakMedia(requests)
  expect(result.unexpected).toEqual([])
  expect(result.openHandles).toBe(0)
  expect(result.liveGrowth).toBeLessThan(0.05)
  // With so few requests, compiled code is part of the growth.
  expect(result.parentGrowth).toBeLessThan(requests < 2000 ? 0.1 : 0.05)
})
