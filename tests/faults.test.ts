/**
 * Shortages of this machine while a whole server with a real (tiny) checkpoint serves: a clear error, no leak, and the
 * next request is served. Bodies that stall are tested in wire/lifecycle.test.ts.
 */
import { execFileSync, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { Agent, createServer, request, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLocalEngine, type LocalEngine } from '../src/engines/local/local-engine.ts'
import { nameServerResolver, systemResolver } from '../src/media/fetch/resolve.ts'
import { createMediaLoader, type MediaLoader } from '../src/media/index.ts'
import { tinyCheckpoint } from '../testing/golden-conversations.ts'
import { until } from '../testing/until.ts'
import { dataUri, png } from './support/media.ts'
import { readReply } from './support/reply.ts'
import { startTestServer, type TestServer } from './support/server.ts'

/** A PNG with so much data after its end that it is kept on disk while it is decoded. */
const large = (image: Buffer): Buffer => Buffer.concat([image, Buffer.alloc(9 * 1024 * 1024)])

describe.runIf(process.platform === 'linux')('a server whose machine fails', () => {
  const root = mkdtempSync(join(tmpdir(), 'omniserve-faults-'))
  let image: Buffer
  let engine: LocalEngine
  let media: MediaLoader
  let server: TestServer
  let files: ReturnType<typeof createServer>
  let origin = ''
  /** Called when `/slow` has sent half of its file; it sends the rest when the promise is done. */
  let half: () => void | Promise<void> = () => undefined
  const mute = createSocket('udp4')

  beforeAll(async () => {
    image = await png(64, 64)
    const body = large(image)
    const send = async (url: string | undefined, response: ServerResponse): Promise<void> => {
      response.setHeader('connection', 'close')
      if (url !== '/slow') {
        response.end(url === '/large' ? body : image)
        return
      }
      response.writeHead(200, { 'content-length': body.length })
      response.write(body.subarray(0, body.length - 10_000))
      await half()
      response.end(body.subarray(body.length - 10_000))
    }
    files = createServer(({ url }, response) => void send(url, response))
    files.listen(0, '127.0.0.1')
    mute.bind(0, '127.0.0.1')
    await Promise.all([once(files, 'listening'), once(mute, 'listening')])
    const host = `127.0.0.1:${(files.address() as AddressInfo).port}`
    origin = `http://${host}`
    const nameServer = nameServerResolver({ servers: [`127.0.0.1:${mute.address().port}`] })
    media = createMediaLoader({
      allowHosts: [host],
      temporaryDirectory: root,
      workers: 1,
      resolve: (name, signal) => (name === '127.0.0.1' ? systemResolver(name, signal) : nameServer(name, signal)),
      downloadTimeouts: { connectMs: 1000 },
    })
    engine = await createLocalEngine({
      checkpoint: tinyCheckpoint('tiny-mixed'),
      threads: 1,
      maxCachedPrefixes: 0,
      restartPause: [20, 200],
    })
    server = await startTestServer({ model: 'tiny-mixed' }, undefined, {
      engines: new Map([['tiny-mixed', engine]]),
      media,
    })
    await served()
    await served(`${origin}/large`)
  })
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]()
    files.close()
    files.closeAllConnections()
    mute.close()
    rmSync(root, { recursive: true, force: true })
  })

  const chat = (url: string, init: RequestInit = {}): Promise<Response> =>
    server.chat(
      {
        model: 'qwen3-omni-flash',
        stream: true,
        max_tokens: 2,
        messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }],
      },
      { headers: { 'content-type': 'application/json', connection: 'close' }, ...init },
    )

  /** A whole reply comes. */
  async function served(url = dataUri(image)): Promise<void> {
    const response = await chat(url)
    const reply = response.status === 200 ? await readReply(response) : await response.json()
    expect([response.status, reply]).toMatchObject([200, { done: true, error: undefined }])
  }

  const filesIn = (folder: string): string[] =>
    readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) =>
      entry.isFile() ? [entry.name] : [],
    )

  /** All resources of a request: in this process, in the engine's and on disk. */
  async function held(): Promise<object> {
    const { active, waiting, nativeBytes } = await engine.inspect()
    const { workers, active: decoding, downloads, decodedBytes } = media.status()
    return {
      descriptors: readdirSync('/proc/self/fd').length,
      files: filesIn(root),
      engine: { active, waiting, nativeBytes },
      media: { workers, decoding, downloads, decodedBytes },
      server: [server.services.queue.active, server.services.bodies.held, server.services.shutdown.running],
    }
  }

  /** Runs `fault` twice, to find leaks: everything held afterwards was held before. */
  async function leavesNothing(fault: () => Promise<void>): Promise<void> {
    await fault()
    await served()
    let before = await held()
    await until(async () => JSON.stringify(before) === JSON.stringify((before = await held())))
    await fault()
    await served()
    let after = {}
    await until(async () => {
      after = await held()
      return JSON.stringify(after) === JSON.stringify(before)
    }).catch(() => undefined)
    expect(after).toEqual(before)
    expect(before).toMatchObject({
      files: [],
      media: { decoding: 0, downloads: 0, decodedBytes: 0 },
      server: [0, 0, 0],
    })
  }

  const refusal = async (response: Response) => [response.status, await response.json()]
  const says = (status: number, text: RegExp) => [status, { error: { message: expect.stringMatching(text) as string } }]

  it('temporary folder deleted between requests: it is created again', async () => {
    await leavesNothing(async () => {
      for (const name of readdirSync(root)) rmSync(join(root, name), { recursive: true })
      await served(`${origin}/large`)
    })
  })

  it('temporary folder deleted during a download: reported, and not as a fault of the file', async () => {
    await leavesNothing(async () => {
      half = async () => {
        await until(() => filesIn(root).length > 0)
        for (const name of readdirSync(root)) rmSync(join(root, name), { recursive: true })
      }
      const answer = await refusal(await chat(`${origin}/slow`))
      expect(answer).toMatchObject(says(503, /temporary folder is missing \(ENOENT\)/))
      expect(JSON.stringify(answer)).not.toContain(root)
    })
  })

  it('a name server that never answers: reported after the timeout, and other requests are served', async () => {
    await leavesNothing(async () => {
      const asked = once(mute, 'message')
      const pending = chat('http://media.example/image.png')
      await asked
      await served()
      expect(await refusal(await pending)).toMatchObject(says(400, /timed out: .* did not answer within 1 s/))
    })
  })

  it('a caller disconnects while a name server does not answer', async () => {
    await leavesNothing(async () => {
      const leaving = new AbortController()
      const asked = once(mute, 'message')
      const pending = chat('http://media.example/image.png', { signal: leaving.signal })
      await asked
      leaving.abort()
      await expect(pending).rejects.toThrow()
    })
  })

  it('engine process killed during a media download: the request waits for its successor', async () => {
    await leavesNothing(async () => {
      half = async () => {
        process.kill(engine.processId!, 'SIGKILL')
        await until(() => !engine.status().ready)
      }
      await served(`${origin}/slow`)
    })
  })

  it('engine process killed while it waits for pixels: reported at once, and the pixels are freed', async () => {
    await leavesNothing(async () => {
      const pending = chat(dataUri(await png(3000, 3000)))
      await until(() => media.status().decodedBytes > 0)
      process.kill(engine.processId!, 'SIGKILL')
      expect(await refusal(await pending)).toMatchObject([503, { error: { code: 'ModelUnavailable' } }])
    })
  })

  describe('with a full disk', () => {
    let mounted = false
    beforeAll(() => {
      try {
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', root], { stdio: 'ignore' })
        mounted = true
      } catch {
        console.warn('NOT TESTED: a full disk, because this user may not mount a small file system.')
      }
    })
    afterAll(() => {
      if (mounted) execFileSync('umount', [root])
    })

    it('large media are refused, small ones are served', async (test) => {
      test.skip(!mounted, 'mounting a file system requires root')
      await leavesNothing(async () => {
        expect(await refusal(await chat(`${origin}/large`))).toMatchObject(says(503, /disk .* is full \(ENOSPC\)/))
      })
    })
  })
})

