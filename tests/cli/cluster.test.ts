/** `omniserve cluster`, and `doctor` and `serve` with pools in the configuration file, as processes. */
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { answerTo, startReplay } from '../../testing/replay-server.ts'
import { replayPeer } from '../../testing/replayed-peers.ts'
import type { ReplayServer } from '../../testing/replay-server.ts'
import { type ClusterServer, startClusterServer } from '../support/cluster-server.ts'
import { serve } from '../support/serve.ts'
import { omniserve, temporaryFolder } from './run-cli.ts'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let peers: readonly [ReplayServer, ReplayServer]
let cluster: ClusterServer
beforeAll(async () => {
  folder = await temporaryFolder()
  peers = [await replayPeer('vllm'), await replayPeer('vllm-omni')]
  cluster = await startClusterServer({
    adminKey: 'sk-admin',
    pools: { gpu: { engine: 'vllm', model: 'nano', replicas: [{ name: 'gpu-a', url: peers[0].url }] } },
    models: { '*': 'gpu' },
  })
})
afterAll(async () => {
  await cluster[Symbol.asyncDispose]()
  for (const peer of peers) await peer.kill()
  await folder[Symbol.asyncDispose]()
})

const run = (...args: string[]) => omniserve(args, { folder: folder.path })

async function config(text: string): Promise<string> {
  const file = path.join(folder.path, 'cluster.yaml')
  await writeFile(file, text)
  return file
}

describe('omniserve cluster', () => {
  it('shows, drains and resumes', async () => {
    const at = ['--url', cluster.server.url, '--admin-key', 'sk-admin']
    const shown = await run('cluster', 'status', ...at)
    expect([shown.code, shown.out]).toEqual([0, expect.stringMatching(/gpu-a +gpu +vllm +up +0 \(0\/16\)/)])
    expect((await run('cluster', 'drain', 'gpu-a', '--wait', ...at)).out).toMatch(/gpu-a .* drained/)
    const json: unknown = JSON.parse((await run('cluster', 'resume', 'gpu-a', '--json', ...at)).out)
    expect(json).toMatchObject({ replicas: [{ name: 'gpu-a', state: 'up' }] })
  })

  it('reports errors with exit codes', async () => {
    const at = ['--url', cluster.server.url]
    expect(await run('cluster', 'status', ...at)).toMatchObject({
      code: 2,
      errors: expect.stringContaining('--admin-key') as string,
    })
    expect((await run('cluster', 'status', ...at, '--admin-key', 'sk-no')).code).toBe(5)
    expect((await run('cluster', 'drain', 'nobody', ...at, '--admin-key', 'sk-admin')).code).toBe(5)
    expect((await run('cluster', 'status', '--url', 'http://127.0.0.1:9', '--admin-key', 'x')).code).toBe(4)
  })

  it('prints the schema of the file', async () => {
    const { code, out } = await run('cluster', 'schema')
    const schema: { properties: object } = JSON.parse(out)
    expect([code, Object.keys(schema.properties)]).toEqual([
      0,
      expect.arrayContaining(['port', 'pools', 'models', 'balancing']),
    ])
  })
})

describe('omniserve doctor with pools', () => {
  it('asks each replica for its engine and model', async () => {
    const other = await startReplay([
      { method: 'GET', path: '/health', reply: answerTo('vllm', 'GET /health') },
      { method: 'GET', path: '/v1/models', reply: { body: { data: [{ id: 'other', max_model_len: 4096 }] } } },
    ])
    const file = await config(`
pools:
  omni: { engine: vllm-omni, model: nano, replicas: ["${peers[1].url}"], timeouts: { ask: 30 } }
  text: { engine: vllm, model: nano, replicas: ["${peers[0].url}", "${other.url}", "http://127.0.0.1:9"], timeouts: { ask: 30 } }
  cloud: { engine: dashscope, model: qwen3-omni-flash, replicas: ["https://dashscope-intl.aliyuncs.com/compatible-mode/v1"] }
models:
  qwen3-omni-flash: [omni]
  qwen-omni-turbo: text
`)
    const { code, out } = await run('doctor', '--config', file, '--port', '0', '--json')
    await other.kill()
    const { checks }: { checks: { name: string; status: string; found: string }[] } = JSON.parse(out)
    const found = (name: string) => checks.find((check) => check.name === name)
    expect(code).toBe(1)
    expect(found('omni-1')).toMatchObject({
      status: 'ok',
      found: expect.stringContaining('context of 4096 tokens, 49 voices') as string,
    })
    expect(found('text-1')).toMatchObject({ status: 'ok', found: expect.stringContaining('no speech') as string })
    expect(found('text-2')).toMatchObject({
      status: 'fail',
      found: expect.stringContaining('serves other, not nano') as string,
    })
    expect(found('text-3')).toMatchObject({
      status: 'fail',
      found: expect.stringContaining('cannot be reached') as string,
    })
    expect(found('cloud-1')).toMatchObject({
      status: 'fail',
      found: expect.stringContaining('no key is set') as string,
    })
    expect(found('qwen3-omni-flash')).toMatchObject({
      status: 'warn',
      found: expect.stringContaining('4096 of 65536') as string,
    })
    expect(found('qwen-omni-turbo')).toMatchObject({
      status: 'warn',
      found: expect.stringContaining('it lacks speech') as string,
    })
    expect(found('checkpoint')).toBeUndefined()
  })
})

describe('omniserve serve --config', () => {
  it('answers without a local checkpoint', async () => {
    const file = await config(
      `pools: { gpu: { engine: vllm, model: nano, replicas: ["${peers[0].url}"] } }\nmodels: { "*": gpu }\n`,
    )
    await using server = await serve(['--config', file])
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({
        model: 'qwen3-omni-flash',
        stream: true,
        messages: [{ role: 'user', content: 'Who are you?' }],
      }),
    })
    expect([response.status, response.headers.get('x-omniserve-served-by')]).toEqual([200, 'gpu-1'])
    expect(await response.text()).toContain('nano')
  })

  it.each([
    [
      'pools: { gpu: { engine: vllm, replicas: [x] } }\nmodels: { "*": gpu }\n',
      /cluster\.yaml, line 1: pools\.gpu\.replicas\[0\] must be a URL/,
    ],
    [
      'pools: { gpu: { engine: vllm, model: m, replicas: ["http://a"] } }\nmodels:\n  gpt-4: gpu\n',
      /models\.gpt-4 names gpt-4, which is not an API model/,
    ],
    ['pools: { gpu: { engine: vllm, model: m, replicas: ["http://a"] }\n', /line 2, is not YAML/],
  ])('ends with 2 and where the fault is: %#', async (text, message) => {
    const { code, out, errors } = await run('serve', '--config', await config(text), '--port', '0')
    expect([code, out]).toEqual([2, ''])
    expect(errors).toMatch(message)
  })
})
