/**
 * The hostile corpus over and over, in a process of its own, with memory measured before and after: the media loader
 * must not leak.
 *
 * V8 keeps the pages of its young generation, freed ones too, and touches them in turn: tens of megabytes that look
 * like a leak over some thousand requests. With a young generation of 1 MB, resident memory is close to what is held.
 *
 * Run by the test, or by hand: `node --expose-gc --max-semi-space-size=1 tests/hostile-media-soak.ts 2000`.
 */
import { fork } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import koffi from 'koffi'
import { MediaError } from '../src/media/index.ts'
import { createDecodingLoader } from '../testing/decode-at-once.ts'
import { hostileFiles } from './hostile-media-corpus.ts'
import { startHostileServers } from './hostile-media-servers.ts'

export interface SoakResult {
  readonly requests: number
  readonly seconds: number
  /** Resident memory of the server's process after warming up and at the end, and of its decoder processes, MiB. */
  readonly parentBefore: number
  readonly parentAfter: number
  readonly parentGrowth: number
  /** The memory that the server's process really holds: JavaScript heap and buffers, MiB. */
  readonly liveBefore: number
  readonly liveAfter: number
  readonly liveGrowth: number
  readonly decoders: readonly number[]
  /** Connections and downloads still open. */
  readonly openHandles: number
  readonly codes: Readonly<Record<string, number>>
  /** Cases with a wrong error. */
  readonly unexpected: readonly string[]
}

/** Runs the soak in a fresh process. */
export function soakMedia(requests: number): Promise<SoakResult> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), [String(requests)], {
      execArgv: ['--expose-gc', '--max-semi-space-size=1', '--no-warnings'],
    })
    child.once('message', (result) => resolve(result as SoakResult))
    child.once('exit', (code) => reject(new Error(`the soak ended with ${code}`)))
  })
}

async function soak(requests: number): Promise<SoakResult> {
  const corpus = hostileFiles('http://127.0.0.1:1/bait')
  await using servers = await startHostileServers(
    new Map(corpus.map((file) => [encodeURIComponent(file.name), file.bytes])),
  )
  await using loader = createDecodingLoader({
    workers: 2,
    allowHosts: [servers.hostPort],
    downloadTimeouts: { connectMs: 150, idleMs: 150, totalMs: 300 },
  })
  const paths = ['mute', 'dribble', 'silent', 'short', 'huge', 'loop/0', 'status/404', 'endless/x', 'gzip']
  const codes: Record<string, number> = {}
  const unexpected: string[] = []
  const one = async (i: number) => {
    const file = corpus[i % corpus.length]!
    const overNetwork = i % 3 === 1
    const misbehaving = i % 7 === 3
    const leave = i % 29 === 5 ? AbortSignal.timeout(3) : undefined
    const source = misbehaving
      ? `${servers.origin}/${paths[i % paths.length]}`
      : overNetwork
        ? `${servers.origin}/file/${encodeURIComponent(file.name)}`
        : `data:;base64,${file.bytes.toString('base64')}`
    let code = 'none'
    try {
      await loader[file.kind](source, {}, leave)
    } catch (error) {
      code = error instanceof MediaError ? error.code : `not a MediaError: ${String(error)}`
    }
    codes[code] = (codes[code] ?? 0) + 1
    const slow = code === 'download_timeout' // short limits on a busy machine
    if (!misbehaving && leave === undefined && !slow && !file.codes.includes(code))
      unexpected.push(`${file.name}: ${code}`)
    if (code.startsWith('not a MediaError')) unexpected.push(code)
  }
  const run = async (from: number, to: number) => {
    let next = from
    const lane = async () => {
      while (next < to) {
        next += 1
        // oxlint-disable-next-line no-await-in-loop -- a lane
        await one(next - 1)
      }
    }
    await Promise.all([lane(), lane(), lane(), lane()])
  }
  // Code is compiled and caches are filled over the first requests, so as many run first as are measured.
  await run(0, Math.max(corpus.length, requests))
  const before = await settledMemory()
  const started = performance.now()
  await run(0, requests)
  const seconds = (performance.now() - started) / 1000
  const after = await settledMemory()
  const { pids, downloads, active, waiting } = loader.status()
  return {
    requests,
    seconds,
    parentBefore: before.resident,
    parentAfter: after.resident,
    parentGrowth: after.resident / before.resident - 1,
    liveBefore: before.live,
    liveAfter: after.live,
    liveGrowth: after.live / before.live - 1,
    decoders: pids.map(residentOf),
    openHandles: servers.open() + downloads + active + waiting,
    codes,
    unexpected,
  }
}

/** Returns the C library's free lists to the system: resident memory then means memory held. Linux with glibc. */
const giveBack: () => void = (() => {
  try {
    const trim = koffi.load('libc.so.6').func('int malloc_trim(size_t pad)')
    return () => void trim(0)
  } catch {
    return () => {}
  }
})()

/** Resident memory of the process itself, without pages of program files that are mapped as code first runs. */
function privateBytes(): number {
  try {
    const line = /^RssAnon:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))
    return Number(line![1]) * 1024
  } catch {
    return process.memoryUsage.rss()
  }
}

/** Memory once the collector has run and freed pages have gone back: the least of two seconds, MiB. */
async function settledMemory(): Promise<{ resident: number; live: number }> {
  let [resident, live] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  for (let i = 0; i < 8; i += 1) {
    globalThis.gc?.()
    giveBack()
    // oxlint-disable-next-line no-await-in-loop -- waiting is the point
    await new Promise((resolve) => setTimeout(resolve, 250))
    const { heapUsed, external } = process.memoryUsage()
    resident = Math.min(resident, privateBytes() / 1024 ** 2)
    live = Math.min(live, (heapUsed + external) / 1024 ** 2)
  }
  return { resident, live }
}

function residentOf(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) / 256
  } catch {
    return Number.NaN
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const result = await soak(Number(process.argv[2] ?? 2000))
  if (process.send === undefined) console.log(result)
  else process.send(result, () => process.disconnect())
}
