import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createDecodingLoader, type DecodingLoader } from '../../../testing/decode-at-once.ts'
import { until } from '../../../testing/until.ts'
import { MediaError } from '../index.ts'
import { defaultAudioLimits, defaultImageLimits, defaultVideoLimits, fillLimits } from '../limits.ts'
import { DecoderPool } from './pool.ts'

const uri = (name: string) =>
  `data:;base64,${readFileSync(new URL(`../../../testdata/media/${name}`, import.meta.url)).toString('base64')}`
const alive = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
const ended = (pid: number) => until(() => !alive(pid))
const errorCode = (promise: Promise<unknown>) =>
  promise.then(
    () => 'none',
    (error: unknown) => (error instanceof MediaError ? error.code : String(error)),
  )

let loader: DecodingLoader
afterEach(() => loader?.[Symbol.asyncDispose]())

it('a missing temporary file is reported as a shortage of the server, not as a broken medium', async () => {
  await using pool = new DecoderPool({
    workers: 1,
    maxWaiting: 1,
    timeoutMs: 60_000,
    memoryBytes: 1 << 30,
    jobsPerWorker: 10,
    idleMs: 1000,
  })
  const path = '/nowhere/omniserve-media/file'
  const jobs = [
    { kind: 'image', limits: fillLimits({}, defaultImageLimits), input: { path } },
    { kind: 'audio', limits: fillLimits({}, defaultAudioLimits), input: { path } },
    { kind: 'video', limits: fillLimits({}, defaultVideoLimits), input: { path } },
  ] as const
  for (const job of jobs) {
    // oxlint-disable-next-line no-await-in-loop -- one process
    const error: unknown = await pool.run(job, () => undefined, new AbortController().signal).catch((e: unknown) => e)
    expect(error).toMatchObject({ code: 'overloaded', cause: expect.any(Error) as Error })
    expect(String(error)).toMatch(/temporary folder is missing \(ENOENT\)/)
    expect(String(error)).not.toContain(path)
  }
})

describe('decoder processes', () => {
  it('are reused, replaced after their number of jobs, and ended on close', async () => {
    loader = createDecodingLoader({ workers: 1, jobsPerWorker: 6 })
    const pids: number[] = []
    for (let i = 0; i < 5; i += 1) {
      // oxlint-disable-next-line no-await-in-loop -- jobs must run one after the other
      // An image is two jobs: the header, then the pixels.
      await loader.image(uri('fields.png'))
      pids.push(loader.status().pids[0] ?? 0)
    }
    expect(pids[0]).toBe(pids[1])
    expect(pids[3]).not.toBe(pids[0])
    await ended(pids[0]!)
    await loader[Symbol.asyncDispose]()
    await ended(pids[4]!)
    expect(await errorCode(loader.image(uri('fields.png')))).toBe('aborted')
  })

  it('end when idle', async () => {
    loader = createDecodingLoader({ workers: 1, workerIdleMs: 50 })
    await loader.image(uri('fields.png'))
    const [pid] = loader.status().pids
    await ended(pid!)
    await until(() => loader.status().workers === 0)
  })

  it('are killed when a request is aborted, and queued requests are removed', async () => {
    loader = createDecodingLoader({ workers: 1 })
    await loader.image(uri('fields.png'))
    const [pid] = loader.status().pids
    // A stopped process accepts a job and does not finish it.
    process.kill(pid!, 'SIGSTOP')
    const running = new AbortController()
    const queued = new AbortController()
    const first = errorCode(loader.video(uri('clip.mp4'), {}, running.signal))
    const second = errorCode(loader.image(uri('fields.png'), {}, queued.signal))
    const third = loader.image(uri('fields.png'))
    await until(() => loader.status().active === 1 && loader.status().waiting === 2)
    queued.abort()
    expect(await second).toBe('aborted')
    running.abort()
    expect(await first).toBe('aborted')
    expect((await third).width).toBe(64)
    await ended(pid!)
    expect(await errorCode(loader.image(uri('fields.png'), {}, AbortSignal.abort()))).toBe('aborted')
  })

  it('are killed at the time and memory limits', async () => {
    loader = createDecodingLoader({ workers: 1, decodeTimeoutMs: 1 })
    expect(await errorCode(loader.video(uri('clip.mp4')))).toBe('decode_timeout')
    await loader[Symbol.asyncDispose]()
    loader = createDecodingLoader({ workers: 1, decodeMemoryBytes: 40 * 1024 * 1024 })
    expect(await errorCode(loader.video(uri('clip.mp4')))).toBe('decode_memory')
    expect(await errorCode(loader.video(uri('clip.mp4')))).toBe('decode_memory')
  })

  it('are replaced after a crash', async () => {
    loader = createDecodingLoader({ workers: 1 })
    await loader.image(uri('fields.png'))
    const [pid] = loader.status().pids
    process.kill(pid!, 'SIGSTOP')
    const failing = errorCode(loader.video(uri('clip.mp4')))
    await until(() => loader.status().active === 1)
    process.kill(pid!, 'SIGSEGV')
    process.kill(pid!, 'SIGCONT')
    expect(await failing).toBe('video_invalid')
    expect((await loader.image(uri('fields.png'))).width).toBe(64)
  })

  it('have a bounded queue', async () => {
    loader = createDecodingLoader({ workers: 1, maxWaiting: 2 })
    const codes = await Promise.all(Array.from({ length: 6 }, () => errorCode(loader.image(uri('fields.png')))))
    expect(codes.filter((value) => value === 'overloaded').length).toBeGreaterThan(0)
    expect(codes.filter((value) => value === 'none').length).toBeGreaterThanOrEqual(2)
  })

  it('have no access to the environment of the server', async () => {
    vi.stubEnv('OMNISERVE_TEST_SECRET', 'do-not-pass-on')
    loader = createDecodingLoader({ workers: 1 })
    await loader.image(uri('fields.png'))
    if (process.platform !== 'linux') return
    const environment = readFileSync(`/proc/${loader.status().pids[0]}/environ`, 'utf8')
    expect(environment).not.toContain('do-not-pass-on')
  })
})
