import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { isCheckpointFile, parseHubId, pullCheckpoint, type PullOptions, type PullProgress } from './pull.ts'
import { sendContent, TestHub } from '../../../testing/hub-server.ts'
import { withShortWrites } from '../../../testing/short-writes.ts'
import { eventually } from '../../../testing/until.ts'

const weights = randomBytes(300_000)
const second = randomBytes(120_000)
const content = {
  'config.json': '{"architectures":["Tiny"]}',
  'model-00001-of-00002.safetensors': weights,
  'model-00002-of-00002.safetensors': second,
  'tokenizer.json': '{}',
  'pytorch_model.bin': 'not part of a checkpoint',
  'folder/extra.json': 'not part of a checkpoint',
}

const large = 'model-00001-of-00002.safetensors'

let root: string
let hub: TestHub
let count = 0
let pauses: number[]
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'omniserve-pull-'))
})
afterAll(() => rm(root, { recursive: true }))
beforeEach(async () => {
  pauses = []
  hub = await new TestHub(content, ['config.json', 'tokenizer.json']).start()
})
afterEach(() => hub[Symbol.asyncDispose]())

const options = (more: Partial<PullOptions> = {}): PullOptions => ({
  folder: join(root, `case-${count++}`),
  endpoint: hub.endpoint,
  env: {},
  pause: async (milliseconds) => {
    pauses.push(milliseconds)
  },
  ...more,
})

async function expectWhole(folder: string): Promise<void> {
  const names = [
    'config.json',
    'model-00001-of-00002.safetensors',
    'model-00002-of-00002.safetensors',
    'tokenizer.json',
  ]
  expect((await readdir(folder)).toSorted()).toEqual(['.omniserve-pull.json', ...names])
  for (const name of names) {
    expect((await readFile(join(folder, name))).equals(hub.files.get(name)!), name).toBe(true)
  }
}
/** Waits until the partial file of the large shard has this many bytes. */
const waitForPartial = (folder: string, bytes: number): Promise<void> =>
  eventually(async () => {
    const part = (await readdir(folder)).find((file) => file.startsWith(large) && file.endsWith('.partial'))
    expect((await stat(join(folder, part!))).size).toBe(bytes)
  })
/** Handles the first `times` requests for a file's content. */
const onContentRequest = (
  file: string,
  times: number,
  act: (...args: Parameters<TestHub['mischief']>) => void,
): void => {
  let left = times
  hub.mischief = (request, response) => {
    if (!request.url!.startsWith(`/${file}`) || left-- <= 0) return false
    act(request, response)
    return true
  }
}

it('selects the files of a checkpoint, including voices, and no others', () => {
  const selected = ['model-00001-of-00005.safetensors', 'config.json', 'merges.txt', 'spk_dict.pt', 'LICENSE']
  const others = ['pytorch_model.bin', 'optimizer.pt', 'folder/spk_dict.pt', 'model.onnx', '.gitattributes']
  expect([...selected, ...others].filter((path) => isCheckpointFile(path))).toEqual(selected)
})

