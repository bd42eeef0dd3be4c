/**
 * A real server in front of pools, from a configuration file of its own in a temporary folder. Local pools are the fake
 * engine.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import pino from 'pino'
import { createTextCounter, type TextCounter } from '../../src/accounting/index.ts'
import { type RunningServer, startServer } from '../../src/api/index.ts'
import { ClusterHost } from '../../src/cli/open-cluster.ts'
import { loadClusterFile, loadSettings } from '../../src/config/index.ts'
import { EngineError } from '../../src/contract/index.ts'
import { fakeEngine } from './server.ts'

let counter: Promise<TextCounter> | undefined

export interface ClusterServer extends AsyncDisposable {
  readonly server: RunningServer
  /** The configuration file; changes take effect within some 20 ms. */
  readonly file: string
  /** Lines of the log so far. */
  readonly log: () => Record<string, unknown>[]
  /** Asks "Who are you?", streamed, with usage. */
  readonly chat: (body?: object, headers?: Record<string, string>) => Promise<Response>
}

export async function startClusterServer(config: object): Promise<ClusterServer> {
  counter ??= createTextCounter()
  const folder = await mkdtemp(path.join(tmpdir(), 'omniserve-serve-'))
  const file = path.join(folder, 'cluster.json')
  await writeFile(file, JSON.stringify(config))
  const settings = { ...(await loadSettings({ file })), port: 0 }
  const lines: string[] = []
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) })
  const clusterFile = await loadClusterFile(file)
  if (!clusterFile) throw new Error('the configuration has no pools')
  const cluster = new ClusterHost({
    file,
    cluster: clusterFile,
    settings,
    log: (text, facts) => log.info(facts, text),
    warn: (text, facts) => log.warn(facts, text),
    openLocal: async (checkpoint) => {
      if (checkpoint !== 'nano') throw new EngineError('bad_checkpoint', `no checkpoint ${checkpoint}`)
      return fakeEngine()
    },
    watchEvery: 20,
  })
  const server = await startServer({
    settings,
    engines: new Map(),
    cluster,
    log,
    version: '0-test',
    counter: await counter,
  })
  await server.ready
  return {
    server,
    file,
    log: () => lines.map((line): Record<string, unknown> => JSON.parse(line)),
    chat: (body = {}, headers = {}) =>
      fetch(`${server.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify({
          model: 'qwen3-omni-flash',
          stream: true,
          stream_options: { include_usage: true },
          messages: [{ role: 'user', content: 'Who are you?' }],
          ...body,
        }),
      }),
    [Symbol.asyncDispose]: async () => {
      await server.stop(0)
      await rm(folder, { recursive: true })
    },
  }
}
