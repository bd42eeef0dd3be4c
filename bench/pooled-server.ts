/**
 * The API server in front of one peer, in a process of its own, for `cluster-overhead.ts`. Prints its port; answers
 * each line on its standard input with its resident bytes, the bytes that live on its heaps after a collection, and its
 * microseconds of processor so far.
 *
 * Usage: node --expose-gc bench/pooled-server.ts PEER_URL
 */
import { createInterface } from 'node:readline'
import { pino } from 'pino'
import { startServer } from '../src/api/index.ts'
import { ClusterHost } from '../src/cli/open-cluster.ts'
import { loadSettings } from '../src/config/index.ts'

const [url = ''] = process.argv.slice(2)
const settings = {
  ...(await loadSettings({})),
  port: 0,
  maxActive: 1000,
  maxWaiting: 1000,
  logLevel: 'silent' as const,
}
const cluster = new ClusterHost({
  file: '',
  // No health checks: the peer is a bare handler.
  first: {
    pools: {
      p: { engine: 'dashscope', model: 'qwen3-omni-flash', replicas: [url], maxPending: 1000, key: 'sk-bench' },
    },
    models: { '*': ['p'] },
  },
  settings,
  log: () => undefined,
  warn: () => undefined,
  openLocal: () => Promise.reject(new Error('no local pools here')),
  watchEvery: 0,
})
const server = await startServer({
  settings,
  engines: new Map(),
  cluster,
  log: pino({ level: 'silent' }),
  version: '0-bench',
})
await server.ready
process.stdout.write(`${new URL(server.url).port}\n`)
/** Microseconds that collections for the sake of this took. */
let collecting = 0
const processor = (): number => process.cpuUsage().user + process.cpuUsage().system
createInterface({ input: process.stdin }).on('line', () => {
  const worked = processor() - collecting
  globalThis.gc?.()
  collecting = processor() - worked
  const { rss, heapUsed, external } = process.memoryUsage()
  process.stdout.write(`${rss} ${heapUsed + external} ${worked}\n`)
})
process.stdin.on('end', () => process.exit(0))
