/**
 * Vercel's `ai` with its OpenAI provider, unchanged but for the address: text, images, audio in, tools, speech,
 * transcripts.
 */
import { readFileSync } from 'node:fs'
import { createOpenAI } from '@ai-sdk/openai'
import {
  experimental_generateSpeech as generateSpeech,
  experimental_transcribe as transcribe,
  generateText,
  type ModelMessage,
  stepCountIs,
  streamText,
  tool,
} from 'ai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { png, wav } from '../support/media.ts'
import { fakeEngine, startTestServer, type TestServer } from '../support/server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer({ apiKey: ['sk-test'] }, fakeEngine({ tools: true }))
})
afterAll(() => server.stop(0))

const openai = (): ReturnType<typeof createOpenAI> => createOpenAI({ apiKey: 'sk-test', baseURL: `${server.url}/v1` })
const model = (): ReturnType<ReturnType<typeof createOpenAI>['chat']> => openai().chat('qwen3-omni-flash')

const weather = tool({
  description: 'The weather of a city.',
  inputSchema: z.object({ city: z.string() }),
  execute: ({ city }) => `sunny in ${city}`,
})

describe('generateText and streamText', () => {
  it('answer text, with usage', async () => {
    const whole = await generateText({ model: model(), system: 'Be kind.', prompt: 'hello', temperature: 0.5 })
    expect(whole.text).toBe('You said: hello')
    expect(whole.usage.totalTokens).toBeGreaterThan(0)
    expect(server.engine.requests.at(-1)!.messages[0]).toMatchObject({
      role: 'system',
      content: [{ text: 'Be kind.' }],
    })
    const stream = streamText({ model: model(), prompt: 'hello' })
    let text = ''
    for await (const piece of stream.textStream) text += piece
    expect(text).toBe('You said: hello')
    expect((await stream.usage).totalTokens).toBeGreaterThan(0)
    expect(await stream.finishReason).toBe('stop')
  })

  it('take images and recordings', async () => {
    const messages: ModelMessage[] = [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'both?' },
          { type: 'file', data: await png(64, 48), mediaType: 'image/png' },
          { type: 'file', data: wav(2), mediaType: 'audio/wav' },
        ],
      },
    ]
    const { text } = await generateText({ model: model(), messages })
    expect(text).toContain('an image of 64 by 48 and 2.0 seconds of sound')
  })

  it('call a tool and use its result, whole and streamed', async () => {
    const ask = {
      model: model(),
      prompt: 'call weather {"city": "Rome"}',
      tools: { weather },
      stopWhen: stepCountIs(2),
    }
    const { steps } = await generateText(ask)
    expect(steps.map(({ finishReason }) => finishReason)).toEqual(['tool-calls', 'stop'])
    expect(steps[0]!.toolResults).toMatchObject([{ toolName: 'weather', output: 'sunny in Rome' }])
    const stream = streamText(ask)
    await stream.consumeStream()
    expect((await stream.steps).map(({ finishReason }) => finishReason)).toEqual(['tool-calls', 'stop'])
    const asked = server.engine.requests.at(-1)!.messages
    expect(asked.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool'])
  })

  it('throw the errors of the API', async () => {
    const wrong = generateText({ model: openai().chat('qwen3-omni-flsh'), prompt: 'x', maxRetries: 0 })
    await expect(wrong).rejects.toThrow("Did you mean 'qwen3-omni-flash'?")
    const keyless = createOpenAI({ apiKey: 'sk-wrong', baseURL: `${server.url}/v1` }).chat('qwen3-omni-flash')
    await expect(generateText({ model: keyless, prompt: 'x', maxRetries: 0 })).rejects.toThrow('Incorrect API key')
  })
})

describe('speech', () => {
  it('is generated and transcribed', async () => {
    const { audio } = await generateSpeech({
      model: openai().speech('fake-omni'),
      text: 'hello there',
      voice: 'Cherry',
      outputFormat: 'wav',
    })
    expect(audio.mediaType).toBe('audio/wav')
    expect(audio.uint8Array.length).toBeGreaterThan(10_000)
    const speech = readFileSync(new URL('../../testdata/silero-vad/speech.wav', import.meta.url))
    const { text } = await transcribe({ model: openai().transcription('fake-omni'), audio: speech })
    expect(text).toContain('Transcribe the audio.')
  })
})
