import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { MediaError } from '../errors.ts'
import { HostAllowList } from './address.ts'
import { download, type DownloadOptions } from './download.ts'
import { makeSpoolDirectory, Spool } from './spool.ts'

let server: net.Server
let directory: string
let port: number
/** The server's response for each path, as raw bytes. */
const responses = new Map<string, Buffer>()

beforeAll(async () => {
  server = net.createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (request) => socket.end(responses.get(request.toString('latin1').split(' ')[1]!) ?? ''))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
  directory = await mkdtemp(join(tmpdir(), 'download-'))
})
afterAll(async () => {
  server.close()
  await rm(directory, { recursive: true, force: true })
})

const options = (): DownloadOptions => ({
  allow: new HostAllowList(['127.0.0.1', 'xn--r8jz45g.test']),
  resolve: async () => [{ address: '127.0.0.1', family: 4 }],
  timeouts: { connectMs: 10_000, idleMs: 10_000, totalMs: 60_000 },
  maxRedirects: 3,
  maxBytes: 100_000_000,
  directory,
  signal: new AbortController().signal,
})
const fetchPath = (path: string) => download(new URL(`http://127.0.0.1:${port}${path}`), options())
const body = async (path: string) => {
  await using spool = await fetchPath(path)
  const bytes = spool.bytes()
  return 'memory' in bytes ? Buffer.from(bytes.memory).toString() : readFile(bytes.path, 'utf8')
}
const codeOf = async (promise: Promise<unknown>) => {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  return error instanceof MediaError ? `${error.code}: ${error.message}` : String(error)
}
const ok = (headers: string, content = 'media') =>
  Buffer.from(`HTTP/1.1 200 OK\r\n${headers}Content-Length: ${content.length}\r\nConnection: close\r\n\r\n${content}`)

it('a server without TLS is named as the reason, without the names of OpenSSL', async () => {
  await using plain = net.createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  })
  await once(plain.listen(0, '127.0.0.1'), 'listening')
  const url = new URL(`https://127.0.0.1:${(plain.address() as AddressInfo).port}/`)
  expect(await codeOf(download(url, options()))).toBe(
    "download_failed: The media's server could not be reached: the server does not answer with TLS; try http://.",
  )
})

describe('response headers', () => {
  it.each([
    '',
    'Content-Encoding:\r\n',
    'Content-Encoding: Identity\r\n',
    'Content-Encoding: , identity\r\n',
    'Content-Encoding: aws-chunked\r\n',
    'Content-Encoding: utf-8\r\n',
  ])('%j: the body is read', async (header) => {
    responses.set('/plain', ok(header))
    expect(await body('/plain')).toBe('media')
  })

  it.each([
    ['203 Non-Authoritative Information', ''],
    ['206 Partial Content', 'Content-Range: bytes 0-4/5\r\n'],
  ])('status %s: the body is read', async (status, header) => {
    responses.set('/status', Buffer.from(ok(header).toString().replace('200 OK', status)))
    expect(await body('/status')).toBe('media')
  })

  it.each(['bytes 0-4/9', 'bytes 4-8/9', 'bytes 0-4/*', ''])(
    'status 206 with the range %j is refused',
    async (range) => {
      responses.set('/part', Buffer.from(ok(`Content-Range: ${range}\r\n`).toString().replace('200 OK', '206 Partial')))
      expect(await codeOf(fetchPath('/part'))).toMatch(/^download_failed: .*206: with a part/)
    },
  )

  it.each(['gzip', 'x-gzip', 'br', 'deflate', 'zstd', 'identity, gzip'])(
    'content-encoding %s is refused',
    async (encoding) => {
      responses.set('/encoded', ok(`Content-Encoding: ${encoding}\r\n`))
      expect(await codeOf(fetchPath('/encoded'))).toMatch(/^download_failed: .*content-encoding/)
    },
  )

  it('the content type of a web page is refused even if the bytes are media', async () => {
    responses.set('/page', ok('Content-Type: text/html\r\n', '\x89PNG\r\n\x1a\n'))
    expect(await codeOf(fetchPath('/page'))).toMatch(/^wrong_content_type: .*text\/html.*data URI/)
  })

  it.each([
    ['UTF-8', Buffer.from('/été/日本 語.png'), '/%C3%A9t%C3%A9/%E6%97%A5%E6%9C%AC%20%E8%AA%9E.png'],
    ['Latin-1', Buffer.from('/caf\xe9', 'latin1'), '/caf%E9'],
    ['percent encoding', Buffer.from('/a%20b?c=%C3%A9'), '/a%20b?c=%C3%A9'],
  ])('a redirect in %s is followed', async (_name, location, path) => {
    responses.set(
      '/from',
      Buffer.concat([
        Buffer.from('HTTP/1.1 302 Found\r\nLocation: '),
        location,
        Buffer.from('\r\nContent-Length: 0\r\n\r\n'),
      ]),
    )
    responses.set(
      path.replace(/%[0-9a-f]{2}/gi, (escape) => escape.toLowerCase()),
      ok(''),
    )
    responses.set(path, ok(''))
    expect(await body('/from')).toBe('media')
  })

  it('a redirect to a host name in UTF-8 is followed', async () => {
    responses.set(
      '/idn',
      Buffer.from(`HTTP/1.1 302 Found\r\nLocation: http://例え.test:${port}/there\r\nContent-Length: 0\r\n\r\n`),
    )
    responses.set('/there', ok(''))
    expect(await body('/idn')).toBe('media')
  })
})