describe.each(['huggingface', 'modelscope'] as const)('pulling from %s', (name) => {
  it('downloads and checks the files, and reports progress', async () => {
    const steps: PullProgress[] = []
    const pullOptions = options({ hub: name, onProgress: (step) => steps.push(step) })
    const result = await pullCheckpoint(hub.id, pullOptions)
    await expectWhole(pullOptions.folder)
    const bytes = weights.length + second.length + content['config.json'].length + 2
    expect(result).toMatchObject({ hub: name, id: hub.id, bytes, bytesFetched: bytes })
    expect(result.files).toHaveLength(4)
    expect(result.revision).toBe(name === 'huggingface' ? hub.commit : 'master')
    expect(steps.at(-1)).toMatchObject({ bytesDone: bytes, bytes, filesDone: 4, files: 4 })
    expect(steps.map(({ bytesDone }) => bytesDone)).toEqual(
      steps.map(({ bytesDone }) => bytesDone).toSorted((a, b) => a - b),
    )
  })

  it('downloads nothing twice', async () => {
    const pullOptions = options({ hub: name })
    await pullCheckpoint(hub.id, pullOptions)
    hub.log.length = 0
    expect(await pullCheckpoint(hub.id, pullOptions)).toMatchObject({ bytesFetched: 0 })
    expect(hub.log.filter(({ host }) => host === 'cdn')).toEqual([])
    // Without the record of checked files, it reads the files.
    await rm(join(pullOptions.folder, '.omniserve-pull.json'))
    expect(await pullCheckpoint(hub.id, pullOptions)).toMatchObject({ bytesFetched: 0 })
  })

  it('resumes after a broken connection', async () => {
    const pullOptions = options({ hub: name })
    onContentRequest(large, 2, (request, response) => {
      const from = Number(/\d+/.exec(request.headers.range ?? '0')![0])
      response.writeHead(from > 0 ? 206 : 200, {
        'content-length': weights.length - from,
        'content-range': `bytes ${from}-${weights.length - 1}/${weights.length}`,
      })
      response.write(weights.subarray(from, from + 70_000))
      void waitForPartial(pullOptions.folder, from + 70_000).then(() => response.destroy())
    })
    const result = await pullCheckpoint(hub.id, pullOptions)
    await expectWhole(pullOptions.folder)
    expect(hub.contentRequests(large).map(({ range }) => range)).toEqual([undefined, 'bytes=70000-', 'bytes=140000-'])
    expect(result.bytesFetched).toBe(result.bytes)
  })

  it('sends the token to the hub only', async () => {
    hub.token = 'hf_secret'
    const pullOptions = options({ hub: name, env: { HF_TOKEN: 'hf_secret', MODELSCOPE_API_TOKEN: 'hf_secret' } })
    await pullCheckpoint(hub.id, pullOptions)
    await expectWhole(pullOptions.folder)
    for (const { host, authorization } of hub.log)
      expect(authorization).toBe(host === 'hub' ? 'Bearer hf_secret' : undefined)
  })
})

