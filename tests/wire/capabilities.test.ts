/** What the engine behind a model does not support is refused, or reported as a warning. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dataUri, png, wav } from '../support/media.ts'
import { readReply } from '../support/reply.ts'
import { fakeEngine, startTestServer, type TestServer } from '../support/server.ts'

const text = { model: 'qwen3-omni-flash', stream: true, messages: [{ role: 'user', content: 'hi' }] }
const audio = { voice: 'Cherry', format: 'wav' }
const speech = { modalities: ['text', 'audio'] }
const usage = { stream_options: { include_usage: true } }

describe('an engine without seeds, with one voice and without counts by modality', () => {
  let server: TestServer
  let image: object
  beforeAll(async () => {
    const capabilities = { seed: false, voiceChoice: false, promptByModality: false }
    server = await startTestServer({ lenientNonStream: true }, fakeEngine({ capabilities }))
    const url = dataUri(await png(64, 64))
    image = { ...text, messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }] }
  })
  afterAll(() => server[Symbol.asyncDispose]())

  const warnings = async (body: object): Promise<string | null> => {
    const response = await server.chat(body)
    expect(response.status).toBe(200)
    await response.text()
    return response.headers.get('x-omniserve-warnings')
  }

  it('adds a warning where the request has a seed', async () => {
    const seedless = "seed: the checkpoint 'fake-omni' does not support it, so replies with one seed may differ"
    expect(await warnings({ ...text, seed: 7 })).toBe(seedless)
    expect(await warnings({ ...text, seed: 7, stream: false })).toBe(seedless)
    expect(await warnings(text)).toBeNull()
    expect(await warnings({ ...text, seed: null })).toBeNull()
  })

  it('adds a warning where usage has more than text to count', async () => {
    const unknown = expect.stringMatching(
      /^usage: the checkpoint 'fake-omni' does not report prompt tokens by modality/,
    )
    expect(await warnings({ ...image, ...usage })).toEqual(unknown)
    expect(await warnings({ ...image, stream: false })).toEqual(unknown)
    expect(await warnings(image)).toBeNull()
    expect(await warnings({ ...text, ...usage })).toBeNull()
  })

  it('refuses a voice, and speaks without one', async () => {
    const refused = await server.chat({ ...text, ...speech, audio })
    expect([refused.status, await refused.json()]).toMatchObject([
      400,
      {
        error: {
          param: 'audio.voice',
          message: expect.stringMatching(/'fake-omni' .* has a single voice.*Leave out 'audio'/),
        },
      },
    ])
    const reply = await readReply(await server.chat({ ...text, ...speech }))
    expect(reply.samples.length).toBeGreaterThan(0)
    // Without speech there is no voice to choose.
    expect(await warnings({ ...text, audio })).toBeNull()
  })
})

describe('an engine that does not count prompts', () => {
  const capabilities = { countsPrompt: false }

  it('limits the answer to the estimated remaining context', async () => {
    await using server = await startTestServer({}, fakeEngine({ capabilities, contextLength: 500 }))
    const response = await server.chat({ ...text, max_tokens: 498 })
    expect(response.headers.get('x-omniserve-warnings')).toMatch(/^max_tokens: .* can generate at most \d+ tokens/)
    expect(await readReply(response)).toMatchObject({ error: undefined, done: true, text: 'You said: hi' })
    const [request] = server.engine.requests
    expect(request?.maxTokens).toBeGreaterThan(300)
    expect(request?.maxTokens).toBeLessThan(450)
  })

  it('is named by the token count, which follows the rules of the API model', async () => {
    await using server = await startTestServer({}, fakeEngine({ capabilities }))
    const count = await fetch(`${server.baseUrl}/tokens/count`, { method: 'POST', body: JSON.stringify(text) })
    expect([count.status, await count.json()]).toMatchObject([
      200,
      {
        usage: { prompt_tokens: expect.any(Number) as number },
        limits: { checkpoint_prompt_tokens: null },
        warnings: [expect.stringContaining('does not count prompts without running them') as string],
      },
    ])
  })
})

describe('fields that have no effect', () => {
  const warned = async (path: string, body: object): Promise<string | null> => {
    await using server = await startTestServer()
    const response = await fetch(`${server.url}${path}/chat/completions`, {
      method: 'POST',
      body: JSON.stringify(body),
    })
    await response.text()
    expect(response.status).toBe(200)
    return response.headers.get('x-omniserve-warnings')
  }

  it.each(['/compatible-mode/v1', '/v1'])('are named on %s', async (path) => {
    const content = [
      { type: 'image_url', image_url: { url: dataUri(await png(64, 64)), detail: 'low' } },
      { type: 'text', text: 'hi' },
    ]
    const asked = {
      ...text,
      messages: [{ role: 'user', name: 'Ann', content }],
      frequency_penalty: 1,
      logit_bias: { 5: 100 },
      functions: [{ name: 'f' }],
      extra_body: { min_p: 0.2 },
      '\ud800': 1,
    }
    expect(decodeURI((await warned(path, asked)) ?? '')).toBe(
      'not supported and ignored: frequency_penalty, min_p, messages.0.name, ' +
        'messages.0.content.0.image_url.detail, logit_bias, functions, \ufffd',
    )
  })

  it('are not named when empty, or when meant for the caller only', async () => {
    const nothing = {
      logit_bias: {},
      functions: null,
      frequency_penalty: 0,
      min_p: 0,
      store: true,
      metadata: { a: 'b' },
    }
    expect(await warned('/v1', { ...text, ...nothing, stream_options: { include_obfuscation: false } })).toBeNull()
    const content = [{ type: 'audio_url', audio_url: { url: dataUri(wav(1)) } }]
    expect(
      await warned('/v1', {
        ...text,
        messages: [
          { role: 'developer', content: 'x' },
          { role: 'user', content },
        ],
      }),
    ).toBeNull()
  })

  it('are named up to eight', async () => {
    const many = Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`field-${index}-${'x'.repeat(99)}`, 1]))
    const said = (await warned('/v1', { ...text, ...many })) ?? ''
    expect(said.split(', ')).toHaveLength(8)
    expect(said.length).toBeLessThan(400)
  })
})

it('a fully capable engine has no warnings', async () => {
  await using server = await startTestServer()
  const url = dataUri(await png(64, 64))
  const content = [{ type: 'image_url', image_url: { url } }]
  const body = { ...text, ...speech, ...usage, audio, seed: 7, messages: [{ role: 'user', content }] }
  const response = await server.chat(body)
  expect([response.status, response.headers.get('x-omniserve-warnings')]).toEqual([200, null])
  await response.text()
})
