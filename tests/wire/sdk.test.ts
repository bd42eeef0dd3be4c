/** The official clients: `openai`, streaming and typed, and the `ai` SDK's OpenAI-compatible provider. */
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, streamText, type ModelMessage } from 'ai'
import OpenAI from 'openai'
import type { ChatCompletionChunk as SdkChunk } from 'openai/resources/chat/completions'
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from 'vitest'
import type { ApiErrorBody, ChatCompletion, ChatCompletionChunk, ModelListing } from '../../src/protocol/index.ts'
import { dataUri, png } from '../support/media.ts'
import { loudness } from '../support/reply.ts'
import { fakeEngine, startTestServer, type TestServer } from '../support/server.ts'

/** What the SDK does not type: the hosted service's extras. */
interface OmniDelta extends SdkChunk.Choice.Delta {
  reasoning_content?: string | null
  audio?: { data?: string; expires_at?: number; id?: string; transcript?: string }
}

/** As in JSON: a key is present or not, never undefined. */
type AsJson<T> = T extends object ? { [K in keyof T]: AsJson<Exclude<T[K], undefined>> } : T

let server: TestServer
beforeAll(async () => {
  const reply = fakeEngine({
    reply: (request) => ({
      text: `turn ${request.messages.filter((message) => message.role === 'user').length}: noted.`,
    }),
  })
  server = await startTestServer({ apiKey: ['sk-test'], lenientNonStream: true }, reply)
})
afterAll(() => server[Symbol.asyncDispose]())

const client = (apiKey = 'sk-test') => new OpenAI({ apiKey, baseURL: server.baseUrl, maxRetries: 0 })

describe('openai', () => {
  it('streams text and speech over several turns', async () => {
    const messages: OpenAI.ChatCompletionMessageParam[] = []
    for (const [turn, content] of ['one', 'two', 'three'].entries()) {
      messages.push({ role: 'user', content })
      const stream = await client().chat.completions.create({
        model: 'qwen3-omni-flash',
        messages,
        stream: true,
        stream_options: { include_usage: true },
        modalities: ['text', 'audio'],
        audio: { voice: 'Cherry', format: 'wav' },
      })
      let text = ''
      let audio = ''
      let usage: OpenAI.CompletionUsage | null | undefined
      for await (const chunk of stream) {
        const delta: OmniDelta | undefined = chunk.choices[0]?.delta
        text += delta?.content ?? ''
        audio += delta?.audio?.data ?? ''
        usage = chunk.usage ?? usage
      }
      expect(text).toBe(`turn ${turn + 1}: noted.`)
      const bytes = Buffer.from(audio, 'base64')
      expect(
        loudness(new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))),
      ).toBeGreaterThan(0.1)
      expect(usage?.completion_tokens_details?.audio_tokens).toBeGreaterThan(0)
      messages.push({ role: 'assistant', content: text })
    }
  })

  it('assembles streams, accumulates them, and reads whole replies', async () => {
    const runner = client().chat.completions.stream({
      model: 'qwen3-omni-flash',
      messages: [{ role: 'user', content: 'x' }],
    })
    const final = await runner.finalChatCompletion()
    expect(final.choices[0]?.message.content).toBe('turn 1: noted.')
    const whole = await client().chat.completions.create({
      model: 'qwen3-omni-flash',
      messages: [{ role: 'user', content: 'x' }],
    })
    expect(whole.choices[0]?.message.content).toBe('turn 1: noted.')
    expect(whole.usage?.prompt_tokens).toBe(9)
  })

  it('raises its own errors, with code, param and request id', async () => {
    const create = (sdk: OpenAI, change: object) =>
      sdk.chat.completions.create({
        model: 'qwen3-omni-flash',
        stream: true,
        messages: [{ role: 'user', content: 'x' }],
        ...change,
      })
    await expect(create(client('sk-wrong'), {})).rejects.toBeInstanceOf(OpenAI.AuthenticationError)
    await expect(create(client(), { model: 'none' })).rejects.toBeInstanceOf(OpenAI.NotFoundError)
    const error = await create(client(), { temperature: 9 }).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(OpenAI.BadRequestError)
    if (!(error instanceof OpenAI.BadRequestError)) return
    expect([error.code, error.param, error.type]).toEqual([
      'invalid_parameter_error',
      'temperature',
      'invalid_request_error',
    ])
    expect(error.requestID).toMatch(/^[0-9a-f-]{36}$/)
  })

  it('raises an error in mid-stream', async () => {
    await using failing = await startTestServer({}, fakeEngine({ failAt: { event: 2, error: new Error('x') } }))
    const sdk = new OpenAI({ apiKey: 'x', baseURL: failing.baseUrl, maxRetries: 0 })
    const stream = await sdk.chat.completions.create({
      model: 'qwen3-omni-flash',
      stream: true,
      messages: [{ role: 'user', content: 'x' }],
    })
    await expect(
      (async () => {
        for await (const _ of stream) void _
      })(),
    ).rejects.toThrow('An internal error has occured')
  })

  it('lists models', async () => {
    const ids: string[] = []
    for await (const model of client().models.list()) ids.push(model.id)
    expect(ids).toContain('qwen3-omni-flash-2025-12-01')
    expect((await client().models.retrieve('qwen-omni-turbo')).owned_by).toBe('qwen')
  })

  it('has types that match ours', () => {
    expectTypeOf<AsJson<ChatCompletionChunk['choices'][number]['delta']>>().toExtend<AsJson<OmniDelta>>()
    // The SDK leaves `system_fingerprint` out rather than null, and types `usage` without our details.
    expectTypeOf<Omit<ChatCompletionChunk, 'system_fingerprint' | 'choices' | 'usage'>>().toExtend<
      Omit<SdkChunk, 'system_fingerprint' | 'choices' | 'usage'>
    >()
    expectTypeOf<Omit<ChatCompletionChunk['choices'][number], 'delta'>>().toExtend<Omit<SdkChunk.Choice, 'delta'>>()
    expectTypeOf<NonNullable<ChatCompletionChunk['usage']>>()
      .toHaveProperty('total_tokens')
      .toEqualTypeOf<OpenAI.CompletionUsage['total_tokens']>()
    expectTypeOf<ChatCompletion['choices'][number]['finish_reason']>().toExtend<
      OpenAI.ChatCompletion.Choice['finish_reason']
    >()
    expectTypeOf<ModelListing>().toExtend<OpenAI.Model>()
    expectTypeOf<ApiErrorBody['error']['message']>().toEqualTypeOf<string>()
  })
})