describe('a download', () => {
  it('resumes from an earlier run', async () => {
    const pullOptions = options()
    const stop = new AbortController()
    onContentRequest(large, 1, (_, response) => {
      response.writeHead(200, { 'content-length': weights.length })
      response.write(weights.subarray(0, 100_000))
      void waitForPartial(pullOptions.folder, 100_000).then(() => stop.abort(new Error('ctrl-c')))
    })
    await expect(pullCheckpoint(hub.id, { ...pullOptions, signal: stop.signal, parallel: 1 })).rejects.toThrow('ctrl-c')
    const left = (await readdir(pullOptions.folder)).filter((file) => file.endsWith('.partial'))
    expect(left).toHaveLength(1)
    expect((await stat(join(pullOptions.folder, left[0]!))).size).toBe(100_000)
    hub.log.length = 0
    const first: PullProgress[] = []
    const result = await pullCheckpoint(hub.id, { ...pullOptions, onProgress: (step) => first.push(step) })
    expect(hub.contentRequests(large).map(({ range }) => range)).toEqual(['bytes=100000-'])
    expect(result.bytesFetched).toBe(result.bytes - 100_000)
    expect(first[0]!.bytesDone).toBeGreaterThan(100_000)
    await expectWhole(pullOptions.folder)
  })

  it('starts again when the server cannot resume', async () => {
    let cut = true
    const pullOptions = options()
    hub.mischief = (request, response) => {
      if (!request.url!.startsWith(`/${large}`)) return false
      response.writeHead(200, { 'content-length': weights.length })
      if (cut) {
        response.write(weights.subarray(0, 50_000))
        void waitForPartial(pullOptions.folder, 50_000).then(() => response.destroy())
      } else response.end(weights)
      cut = false
      return true
    }
    await pullCheckpoint(hub.id, pullOptions)
    await expectWhole(pullOptions.folder)
  })

  it('starts again when the partial file of an earlier run is damaged', async () => {
    const pullOptions = options()
    const stop = new AbortController()
    onContentRequest(large, 1, (_, response) => {
      response.writeHead(200, { 'content-length': weights.length })
      response.write(Buffer.alloc(100_000, 7))
      void waitForPartial(pullOptions.folder, 100_000).then(() => stop.abort(new Error('ctrl-c')))
    })
    await expect(pullCheckpoint(hub.id, { ...pullOptions, signal: stop.signal })).rejects.toThrow('ctrl-c')
    await pullCheckpoint(hub.id, pullOptions)
    await expectWhole(pullOptions.folder)
    expect(hub.contentRequests(large).map(({ range }) => range)).toEqual([undefined, 'bytes=100000-', undefined])
  })

  it('fails after several tries without data', async () => {
    onContentRequest(large, 99, (_, response) => response.destroy())
    const pullOptions = options({ tries: 3 })
    await expect(pullCheckpoint(hub.id, pullOptions)).rejects.toMatchObject({ name: 'PullError', code: 'network' })
    expect(pauses.length).toBeGreaterThanOrEqual(2)
    expect((await readdir(pullOptions.folder)).some((file) => file === large)).toBe(false)
  })

  it('is retried when it stalls', async () => {
    onContentRequest(large, 1, (_, response) => {
      response.writeHead(200, { 'content-length': weights.length })
      response.write(weights.subarray(0, 10_000))
    })
    const pullOptions = options({ stallAfter: 1500 })
    await pullCheckpoint(hub.id, pullOptions)
    await expectWhole(pullOptions.folder)
    expect(hub.contentRequests(large)).toHaveLength(2)
  })

  it.each(['model-00002-of-00002.safetensors', 'config.json'])('with a changed byte in %s is refused', async (file) => {
    hub.mischief = (request, response) => {
      if (!request.url!.startsWith(`/${file}`)) return false
      const wrong = Buffer.from(hub.files.get(file)!)
      wrong[5] = wrong[5]! ^ 1
      sendContent(wrong, request, response)
      return true
    }
    const pullOptions = options()
    await expect(pullCheckpoint(hub.id, pullOptions)).rejects.toMatchObject({
      code: 'checksum',
      message: expect.stringContaining(file) as string,
    })
    expect((await readdir(pullOptions.folder)).filter((name) => name.startsWith(file))).toEqual([])
  })

  it('of too many bytes is refused', async () => {
    onContentRequest(large, 99, (_, response) => response.writeHead(200).end(Buffer.concat([weights, weights])))
    await expect(pullCheckpoint(hub.id, options())).rejects.toMatchObject({ code: 'checksum' })
  })

  it.each(['huggingface', 'modelscope'] as const)(
    'to a disk that accepts only a part of each write is complete: %s',
    async (name) => {
      hub.withoutHash.add(large)
      const pullOptions = options({ hub: name })
      await withShortWrites(() => pullCheckpoint(hub.id, pullOptions))
      await expectWhole(pullOptions.folder)
    },
  )

  it('lists files without a hash as unverified', async () => {
    hub.withoutHash.add(large)
    const pullOptions = options({ hub: 'modelscope' })
    expect(await pullCheckpoint(hub.id, pullOptions)).toMatchObject({ unverified: [large] })
    expect(await pullCheckpoint(hub.id, pullOptions)).toMatchObject({ unverified: [large], bytesFetched: 0 })
    await expectWhole(pullOptions.folder)
  })

  it('replaces a file that changed on disk', async () => {
    const pullOptions = options()
    await pullCheckpoint(hub.id, pullOptions)
    await writeFile(join(pullOptions.folder, large), Buffer.alloc(weights.length))
    await pullCheckpoint(hub.id, pullOptions)
    await expectWhole(pullOptions.folder)
  })
})

