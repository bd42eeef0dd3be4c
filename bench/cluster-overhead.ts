/**
 * What the API server in front costs against calling the replica directly: time to first token of one stream after
 * another, gaps between tokens of many streams at once, processor and memory of each. Both sides take turns in one
 * run.
 *
 * Client, peer and server are three processes. Streams at once are either spread, each at a time of its own as
 * callers come, or in step: all tokens of a round at one moment, as one replica that computes them in one batch sends
 * them.
 */
import { Agent, request } from 'node:http'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { startChild, type ChildServer } from './child-server.ts'
import { type Benchmark, median, round, type Row } from './harness.ts'

/** Bytes that live on its heaps after a collection, resident bytes, milliseconds of processor so far. */
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

function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
}

const WAYS = ['direct', 'through the server'] as const
type Way = (typeof WAYS)[number]
const PATHS: Readonly<Record<Way, string>> = {
  direct: '/chat/completions',
  'through the server': '/v1/chat/completions',
}
/** Milliseconds between the tokens of a stream. */
const PACE = 40

/** @returns milliseconds to the first token by way */
async function oneAfterAnother(count: number): Promise<Record<Way, number[]>> {
  await using peer = await startChild('target-server.ts', 'bare', '4', '0', 'text')
  await using front = await startChild('pooled-server.ts', `http://127.0.0.1:${peer.port}`)
  const ports = { direct: peer.port, 'through the server': front.port }
  const agent = new Agent({ keepAlive: true })
  const firsts: Record<Way, number[]> = { direct: [], 'through the server': [] }
  for (let turn = -20; turn < count; turn += 1) {
    for (const way of WAYS) {
      const { first } = await stream(ports[way], PATHS[way], agent)
      if (turn >= 0) firsts[way].push(first)
    }
  }
  agent.destroy()
  return firsts
}

interface AtOnce {
  readonly gaps: number[]
  readonly firsts: number[]
  /** Delays of the client's own event loop, milliseconds at the 99th of a hundred. */
  readonly client: number[]
  /** Microseconds of the server's processor for each token. */
  readonly cpu: number[]
}

const nothing = (): AtOnce => ({ gaps: [], firsts: [], client: [], cpu: [] })

/** Many streams at once, the two ways in turns. */
async function atOnce(streams: number, tokens: number, rounds: number, spread: boolean) {
  await using peer = await startChild('target-server.ts', 'bare', String(tokens), String(PACE), 'text')
  await using front = await startChild('pooled-server.ts', `http://127.0.0.1:${peer.port}`)
  const ports = { direct: peer.port, 'through the server': front.port }
  const seen: Record<Way, AtOnce> = { direct: nothing(), 'through the server': nothing() }
  for (let turn = -1; turn < rounds; turn += 1) {
    for (const way of WAYS) {
      // Connections of the round before may be closing.
      const agent = new Agent({ keepAlive: true, maxSockets: 1000 })
      const before = await measured(front)
      const loop = monitorEventLoopDelay({ resolution: 1 })
      loop.enable()
      const results = await Promise.all(
        Array.from({ length: streams }, async (_, index) => {
          // Multiples of the golden ratio fall evenly into the time between two tokens.
          if (spread) await sleep(((index * 0.618_034) % 1) * PACE * 25)
          return await stream(ports[way], PATHS[way], agent)
        }),
      )
      loop.disable()
      agent.destroy()
      if (turn < 0) continue
      const after = await measured(front)
      for (const { gaps, first } of results) {
        seen[way].gaps.push(...gaps)
        seen[way].firsts.push(first)
      }
      seen[way].client.push(loop.percentile(99) / 1e6)
      seen[way].cpu.push(((after.cpu - before.cpu) * 1000) / streams / tokens)
    }
  }
  return seen
}

/** Bytes of the server for each open stream, between 100 and 400 of them. */
async function memoryOfStreams(): Promise<{ readonly live: number; readonly resident: number }> {
  await using peer = await startChild('target-server.ts', 'bare', '400', String(PACE), 'text')
  await using front = await startChild('pooled-server.ts', `http://127.0.0.1:${peer.port}`)
  const agent = new Agent({ keepAlive: true, maxSockets: 1000 })
  const open = (count: number): Promise<unknown>[] =>
    Array.from({ length: count }, () => stream(front.port, PATHS['through the server'], agent))
  await stream(front.port, PATHS['through the server'], agent)
  const few = open(100)
  await sleep(4000)
  const before = await measured(front)
  const many = open(300)
  await sleep(6000)
  const after = await measured(front)
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
    for (const way of WAYS) {
      const p50 = median(firsts[way])
      rows.push({
        case: `one after another, ${way}`,
        'first ms p50': round(p50),
        'added ms': round(p50 - median(firsts.direct)),
      })
    }
    for (const spread of [true, false]) {
      const kind = spread ? 'spread' : 'in step'
      context.log(`${streams} streams at once, ${kind}`)
      const seen = await atOnce(streams, tokens, rounds, spread)
      for (const way of WAYS) {
        const { gaps, firsts: begun, client, cpu } = seen[way]
        const p99 = quantile(gaps, 0.99)
        rows.push({
          case: `${streams} streams ${kind}, a token each ${PACE} ms, ${way}`,
          'first ms p50': round(median(begun)),
          'gap ms p50': round(quantile(gaps, 0.5)),
          'gap ms p99': round(p99),
          'p99 ratio': round(p99 / quantile(seen.direct.gaps, 0.99)),
          'client loop ms p99': round(median(client)),
          'server us a token': way === 'direct' ? 0 : round(median(cpu)),
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
