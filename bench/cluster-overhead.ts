/**
 * The API server's overhead as a proxy, against calling the replica directly and against a relay that only forwards
 * bytes: time to first token of single streams, gaps between tokens of concurrent streams, CPU time and memory of each.
 * All ways take turns in one run. `OMNISERVE_BENCH_NGINX`: the binary of nginx, for one more way.
 *
 * Client, peer and proxy are three processes. Concurrent streams are either spread over time, as independent callers
 * are, or in step: all tokens of a round at one moment, as from a replica that computes them in one batch.
 */
import { Agent, request } from 'node:http'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { startChild, type ChildServer } from './child-server.ts'
import { type Benchmark, median, quantile, round, type Row } from './harness.ts'

/** Heap bytes after a collection, resident bytes, milliseconds of CPU time so far. */
async function measured(child: ChildServer): Promise<{ live: number; resident: number; cpu: number }> {
  const [resident = 0, live = 0, cpu = 0] = await child.measure()
  return { live, resident, cpu: cpu / 1000 }
}

const BODY = JSON.stringify({ model: 'qwen3-omni-flash', stream: true, messages: [{ role: 'user', content: 'x' }] })

/** Milliseconds from the request to the first text, and between arrivals after that. */
function stream(
  port: number,
  path: string,
  agent: Agent,
): Promise<{ readonly first: number; readonly gaps: number[] }> {
  return new Promise((resolve, reject) => {
    const begun = performance.now()
    const gaps: number[] = []
    let first = 0
    let last = 0
    const outgoing = request(
      { port, host: '127.0.0.1', method: 'POST', path, agent, headers: { 'content-type': 'application/json' } },
      (response) => {
        response.setEncoding('utf8').on('data', (text: string) => {
          if (!text.includes('word')) return
          const now = performance.now()
          if (first === 0) first = now - begun
          else gaps.push(now - last)
          last = now
        })
        response.on('end', () =>
          first > 0 ? resolve({ first, gaps }) : reject(new Error(`no text, status ${response.statusCode}`)),
        )
      },
    )
    outgoing.on('error', reject)
    outgoing.end(BODY)
  })
}

/** Milliseconds between the tokens of a stream. */
const PACE = 40

interface Way {
  readonly name: string
  readonly port: number
  /** Of chat completions there. */
  readonly path: string
  /** What is between client and peer. */
  readonly between?: ChildServer
}

/** A peer and the ways to it. */
class Ways implements AsyncDisposable {
  readonly all: readonly Way[]
  readonly #children: readonly ChildServer[]

  private constructor(all: readonly Way[], children: readonly ChildServer[]) {
    this.all = all
    this.#children = children
  }

  /** @param tokens of each reply, one each `pace` milliseconds */
  static async open(tokens: number, pace: number): Promise<Ways> {
    const peer = await startChild('target-server.ts', 'bare', String(tokens), String(pace), 'text')
    const front = await startChild('pooled-server.ts', `http://127.0.0.1:${peer.port}`)
    const pipes = await startChild('relay-server.ts', String(peer.port))
    const nginx = process.env['OMNISERVE_BENCH_NGINX']
    const proxy = nginx === undefined ? undefined : await startChild('relay-server.ts', String(peer.port), nginx)
    const path = '/chat/completions'
    const all = [
      { name: 'direct', port: peer.port, path },
      { name: 'through a relay of bytes', port: pipes.port, path, between: pipes },
      ...(proxy === undefined ? [] : [{ name: 'through nginx', port: proxy.port, path, between: proxy }]),
      { name: 'through the server', port: front.port, path: `/v1${path}`, between: front },
    ]
    return new Ways(all, [peer, front, pipes, ...(proxy === undefined ? [] : [proxy])])
  }

  get server(): Way & { readonly between: ChildServer } {
    const way = this.all.at(-1)!
    return { ...way, between: way.between! }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) await child[Symbol.asyncDispose]()
  }
}

/** @returns milliseconds to the first token by way */
async function oneAfterAnother(count: number): Promise<Map<string, number[]>> {
  await using ways = await Ways.open(4, 0)
  const agent = new Agent({ keepAlive: true })
  const firsts = new Map<string, number[]>(ways.all.map(({ name }) => [name, []]))
  for (let turn = -20; turn < count; turn += 1) {
    for (const { name, port, path } of ways.all) {
      const { first } = await stream(port, path, agent)
      if (turn >= 0) firsts.get(name)!.push(first)
    }
  }
  agent.destroy()
  return firsts
}