describe('errors', () => {
  const pullError = (code: string, ...parts: string[]) => ({
    name: 'PullError',
    code,
    message: expect.stringMatching(new RegExp(parts.join('.*'), 's')) as string,
  })

  it('for a missing or wrong token name the environment variable', async () => {
    hub.token = 'right'
    await expect(pullCheckpoint(hub.id, options())).rejects.toMatchObject(
      pullError('unauthorized', 'requires a token', 'HF_TOKEN'),
    )
    await expect(pullCheckpoint(hub.id, options({ token: 'wrong' }))).rejects.toMatchObject(
      pullError('unauthorized', 'refuses the token', 'HF_TOKEN'),
    )
    await expect(pullCheckpoint(`modelscope:${hub.id}`, options())).rejects.toMatchObject(
      pullError('unauthorized', 'MODELSCOPE_API_TOKEN'),
    )
    expect(JSON.stringify(hub.log.map(({ path }) => path))).not.toContain('wrong')
  })

  it('name an unknown model or revision', async () => {
    await expect(pullCheckpoint('Qwen/Nothing', options())).rejects.toMatchObject(
      pullError('not_found', 'Qwen/Nothing'),
    )
    await expect(pullCheckpoint(hub.id, options({ revision: 'v9' }))).rejects.toMatchObject(
      pullError('not_found', 'v9'),
    )
    hub.mischief = (_, response) => {
      response.writeHead(200).end('{"Code": 10010205001, "Message": "record not found"}')
      return true
    }
    await expect(pullCheckpoint('ms:Qwen/Nothing', options())).rejects.toMatchObject(
      pullError('not_found', 'record not found'),
    )
  })

  it('with Retry-After delay the next try by that time', async () => {
    let left = 2
    hub.mischief = (_, response) => {
      if (left-- <= 0) return false
      if (left === 1) response.writeHead(429, { 'retry-after': '7' }).end()
      else response.writeHead(503).end()
      return true
    }
    const pullOptions = options()
    await pullCheckpoint(hub.id, pullOptions)
    await expectWhole(pullOptions.folder)
    expect(pauses).toEqual([7000, 2000])
  })

  it('that persist end the pull', async () => {
    hub.mischief = (_, response) => {
      response.writeHead(429).end()
      return true
    }
    await expect(pullCheckpoint(hub.id, options({ tries: 2 }))).rejects.toMatchObject(pullError('rate_limited', '429'))
    hub.mischief = (_, response) => {
      response.writeHead(502).end()
      return true
    }
    await expect(pullCheckpoint(hub.id, options({ tries: 2 }))).rejects.toMatchObject(pullError('network', '502'))
    const pullOptions = options({ tries: 2 })
    await hub[Symbol.asyncDispose]()
    await expect(pullCheckpoint(hub.id, pullOptions)).rejects.toMatchObject(
      pullError('network', 'cannot be reached', 'ECONNREFUSED'),
    )
    hub = await new TestHub(content).start()
  })

  it.each([['../evil.json'], ['/etc/evil.json'], ['a\\..\\evil.json'], ['folder//evil.json'], ['C:evil.json']])(
    'report an unsafe file name: %s',
    async (path) => {
      hub.extraEntries = [{ type: 'file', path, size: 3, oid: 'x', Path: path, Type: 'blob', Size: 3 }]
      for (const name of ['huggingface', 'modelscope'] as const) {
        await expect(pullCheckpoint(hub.id, options({ hub: name }))).rejects.toMatchObject(
          pullError('bad_listing', 'a file named'),
        )
      }
    },
  )

  it('report an invalid list of files', async () => {
    hub.mischief = (_, response) => {
      response.writeHead(200).end('<html>')
      return true
    }
    await expect(pullCheckpoint(hub.id, options())).rejects.toMatchObject(pullError('bad_listing'))
    hub.mischief = () => false
    hub.extraEntries = [{ type: 'file', path: 'x.json', size: -3, oid: 'x' }]
    await expect(pullCheckpoint(hub.id, options())).rejects.toMatchObject(pullError('bad_listing', 'size -3'))
  })

  it('report a repository without a checkpoint', async () => {
    hub.files.delete('config.json')
    await expect(pullCheckpoint(hub.id, options())).rejects.toMatchObject(pullError('bad_listing', 'no config.json'))
    hub.files.set('config.json', Buffer.from('{}'))
    for (const name of hub.files.keys()) if (name.endsWith('.safetensors')) hub.files.delete(name)
    await expect(pullCheckpoint(hub.id, options())).rejects.toMatchObject(pullError('bad_listing', 'no safetensors'))
  })

  it('report too little disk space before the download', async () => {
    hub.extraEntries = [{ type: 'file', path: 'huge.safetensors', size: 2 ** 52, oid: 'x' }]
    await expect(pullCheckpoint(hub.id, options())).rejects.toMatchObject(pullError('disk_full', 'GB left'))
    expect(hub.log.filter(({ host }) => host === 'cdn')).toEqual([])
  })

  it.each(['Qwen', 'Qwen/../x', '../x', 'a/b/c', 'http://x/y', 'Qwen/', ''])('report the invalid id %j', async (id) => {
    await expect(pullCheckpoint(id, options())).rejects.toMatchObject(pullError('bad_request', 'OWNER/NAME'))
  })
})

it('parses ids', () => {
  expect(parseHubId('Qwen/Qwen3-Omni-30B-A3B-Instruct')).toEqual({
    hub: 'huggingface',
    id: 'Qwen/Qwen3-Omni-30B-A3B-Instruct',
  })
  expect(parseHubId('modelscope:Qwen/X').hub).toBe('modelscope')
  expect(parseHubId('hf:Qwen/X', 'modelscope').hub).toBe('huggingface')
  expect(parseHubId('Qwen/X', 'modelscope').hub).toBe('modelscope')
})
