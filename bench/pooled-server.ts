/**
 * The API server in front of one peer, in a process of its own, for `cluster-overhead.ts`.
 *
 * Usage: node --expose-gc bench/pooled-server.ts PEER_URL
 */
import { pino } from 'pino'
import { startServer } from '../src/api/index.ts'
import { ClusterHost } from '../src/cli/open-cluster.ts'
import { loadSettings } from '../src/config/index.ts'
import { answerMeasurements } from './child-answers.ts'

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
  cluster: {
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
answerMeasurements(Number(new URL(server.url).port))
