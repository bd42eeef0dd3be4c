/** The programs of `testdata/samples`, unchanged except for the hosts, and their output. */
import { execFileSync } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodeWav } from '../../src/media/index.ts'
import { loudness, readReply, usageAddsUp } from '../support/reply.ts'
import { openSamples, SAMPLE_KEY, type Samples, usagesIn } from '../support/samples.ts'
import { startTestServer, type TestServer } from '../support/server.ts'

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
let samples: Samples
beforeAll(async () => {
  samples = await openSamples()
  server = await startTestServer({ mediaAllowHost: [samples.files.host], apiKey: [SAMPLE_KEY] })
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  await samples[Symbol.asyncDispose]()
})

const sample = (name: string): Promise<string> => samples.run(name, server.url)

async function expectSpeech(): Promise<void> {
  const { sampleRate, channels, samples: pcm } = readWav(await readFile(path.join(samples.folder, 'reply.wav')))
  expect([sampleRate, channels]).toEqual([24_000, 1])
  // Six tokens of three frames of 80 ms.
  expect(pcm.length / sampleRate).toBeCloseTo(1.44, 5)
  expect(loudness(pcm)).toBeGreaterThan(0.1)
  await rm(path.join(samples.folder, 'reply.wav'))
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
    expect(usagesIn(output)).toMatchObject([SPOKEN])
    await expectSpeech()
  })

  it('thinking', async () => {
    const output = await sample('thinking.mjs')
    expect(output).toContain('reasoning: Let me think about that.')
    expect(usagesIn(output)).toMatchObject([THOUGHT])
  })

  it('media, by URL and as Base64 alike', async () => {
    const output = await sample('media.mjs')
    const all = usagesIn(output)
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
    expect(usagesIn(output)[0]?.prompt_tokens_details?.audio_tokens).toBe(50)
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
    expect(usagesIn(output)).toMatchObject([SPOKEN])
    await expectSpeech()
  })

  it('thinking', async () => {
    const output = await sample('thinking.py')
    expect(output).toContain('reasoning: Let me think about that.')
    expect(usagesIn(output)).toMatchObject([THOUGHT])
  })
})
