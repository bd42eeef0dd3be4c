import { describe, expect, it } from 'vitest'
import { ApiError, errors, mergeExtraBody, parseChatRequest, readSse, SSE_DONE, sseEvent } from './index.ts'

function streamOf(...pieces: (string | Uint8Array)[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces)
        controller.enqueue(typeof piece === 'string' ? new TextEncoder().encode(piece) : piece)
      controller.close()
    },
  })
}

async function collect(stream: ReadableStream<Uint8Array>): Promise<string[]> {
  const all: string[] = []
  for await (const data of readSse(stream)) all.push(data)
  return all
}

describe('server-sent events', () => {
  it('reads what is written, however it is cut', async () => {
    const bytes = new TextEncoder().encode(sseEvent({ text: '你好\n😀' }) + sseEvent([1]) + SSE_DONE)
    for (let size = 1; size < 12; size += 1) {
      const pieces: Uint8Array[] = []
      for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.slice(at, at + size))
      expect(await collect(streamOf(...pieces))).toEqual(['{"text":"你好\\n😀"}', '[1]', '[DONE]'])
    }
  })

  it('takes CRLF, comments, several data lines and a last event without an empty line', async () => {
    expect(await collect(streamOf(': hi\r\n\r\ndata: a\r', '\ndata:b\r\n\r\nid: 3\n\ndata: c\n'))).toEqual([
      'a\nb',
      'c',
    ])
  })

  it('cancels the source when left early', async () => {
    let cancelled = false
    const source = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new TextEncoder().encode('data: x\n\n')),
      cancel: () => {
        cancelled = true
      },
    })
    for await (const data of readSse(source)) {
      expect(data).toBe('x')
      break
    }
    expect(cancelled).toBe(true)
  })
})

describe('request', () => {
  const parse = (body: unknown) => parseChatRequest(body, (name) => name === 'm')
  const messages = [{ role: 'user', content: 'hi' }]

  it('lifts a literal extra_body, without letting it override', () => {
    expect(mergeExtraBody({ a: 1, extra_body: { a: 2, b: 3 } })).toEqual({ a: 1, b: 3 })
    expect(mergeExtraBody({ a: 1, extra_body: 'x' })).toEqual({ a: 1 })
    expect(parse({ model: 'm', messages, extra_body: { enable_thinking: true, top_k: 3 } })).toMatchObject({
      enable_thinking: true,
      top_k: 3,
    })
  })

  it('takes null for absent, ignores unknown keys, and both forms of image_url', () => {
    const request = parse({
      model: 'm',
      messages: [
        { role: 'system', content: [{ type: 'text', text: 's' }] },
        {
          role: 'user',
          content: [
            { type: 'image_url', image_url: 'http://a/b' },
            { type: 'text', text: 't', x: 1 },
          ],
        },
        { role: 'assistant', content: 'x', reasoning_content: 'y' },
        { role: 'user', content: [{ type: 'input_audio', input_audio: { data: 'http://a' } }] },
      ],
      temperature: null,
      top_k: null,
      stop: null,
      audio: null,
      what: { ever: true },
    })
    expect(request.top_k).toBeNull()
    expect(request).not.toHaveProperty('what')
  })

  it('does not echo long values', () => {
    try {
      parse({ model: 'm', messages: 'x'.repeat(10_000) })
      expect.unreachable()
    } catch (error) {
      expect(error).toBeInstanceOf(ApiError)
      expect(error instanceof Error && error.message.length).toBeLessThan(140)
    }
  })
})

describe('error bodies', () => {
  it('have `id` past the gateway only', () => {
    const model = errors.streamOnly().toBody('u')
    expect(model).toMatchObject({ id: 'chatcmpl-u', request_id: 'u', error: { param: 'stream' } })
    const gateway = errors.apiKeyWrong('cn').toBody('u')
    expect(gateway).not.toHaveProperty('id')
    expect(gateway.error).toEqual({
      message:
        'Incorrect API key provided. For details, see: https://help.aliyun.com/zh/model-studio/error-code#apikey-error',
      type: 'invalid_request_error',
      param: null,
      code: 'invalid_api_key',
    })
  })
})
