/**
 * `qwen-omni-turbo` answered by a Qwen2.5-Omni checkpoint (tiny, random weights): turbo's rules on the wire, with the
 * checkpoint's real limits. With the official client.
 */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Usage, usageSchema, voiceListSchema } from '../../src/protocol/index.ts'
import { dataUri, png, wav } from '../support/media.ts'
import { loudness, usageAddsUp } from '../support/reply.ts'
import { serve, type ServeProcess } from '../support/serve.ts'

vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 })

const checkpoint = fileURLToPath(new URL('../../testdata/checkpoints/tiny25-grouped', import.meta.url))
const clip = fileURLToPath(new URL('../../testdata/media/clip.mp4', import.meta.url))
const model = 'qwen-omni-turbo'

let server: ServeProcess
let client: OpenAI
beforeAll(async () => {
  server = await serve(['--model', checkpoint, '--bind', `${model}=${checkpoint}`])
  client = new OpenAI({ apiKey: 'any', baseURL: `${server.url}/compatible-mode/v1`, maxRetries: 0 })
})
afterAll(() => server[Symbol.asyncDispose]())

interface Answer {
  readonly text: string
  readonly samples: Int16Array
  readonly usage: Usage
}

/** The client's types know neither video nor Qwen's extras. */
async function ask(content: unknown, change: object = {}): Promise<Answer> {
  const body = {
    model,
    messages: [{ role: 'user', content }],
    stream: true,
    stream_options: { include_usage: true },
    modalities: ['text'],
    max_tokens: 4,
    temperature: 0,
    seed: 3,
    ...change,
  }
  const stream = await client.chat.completions.create(body as OpenAI.ChatCompletionCreateParamsStreaming)
  let [text, audio] = ['', '']
  let usage: unknown
  for await (const chunk of stream) {
    const delta: { content?: string | null; audio?: { data?: string } } = chunk.choices[0]?.delta ?? {}
    text += delta.content ?? ''
    audio += delta.audio?.data ?? ''
    usage = chunk.usage ?? usage
  }
  const bytes = Buffer.from(audio, 'base64')
  const samples = new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
  return { text, samples, usage: usageSchema.parse(usage) }
}

const spoken = (voice: string): object => ({
  modalities: ['text', 'audio'],
  audio: { voice, format: 'wav' },
  max_tokens: 2,
})
const text = { type: 'text', text: 'What is it?' }
const failure = (content: unknown, change: object = {}): Promise<unknown> =>
  ask(content, change).then(
    () => 'answered',
    (error: unknown) => error,
  )

describe('reads', () => {
  it('text', async () => {
    const { text: reply, samples, usage } = await ask('Hello there.')
    expect(reply).not.toBe('')
    expect(samples).toHaveLength(0)
    expect(usage.completion_tokens).toBe(4)
    expect(usageAddsUp(usage)).toBe(true)
  })

  it('an image, in tokens of 28 by 28 pixels', async () => {
    const image = { type: 'image_url', image_url: { url: dataUri(await png(280, 140), 'image/png') } }
    const { usage } = await ask([image, text])
    // 10 by 5, and a marker on each side.
    expect(usage.prompt_tokens_details?.image_tokens).toBe(52)
    expect(usageAddsUp(usage)).toBe(true)
  })

  it('audio, 25 tokens a second', async () => {
    const audio = { type: 'input_audio', input_audio: { data: dataUri(wav(4)), format: 'wav' } }
    const { usage } = await ask([audio, text])
    expect(usage.prompt_tokens_details?.audio_tokens).toBe(100)
    expect(usageAddsUp(usage)).toBe(true)
  })

  it('a video with audio', async () => {
    const video = { type: 'video_url', video_url: { url: dataUri(await readFile(clip)) } }
    const { usage, text: reply } = await ask([video, text])
    expect(reply).not.toBe('')
    expect(usage.prompt_tokens_details?.video_tokens).toBeGreaterThan(100)
    expect(usage.prompt_tokens_details?.audio_tokens).toBeGreaterThanOrEqual(50)
    expect(usageAddsUp(usage)).toBe(true)
  })

  it('all of them in one request, and an earlier turn', async () => {
    const image = { type: 'image_url', image_url: { url: dataUri(await png(56, 56), 'image/png') } }
    const audio = { type: 'input_audio', input_audio: { data: dataUri(wav(1)), format: 'wav' } }
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: [image, text] },
      { role: 'assistant', content: 'A square.' },
      { role: 'user', content: [audio, text] },
    ]
    const { usage } = await ask('', { messages })
    expect(usage.prompt_tokens_details).toMatchObject({ image_tokens: 6, audio_tokens: 25 })
  })
})

