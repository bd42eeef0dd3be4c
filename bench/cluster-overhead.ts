/**
 * What the API server in front costs against calling the replica directly: time to first token of one stream after another, gaps between
 * tokens of many streams at once, memory of each open stream. Both sides take turns in one run.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Benchmark, median, round, type Row } from './harness.ts'

interface Child extends AsyncDisposable {
  readonly port: number
  memory(): Promise<number>
}

async function start(file: string, ...args: readonly string[]): Promise<Child> {
  const child = spawn(process.execPath, [fileURLToPath(new URL(file, import.meta.url)), ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const line = async (): Promise<string> => String((await lines.next()).value)
  const port = Number(await line())
  return {
    port,
    async memory() {
      child.stdin.write('memory\n')
      return Number((await line()).split(' ')[0])
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      await once(child, 'exit')
    },
  }
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

const PATHS = { direct: '/chat/completions', 'through the server': '/v1/chat/completions' } as const

export const benchmark: Benchmark = {
  name: 'cluster-overhead',
  title: 'a replica called through the API server against the replica called directly, in one run',
  async run(context) {
    const { quick } = context
    const [singles, streams, tokens] = quick ? [100, 50, 40] : [400, 200, 100]
    const agent = new Agent({ keepAlive: true, maxSockets: 1000 })
    const rows: Row[] = []
    {
      await using peer = await start('door-server.ts', 'bare', '4', '0', 'text')
      await using front = await start('pooled-server.ts', `http://127.0.0.1:${peer.port}`)
      const ports = { direct: peer.port, 'through the server': front.port }
      const firsts = { direct: [] as number[], 'through the server': [] as number[] }
      context.log('one stream after another')
      for (let count = -20; count < singles; count += 1) {
        for (const way of ['direct', 'through the server'] as const) {
          const { first } = await stream(ports[way], PATHS[way], agent)
          if (count >= 0) firsts[way].push(first)
        }
      }
      const added = median(firsts['through the server']) - median(firsts.direct)
      for (const way of ['direct', 'through the server'] as const) {
        rows.push({
          case: `one after another, ${way}`,
          'first ms p50': round(median(firsts[way])),
          'added ms': way === 'direct' ? 0 : round(added),
        })
      }
    }
    await using peer = await start('door-server.ts', 'bare', String(tokens), '40', 'text')
    await using front = await start('pooled-server.ts', `http://127.0.0.1:${peer.port}`)
    const ports = { direct: peer.port, 'through the server': front.port }
    let direct = 0
    for (const way of ['direct', 'through the server'] as const) {
      context.log(`${streams} streams at once, ${way}`)
      await Promise.all(Array.from({ length: 20 }, () => stream(ports[way], PATHS[way], agent)))
      const before = await front.memory()
      let most = before
      const watching = setInterval(() => void front.memory().then((now) => (most = Math.max(most, now))), 500)
      const results = await Promise.all(Array.from({ length: streams }, () => stream(ports[way], PATHS[way], agent)))
      clearInterval(watching)
      const gaps = results.flatMap((result) => result.gaps)
      const p99 = quantile(gaps, 0.99)
      if (way === 'direct') direct = p99
      rows.push({
        case: `${streams} streams, a token each 40 ms, ${way}`,
        'first ms p50': round(median(results.map(({ first }) => first))),
        'gap ms p50': round(quantile(gaps, 0.5)),
        'gap ms p99': round(p99),
        'p99 ratio': round(p99 / direct),
        'server KB a stream': way === 'direct' ? 0 : round((most - before) / 1e3 / streams),
      })
    }
    agent.destroy()
    return rows
  },
}
