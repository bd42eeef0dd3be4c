import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ConfigError, configJsonSchema, loadClusterFile, loadSettings, poolKey } from './index.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'omniserve-cluster-'))
})
afterAll(() => rm(folder, { recursive: true }))

async function write(text: string, name = 'cluster.yaml'): Promise<string> {
  const file = path.join(folder, name)
  await writeFile(file, text)
  return file
}

const good = `port: 9000
apiKey: [sk-1]
pools:
  gpu:
    engine: vllm-omni
    model: Qwen/Qwen3-Omni-30B-A3B-Instruct
    replicas:
      - http://10.0.0.1:8091
      - url: http://10.0.0.2:8091
        weight: 2
models:
  qwen3-omni-flash: gpu
  "*": [gpu]
`

describe('the cluster part of the configuration file', () => {
  it('is read from YAML and from JSON, with settings', async () => {
    const file = await write(good)
    expect(await loadSettings({ file })).toMatchObject({ port: 9000, apiKey: ['sk-1'] })
    const cluster = await loadClusterFile(file)
    expect(cluster).toMatchObject({
      pools: {
        gpu: { engine: 'vllm-omni', replicas: ['http://10.0.0.1:8091', { url: 'http://10.0.0.2:8091', weight: 2 }] },
      },
      models: { 'qwen3-omni-flash': ['gpu'], '*': ['gpu'] },
    })
    const { pools, models } = cluster!
    expect(await loadClusterFile(await write(JSON.stringify({ pools, models }), 'c.json'))).toEqual(cluster)
    expect(await loadClusterFile(await write('port: 1\n'))).toBeUndefined()
  })

  it.each([
    [
      good.replace('http://10.0.0.1:8091', '10.0.0.1'),
      'line 8: pools.gpu.replicas[0] must be a URL such as http://10.0.0.5:8091.',
    ],
    [good.replace('weight: 2', 'weigth: 2'), 'line 9: pools.gpu.replicas[1] has an unknown key "weigth".'],
    [good.replace('weight: 2', 'weight: -1'), 'line 10: pools.gpu.replicas[1].weight'],
    [good.replace('vllm-omni', 'ollama'), 'line 5: pools.gpu.engine is wrong: expected one of "local"|'],
    [
      good.replace('    model: Qwen/Qwen3-Omni-30B-A3B-Instruct\n', ''),
      'pools.gpu.model is required: the model name at the servers.',
    ],
    [
      good.replace('flash: gpu', 'flash: gpus'),
      'line 12: models.qwen3-omni-flash[0] names the pool gpus; there are gpu.',
    ],
    [good.replace('weight: 2', 'name: gpu-1'), 'a second replica is called gpu-1.'],
    [good.replace('models:', 'modles:'), 'has an unknown key "modles"'],
    [good.replace('  gpu:\n', '  gpu: [\n'), 'is not YAML'],
    [`${good}mediaAllowHost: *.example.com\n`, 'line 14, cannot be read: Unresolved alias'],
    [
      `a: &a [${'x,'.repeat(10)}]\nb: &b [${'*a,'.repeat(10)}]\nc: &c [${'*b,'.repeat(10)}]\npools: [*c]\n`,
      'cannot be read: Excessive alias count',
    ],
    ['pools: {}\npools: {}\n', 'line 2, is not YAML: Map keys must be unique'],
  ])('says where a fault is: %#', async (text, message) => {
    const file = await write(text)
    const reading = loadSettings({ file }).then(() => loadClusterFile(file))
    await expect(reading).rejects.toThrow(ConfigError)
    await expect(reading).rejects.toThrow(message)
  })

  it('takes keys from variables and files, and says which is missing', async () => {
    const pool = { engine: 'vllm', model: 'm', replicas: ['http://a'] } as const
    const parts = { ...pool, replicas: [...pool.replicas] }
    expect(await poolKey('p', { ...parts, keyVariable: 'K' }, { K: 'sk-2' })).toBe('sk-2')
    expect(await poolKey('p', { ...parts, keyFile: await write(' sk-3\n', 'key') })).toBe('sk-3')
    await expect(poolKey('p', { ...parts, keyVariable: 'K' }, {})).rejects.toThrow(
      'the pool p takes its key from the variable K',
    )
  })

  it('is published as a JSON schema', async () => {
    const published: unknown = JSON.parse(
      await readFile(path.join(import.meta.dirname, '../../docs/omniserve.schema.json'), 'utf8'),
    )
    // Written by: node src/cli/main.ts cluster schema > docs/omniserve.schema.json
    expect(published).toEqual(JSON.parse(JSON.stringify(configJsonSchema())))
  })
})