interface AtOnce {
  readonly gaps: number[]
  readonly firsts: number[]
  /** 99th percentile of the delays of the client's own event loop, milliseconds. */
  readonly client: number[]
  /** Microseconds of CPU time of the proxy for each token. */
  readonly cpu: number[]
}

/** Concurrent streams; the ways take turns. */
async function atOnce(streams: number, tokens: number, rounds: number, spread: boolean): Promise<Map<string, AtOnce>> {
  await using ways = await Ways.open(tokens, PACE)
  const seen = new Map<string, AtOnce>(
    ways.all.map(({ name }) => [name, { gaps: [], firsts: [], client: [], cpu: [] }]),
  )
  for (let turn = -1; turn < rounds; turn += 1) {
    for (const { name, port, path, between } of ways.all) {
      // Connections of the previous round may still be closing.
      const agent = new Agent({ keepAlive: true, maxSockets: 1000 })
      const before = between && (await measured(between))
      const loop = monitorEventLoopDelay({ resolution: 1 })
      loop.enable()
      const results = await Promise.all(
        Array.from({ length: streams }, async (_, index) => {
          // Multiples of the golden ratio spread evenly over the time between two tokens.
          if (spread) await sleep(((index * 0.618_034) % 1) * PACE * 25)
          return await stream(port, path, agent)
        }),
      )
      loop.disable()
      agent.destroy()
      if (turn < 0) continue
      const after = between && (await measured(between))
      const { gaps, firsts, client, cpu } = seen.get(name)!
      for (const result of results) {
        gaps.push(...result.gaps)
        firsts.push(result.first)
      }
      client.push(loop.percentile(99) / 1e6)
      cpu.push(after && before ? ((after.cpu - before.cpu) * 1000) / streams / tokens : 0)
    }
  }
  return seen
}

/** Bytes of the server for each open stream, between 100 and 400 of them. */
async function memoryOfStreams(): Promise<{ readonly live: number; readonly resident: number }> {
  await using ways = await Ways.open(400, PACE)
  const { port, path, between } = ways.server
  const agent = new Agent({ keepAlive: true, maxSockets: 1000 })
  const open = (count: number): Promise<unknown>[] => Array.from({ length: count }, () => stream(port, path, agent))
  await stream(port, path, agent)
  const few = open(100)
  await sleep(4000)
  const before = await measured(between)
  const many = open(300)
  await sleep(6000)
  const after = await measured(between)
  await Promise.all([...few, ...many])
  agent.destroy()
  return { live: (after.live - before.live) / 300, resident: (after.resident - before.resident) / 300 }
}

export const benchmark: Benchmark = {
  name: 'cluster-overhead',
  title: 'a replica called through the API server against the replica called directly, in one run',
  async run(context) {
    const [singles, streams, tokens, rounds] = context.quick ? [100, 50, 40, 1] : [400, 200, 100, 2]
    const rows: Row[] = []
    context.log('one stream after another')
    const firsts = await oneAfterAnother(singles)
    const direct = median(firsts.get('direct')!)
    for (const [name, times] of firsts) {
      const p50 = median(times)
      rows.push({ case: `one after another, ${name}`, 'first ms p50': round(p50), 'added ms': round(p50 - direct) })
    }
    for (const spread of [true, false]) {
      const kind = spread ? 'spread' : 'in step'
      context.log(`${streams} streams at once, ${kind}`)
      const seen = await atOnce(streams, tokens, rounds, spread)
      const limit = quantile(seen.get('direct')!.gaps, 0.99)
      for (const [name, { gaps, firsts: begun, client, cpu }] of seen) {
        const p99 = quantile(gaps, 0.99)
        rows.push({
          case: `${streams} streams ${kind}, a token each ${PACE} ms, ${name}`,
          'first ms p50': round(median(begun)),
          'gap ms p50': round(quantile(gaps, 0.5)),
          'gap ms p99': round(p99),
          'p99 ratio': round(p99 / limit),
          'client loop ms p99': round(median(client)),
          'us a token': round(median(cpu)),
        })
      }
    }
    context.log('memory of open streams')
    const memory = await memoryOfStreams()
    rows.push({
      case: 'an open stream, through the server',
      'live KB': round(memory.live / 1e3),
      'resident KB': round(memory.resident / 1e3),
    })
    return rows
  },
}