describe('speaks', () => {
  it.each(['Chelsie', 'Cherry'])('as %s, 25 audio tokens a second', async (voice) => {
    const { samples, usage } = await ask('Hello.', spoken(voice))
    const seconds = samples.length / 24_000
    expect(seconds).toBeGreaterThan(0.1)
    expect(loudness(samples)).toBeGreaterThan(0)
    expect(usage.completion_tokens_details?.audio_tokens).toBe(Math.ceil(seconds * 25 - 1e-6))
    expect(usageAddsUp(usage)).toBe(true)
  })

  it('with four voices in two languages; voices without a speaker use another', async () => {
    const answer = await fetch(`${server.url}/v1/voices?model=${model}`)
    const { data } = voiceListSchema.parse(await answer.json())
    expect(data).toHaveLength(1)
    expect(data[0]?.voices.map(({ name, native, spoken_by: by, languages }) => [name, native, by, languages])).toEqual([
      ['Cherry', false, 'chelsie', ['zh', 'en']],
      ['Serena', false, 'chelsie', ['zh', 'en']],
      ['Ethan', true, 'ethan', ['zh', 'en']],
      ['Chelsie', true, 'chelsie', ['zh', 'en']],
    ])
  })

  it('the same with any system message', async () => {
    const user = { role: 'user', content: 'Hello.' }
    const one = await ask('', { messages: [user], ...spoken('Ethan') })
    const other = await ask('', { messages: [{ role: 'system', content: 'Shout.' }, user], ...spoken('Ethan') })
    expect(other.text).toBe(one.text)
    expect(other.samples).toEqual(one.samples)
  })
})

describe('refuses', () => {
  it.each([
    ['a voice of another model', 'audio.voice', spoken('Jennifer'), /Cherry.*Serena.*Ethan.*Chelsie/],
    ['thinking', 'enable_thinking', { enable_thinking: true }, /enable_thinking|thinking/],
    ['more tokens than turbo writes', 'max_tokens', { max_tokens: 2049 }, /2048/],
  ])('%s', async (_, param, change, message) => {
    const error = await failure('Hello.', change)
    expect(error).toBeInstanceOf(OpenAI.BadRequestError)
    if (!(error instanceof OpenAI.BadRequestError)) return
    expect(error.message).toMatch(message)
    expect(error.param).toBe(param)
  })

  it('audio too long for turbo or for the checkpoint, with the limit and the fix', async () => {
    const audio = (seconds: number): object => ({
      type: 'input_audio',
      input_audio: { data: dataUri(wav(seconds, 8000)), format: 'wav' },
    })
    expect(await failure([audio(181), text])).toMatchObject({
      status: 400,
      message: expect.stringContaining("longer than 180 s, the model's limit"),
    })
    // qwen3-omni-flash accepts 20 minutes; the checkpoint that answers for it here does not.
    expect(await failure([audio(301), text], { model: 'qwen3-omni-flash' })).toMatchObject({
      status: 400,
      message: expect.stringMatching(
        /'tiny25-grouped' loaded here cannot do this: an audio of 301\.0 s is too long .* at most 300 s; send it in shorter pieces\./,
      ),
    })
  })

  it('a prompt beyond the checkpoint’s context', async () => {
    const error = await failure('word '.repeat(9000))
    expect(error).toMatchObject({ status: 400, message: expect.stringMatching(/4096|4,096/) })
  })
})
