/**
 * The engine contract's suite against every adapter: recorded peers by the replay server, omniserve's own wire by a
 * real server.
 */
import { VOICES } from '../../src/catalogue/index.ts'
import { describeEngine } from '../../src/contract/testing/engine-suite.ts'
import { mapVoices } from '../../src/engines/local/voices.ts'
import type { Adapter, PeerOptions } from '../../src/engines/remote/adapter.ts'
import { dashscope } from '../../src/engines/remote/dashscope/adapter.ts'
import { omniserve } from '../../src/engines/remote/omniserve/adapter.ts'
import { Cluster } from '../../src/engines/remote/pool/cluster.ts'
import { ClusterEngine } from '../../src/engines/remote/pool/cluster-engine.ts'
import { DEFAULT_HEALTH } from '../../src/engines/remote/pool/health.ts'
import { RemoteEngine } from '../../src/engines/remote/remote-engine.ts'
import { sglangOmni } from '../../src/engines/remote/sglang-omni/adapter.ts'
import { vllm } from '../../src/engines/remote/vllm/adapter.ts'
import { vllmOmni } from '../../src/engines/remote/vllm-omni/adapter.ts'
import { replayPeer } from '../../testing/replayed-peers.ts'
import { fakeEngine, startTestServer } from '../support/server.ts'

const voices = mapVoices(VOICES)
const long = { text: 'Please tell me a rather long story.' }

async function open(adapter: Adapter, url: string, peer: Partial<PeerOptions> = {}): Promise<RemoteEngine> {
  const engine = new RemoteEngine({ adapter, id: 'nano', url, peer: { model: 'nano', voices, ...peer } })
  await engine.discover(new AbortController().signal)
  return engine
}

for (const [adapter, name] of [
  [vllm, 'vllm'],
  [vllmOmni, 'vllm-omni'],
  [sglangOmni, 'sglang-omni'],
] as const) {
  describeEngine(`${name}, replayed`, {
    create: async () => open(adapter, (await replayPeer(name)).url, { contextLength: 4096 }),
    model: 'nano',
    ...(adapter.output.includes('audio') && { voice: name === 'sglang-omni' ? 'Ethan' : 'Cherry' }),
    ...(name === 'sglang-omni' && { sampling: { presencePenalty: 0 } }),
    long,
  })
}

for (const [adapter, prefix] of [
  [omniserve, ''],
  [dashscope, '/compatible-mode/v1'],
] as const) {
  describeEngine(`${adapter.name}, by a server of ours`, {
    create: async () => {
      const text = 'The quick brown fox jumps over the lazy dog. '.repeat(20)
      const server = await startTestServer({ maxActive: 16 }, fakeEngine({ reply: () => ({ text }) }))
      const { contextLength } = (await server.engine.models())[0]!
      return open(adapter, server.url + prefix, { model: 'qwen3-omni-flash', contextLength })
    },
    model: 'nano',
    voice: 'Cherry',
    long,
  })
}

/** The cluster, not the route, closes a route's replicas. */
class OwningEngine extends ClusterEngine {
  readonly #own: Cluster
  constructor(cluster: Cluster) {
    super(cluster, 'nano')
    this.#own = cluster
  }
  override async close(): Promise<void> {
    await super.close()
    await this.#own.close()
  }
}

describeEngine('a cluster of two vLLM-Omni, replayed', {
  create: async () => {
    const replicas = await Promise.all(
      [1, 2].map(async (number) => ({
        name: `r${number}`,
        url: (await replayPeer('vllm-omni')).url,
        weight: 1,
        maxPending: 32,
        draining: false,
      })),
    )
    const cluster = await Cluster.start({
      plan: {
        pools: [{ name: 'p', engine: 'vllm-omni', replicas, peer: { model: 'nano' }, limits: { ask: 10_000 } }],
        routes: { nano: ['p'] },
        balancing: {
          strategy: 'least-pending',
          affinity: 'none',
          probeEvery: 3_600_000,
          health: DEFAULT_HEALTH,
          speechCost: 2,
          retries: 2,
          moveWithin: 0,
        },
      },
      open: async (_, { name, url }) => {
        const engine = new RemoteEngine({ adapter: vllmOmni, id: name, url: url!, peer: { model: 'nano', voices } })
        return {
          engine,
          model: () => engine.model,
          probe: (signal) => engine.probe(signal),
          discover: (signal) => engine.discover(signal),
        }
      },
    })
    return new OwningEngine(cluster)
  },
  model: 'nano',
  voice: 'Cherry',
  long,
})