it.runIf(process.platform === 'linux')(
  'no file descriptors: media are refused, text and the next media served',
  async () => {
    const limit = 128
    const main = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url))
    const options = ['serve', '--port', '0', '--model', tinyCheckpoint('tiny-mixed'), '--threads', '1']
    const child = spawn('sh', ['-c', `ulimit -n ${limit} && exec "$@"`, 'sh', process.execPath, main, ...options], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const pid = child.pid!
    const closed = once(child, 'close')
    // One existing connection: a new one would find no descriptor.
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    try {
      const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as string[]
      const url = line!.slice('ready on '.length)
      const ask = (content: unknown): Promise<string> =>
        new Promise((resolve, reject) => {
          const body = { model: 'qwen3-omni-flash', stream: true, max_tokens: 2, messages: [{ role: 'user', content }] }
          const sent = request(`${url}/v1/chat/completions`, { method: 'POST', agent }, (response) => {
            let text = `${response.statusCode} `
            response.on('data', (bytes: Buffer) => (text += bytes.toString()))
            response.on('end', () => resolve(text))
          })
          sent.on('error', reject)
          sent.end(JSON.stringify(body))
        })
      const image = [{ type: 'image_url', image_url: { url: dataUri(await png(64, 64)) } }]
      const descriptors = (): number => readdirSync(`/proc/${pid}/fd`).length
      expect(await ask('hi')).toMatch(/^200 .*\[DONE\]\s*$/s)
      const before = descriptors()

      const callers = Array.from({ length: limit }, () => connect(Number(new URL(url).port), '127.0.0.1'))
      for (const caller of callers) caller.on('error', () => undefined)
      await until(() => descriptors() >= limit - 1)
      expect(await ask(image)).toMatch(/^503 .*no file descriptors left.*EMFILE/s)
      expect(await ask('hi')).toMatch(/^200 .*\[DONE\]\s*$/s)

      for (const caller of callers) caller.destroy()
      await until(() => descriptors() <= before)
      expect(await ask(image)).toMatch(/^200 .*\[DONE\]\s*$/s)
      // The decoder process that it needed has a few; it is the only one.
      expect(descriptors() - before).toBeLessThan(10)
      const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
        readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' ').filter(Boolean),
      )
      expect(children).toHaveLength(2)
    } finally {
      agent.destroy()
      child.kill('SIGTERM')
      await closed
    }
  },
)