describe('ai', () => {
  const provider = () =>
    createOpenAICompatible({ name: 'omniserve', baseURL: server.baseUrl, apiKey: 'sk-test', includeUsage: true })

  it('holds a conversation, with an image in it', async () => {
    const model = provider()('qwen3-omni-flash')
    const messages: ModelMessage[] = [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'look' },
          { type: 'file', data: dataUri(await png(64, 64), 'image/png'), mediaType: 'image/png' },
        ],
      },
    ]
    const first = streamText({ model, messages })
    let text = ''
    for await (const piece of first.textStream) text += piece
    expect(text).toBe('turn 1: noted.')
    expect((await first.usage).inputTokens).toBeGreaterThan(0)
    expect(await first.finishReason).toBe('stop')
    messages.push(...(await first.response).messages, { role: 'user', content: 'and now?' })
    const second = streamText({ model, messages })
    expect(await second.text).toBe('turn 2: noted.')
    const seen = server.engine.requests.at(-1)?.messages
    expect(seen?.map((message) => message.role)).toEqual(['user', 'assistant', 'user'])
    expect(seen?.[0]?.content.some((part) => part.type === 'image')).toBe(true)
  })

  it('reads reasoning', async () => {
    const result = streamText({
      model: provider()('qwen3-omni-flash'),
      prompt: 'x',
      providerOptions: { omniserve: { enable_thinking: true } },
    })
    expect(await result.reasoningText).toBe('Let me think about that.')
    expect(await result.text).toBe('turn 1: noted.')
  })

  it('generates whole replies from a lenient server, and reports errors', async () => {
    expect((await generateText({ model: provider()('qwen3-omni-flash'), prompt: 'x' })).text).toBe('turn 1: noted.')
    await expect(generateText({ model: provider()('none'), prompt: 'x', maxRetries: 0 })).rejects.toThrow(
      'The model `none` does not exist',
    )
  })
})
