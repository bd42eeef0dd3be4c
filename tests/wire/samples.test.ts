/** The programs of `testdata/samples`, run as they stand but for the hosts, and what they write looked at. */
import { execFile, execFileSync } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodeWav } from '../../src/media/index.ts'
import { usageSchema, type Usage } from '../../src/protocol/index.ts'
import { type FileServer, jpeg, png, serveFiles, wav } from '../support/media.ts'
import { loudness, readReply, usageAddsUp } from '../support/reply.ts'
import { startTestServer, type TestServer } from '../support/server.ts'

const run = promisify(execFile)
const samples = fileURLToPath(new URL('../../testdata/samples/', import.meta.url))
const root = fileURLToPath(new URL('../../', import.meta.url))
const has = (command: string, ...args: string[]): boolean => {
  try {
    execFileSync(command, args, { stdio: 'ignore', timeout: 150_000 })
    return true
  } catch {
    return false
  }
}
const hasPython = has('python3', '-c', 'import openai')
const hasCurl = has('curl', '--version')
if (!hasPython) console.warn('NOT RUN: the Python samples, since `python3 -c "import openai"` fails here')
if (!hasCurl) console.warn('NOT RUN: the curl samples, since there is no curl here')

let server: TestServer
let files: FileServer
let folder = ''
beforeAll(async () => {
  // Inside the package, so that programs find `openai` and `wav`.
  await mkdir(path.join(root, '.cache'), { recursive: true })
  folder = await mkdtemp(path.join(root, '.cache', 'samples-'))
  const made = { 'picture.png': await png(320, 320), 'frame.jpg': await jpeg(640, 360), 'sound.wav': wav(4) }
  for (const [name, bytes] of Object.entries(made)) await writeFile(path.join(folder, name), bytes)
  await copyFile(path.join(root, 'testdata/media/clip.mp4'), path.join(folder, 'clip.mp4'))
  files = await serveFiles({
    '/picture.png': { body: made['picture.png'], type: 'image/png' },
    '/frame.jpg': { body: made['frame.jpg'], type: 'image/jpeg' },
    '/sound.wav': { body: made['sound.wav'], type: 'audio/wav' },
    '/clip.mp4': { body: await readFile(path.join(folder, 'clip.mp4')), type: 'video/mp4' },
  })
  server = await startTestServer({ mediaAllowHost: [files.host], apiKey: ['sk-sample'] })
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  await files[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

/** Runs one sample; only its hosts are replaced. */
async function sample(name: string): Promise<string> {
  const source = await readFile(path.join(samples, name), 'utf8')
  const here = source
    .replaceAll('https://dashscope-intl.aliyuncs.com', server.url)
    .replaceAll('https://help-static-aliyun-doc.aliyuncs.com', files.url)
  const copy = path.join(folder, name)
  await writeFile(copy, here)
  const command = name.endsWith('.mjs') ? process.execPath : name.endsWith('.py') ? 'python3' : 'sh'
  const env = { ...process.env, DASHSCOPE_API_KEY: 'sk-sample', PYTHONIOENCODING: 'utf-8' }
  const { stdout } = await run(command, [copy], { cwd: folder, env, timeout: 150_000, maxBuffer: 1e8 })
  return stdout
}

function usages(output: string): Usage[] {
  return output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => usageSchema.parse(JSON.parse(line)))
}

async function expectSpeech(): Promise<void> {
  const { sampleRate, channels, samples: pcm } = readWav(await readFile(path.join(folder, 'reply.wav')))
  expect([sampleRate, channels]).toEqual([24_000, 1])
  // Six tokens of three frames of 80 ms.
  expect(pcm.length / sampleRate).toBeCloseTo(1.44, 5)
  expect(loudness(pcm)).toBeGreaterThan(0.1)
  await rm(path.join(folder, 'reply.wav'))
}

function readWav(bytes: Buffer): { sampleRate: number; channels: number; samples: Int16Array } {
  const { sampleRate, channels, samples: floats } = decodeWav(bytes)
  return { sampleRate, channels, samples: Int16Array.from(floats, (value) => Math.round(value * 32_767)) }
}

const SPOKEN = { prompt_tokens: 207, completion_tokens: 24, total_tokens: 231 }
const THOUGHT = { prompt_tokens: 11, completion_tokens_details: { reasoning_tokens: 5, text_tokens: 6 } }

describe('Node samples', () => {
  it('spoken', async () => {
    const output = await sample('spoken.mjs')
    expect(output).toContain('You said: 你是誰?')
    expect(usages(output)).toMatchObject([SPOKEN])
    await expectSpeech()
  })

  it('thinking', async () => {
    const output = await sample('thinking.mjs')
    expect(output).toContain('reasoning: Let me think about that.')
    expect(usages(output)).toMatchObject([THOUGHT])
  })

  it('media, by URL and as Base64 alike', async () => {
    const output = await sample('media.mjs')
    const all = usages(output)
    expect(all).toHaveLength(8)
    expect(all.every(usageAddsUp)).toBe(true)
    for (let pair = 0; pair < 8; pair += 2) expect(all[pair]).toEqual(all[pair + 1])
    for (const seen of ['an image of 320 by 320', '4.0 seconds of sound', '4 frames', '4 frames with sound']) {
      expect(output.split(seen).length - 1, seen).toBeGreaterThanOrEqual(2)
    }
  })

  it('conversation', async () => {
    const output = await sample('conversation.mjs')
    expect(output).toContain('You said: How high?')
    expect(usages(output)[0]?.prompt_tokens_details?.audio_tokens).toBe(50)
  })
})

describe.skipIf(!hasCurl)('curl samples', () => {
  it('spoken', async () => {
    const reply = await readReply(new Response(await sample('spoken.sh')))
    expect(reply.text).toBe('You said: 你是誰?')
    expect(reply.usage).toMatchObject(SPOKEN)
    expect(loudness(reply.samples)).toBeGreaterThan(0.1)
  })

  it('conversation', async () => {
    const reply = await readReply(new Response(await sample('conversation.sh')))
    expect(reply.text).toBe('You said: How high?')
    expect(reply.usage?.prompt_tokens_details?.audio_tokens).toBe(50)
  })
})

describe.skipIf(!hasPython)('Python samples', () => {
  it('spoken', async () => {
    const output = await sample('spoken.py')
    expect(output).toContain('You said: 你是誰?')
    expect(usages(output)).toMatchObject([SPOKEN])
    await expectSpeech()
  })

  it('thinking', async () => {
    const output = await sample('thinking.py')
    expect(output).toContain('reasoning: Let me think about that.')
    expect(usages(output)).toMatchObject([THOUGHT])
  })
})
