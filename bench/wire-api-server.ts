/**
 * The API server's overhead: 200 streams at once through it, against a bare Node `http` handler that writes the same
 * chunks. Clients and servers share this machine's cores, so results include both; the difference is the API server's.
 */
import { Agent, request } from 'node:http'
import { startChild } from './child-server.ts'
import { type Benchmark, quantile, round, type Row } from './harness.ts'

const END = Buffer.from('data: [DONE]')

/** One stream to its end: milliseconds to the first bytes, and between arrivals after that. */
function stream(
  port: number,
  body: string,
  agent: Agent,
): Promise<{ readonly first: number; readonly gaps: readonly number[] }> {
  return new Promise((resolve, reject) => {
    const begun = performance.now()
    const gaps: number[] = []
    let last = 0
    let first = 0
    const outgoing = request(
      { port, host: '127.0.0.1', method: 'POST', path: '/v1/chat/completions', agent },
      (response) => {
        let tail = Buffer.alloc(0)
        response.on('data', (bytes: Buffer) => {
          const now = performance.now()
          if (last === 0) first = now - begun
          else gaps.push(now - last)
          last = now
          tail = Buffer.concat([tail, bytes]).subarray(-END.length - 4)
        })
        response.on('end', () => {
          if (tail.includes(END)) resolve({ first, gaps })
          else reject(new Error(`a stream ended early, with status ${response.statusCode}`))
        })
      },
    )
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

async function measure(name: string, args: readonly string[], streams: number, tokens: number): Promise<Row> {
  await using server = await startChild('target-server.ts', ...args)
  const speech = args.at(-1) === 'speech'
  const body = JSON.stringify({
    model: 'qwen3-omni-flash',
    stream: true,
    messages: [{ role: 'user', content: 'x' }],
    ...(speech ? { modalities: ['text', 'audio'], audio: { voice: 'Cherry', format: 'wav' } } : {}),
  })
  const agent = new Agent({ keepAlive: true, maxSockets: streams })
  // Warm-up: compiled code, open connections.
  await Promise.all(Array.from({ length: Math.min(20, streams) }, () => stream(server.port, body, agent)))
  const [idle = 0] = await server.measure()
  const begun = performance.now()
  const results = await Promise.all(Array.from({ length: streams }, () => stream(server.port, body, agent)))
  const seconds = (performance.now() - begun) / 1000
  const [, peak = 0] = await server.measure()
  agent.destroy()
  const gaps = results.flatMap((result) => result.gaps)
  return {
    case: name,
    'tokens/s': round((streams * tokens) / seconds),
    'first ms p50': round(
      quantile(
        results.map((result) => result.first),
        0.5,
      ),
    ),
    'gap ms p50': round(quantile(gaps, 0.5)),
    'gap ms p99': round(quantile(gaps, 0.99)),
    'idle MB': round(idle / 1e6),
    'peak MB': round(peak / 1e6),
  }
}

export const benchmark: Benchmark = {
  name: 'wire-api-server',
  title: '200 streams at once: the API server against a bare Node http handler writing the same chunks',
  async run(context) {
    const { quick } = context
    const streams = quick ? 50 : 200
    const tokens = quick ? 50 : 200
    const rows: Row[] = []
    for (const [label, delay, what] of [
      ['text, flat out', '0', 'text'],
      ['speech, flat out', '0', 'speech'],
      ['text, a token each 40 ms', '40', 'text'],
    ] as const) {
      const count = delay === '0' ? tokens : tokens / 2
      for (const kind of ['bare', 'api-server']) {
        context.log(`${label}: ${kind}`)
        rows.push(await measure(`${label}: ${kind}`, [kind, String(count), delay, what], streams, count))
      }
    }
    return rows
  },
}