describe('shortages of the machine', () => {
  const large = 'x'.repeat(9 * 1024 * 1024)

  it('a full disk is reported, and no file is left', async () => {
    responses.set('/large', ok('', large))
    const probe = await open(join(directory, 'probe'), 'w')
    const write = vi.spyOn(Object.getPrototypeOf(probe) as typeof probe, 'writeFile')
    await probe.close()
    await rm(join(directory, 'probe'))
    write.mockRejectedValue(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }))
    expect(await codeOf(fetchPath('/large'))).toMatch(/^overloaded: .*disk.*full \(ENOSPC\)/)
    write.mockRestore()
    expect(await readdir(directory)).toEqual([])
    expect(await body('/large')).toHaveLength(large.length)
    expect(await readdir(directory)).toEqual([])
  })

  it('a temporary folder that was removed is created again', async () => {
    responses.set('/large', ok('', large))
    await rm(directory, { recursive: true })
    expect(await body('/large')).toHaveLength(large.length)
  })

  it('a temporary folder that cannot be created is reported', async () => {
    expect(await codeOf(makeSpoolDirectory(join(directory, 'not', 'there')))).toMatch(
      /^overloaded: .*folder is missing/,
    )
    await using spool = new Spool('/dev/null/no', 1)
    await expect(spool.write(Buffer.alloc(2))).rejects.toMatchObject({ code: 'ENOTDIR' })
  })

  it.skipIf(process.platform === 'win32')(
    'a lack of file descriptors is reported, and the next request succeeds',
    async () => {
      const script = `
      import { openSync, closeSync } from 'node:fs'
      import { createMediaLoader } from './src/media/index.ts'
      const loader = createMediaLoader({ workers: 1, allowHosts: ['127.0.0.1'] })
      const gif = 'data:;base64,${Buffer.from('GIF89a').toString('base64')}'
      const code = (promise) => promise.then(() => 'none', (error) => error.code + (error.message.includes('EMFILE') ? ' EMFILE' : ''))
      await import('node:dns/promises')
      const held = []
      try { for (;;) held.push(openSync('/dev/null', 'r')) } catch {}
      const out = [await code(loader.audio('http://127.0.0.1:${port}/wav')), await code(loader.image(gif))]
      for (const fd of held) closeSync(fd)
      out.push(await code(loader.audio('http://127.0.0.1:${port}/wav')), loader.status().workers, loader.status().downloads)
      await loader[Symbol.asyncDispose]()
      process.stdout.write(JSON.stringify(out))`
      const tone = await readFile(new URL('../../../testdata/media/tone.wav', import.meta.url))
      responses.set(
        '/wav',
        Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${tone.length}\r\n\r\n`), tone]),
      )
      const root = fileURLToPath(new URL('../../../', import.meta.url))
      const command = `ulimit -n 128 && exec "$0" --no-warnings --input-type=module -e "$1"`
      const child = spawn('sh', ['-c', command, process.execPath, script], {
        cwd: root,
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const out: Buffer[] = []
      child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
      await once(child, 'close')
      expect(JSON.parse(Buffer.concat(out).toString())).toEqual([
        'overloaded EMFILE',
        'overloaded EMFILE',
        'none',
        1,
        0,
      ])
    },
  )
})
