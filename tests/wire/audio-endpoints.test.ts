/** `/v1/audio/*` by the official SDK, over the fake engine. */
import { readFileSync } from 'node:fs'
import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { textPieces } from '../../src/api/audio/text-pieces.ts'
import { decodeWav, encodeWav } from '../../src/media/index.ts'
import { eventually } from '../../testing/until.ts'
import { fakeEngine, startTestServer, type TestServer } from '../support/server.ts'

let server: TestServer
let client: OpenAI

beforeAll(async () => {
  server = await startTestServer(
    {},
    fakeEngine({
      reply: ({ messages }) => {
        const parts = messages.at(-1)!.content
        const seconds = parts.map((part) => (part.type === 'audio' ? part.audio.facts.samples / 16_000 : 0))
        const asked = parts.map((part) => (part.type === 'text' ? part.text : '')).join('')
        return { text: `${Math.max(...seconds).toFixed(1)} s: ${asked}` }
      },
    }),
  )
  client = new OpenAI({ apiKey: 'none', baseURL: `${server.url}/v1`, maxRetries: 0 })
})
afterAll(() => server.stop(0))

const recording = readFileSync(new URL('../../testdata/silero-vad/speech.wav', import.meta.url))
const file = (): Promise<File> => toFile(recording, 'speech.wav') as Promise<File>
/** The beginning of its first sentence. */
const short = new File([encodeWav(decodeWav(recording).samples.subarray(8000, 20_000), 16_000)], 'short.wav')

describe('errors', () => {
  it.each([
    ['no words', { input: ' \n' }, 'input', 'Field required: input'],
    ['a long text', { input: 'x'.repeat(4097) }, 'input', 'input should have at most 4096 characters'],
    ['an unknown voice', { voice: 'alloy' }, 'voice', "Voice 'alloy' is not supported."],
  ])('of speech name its own field: %s', async (_, change, param, message) => {
    const body = JSON.stringify({ model: 'fake-omni', input: 'a', voice: 'Cherry', ...change })
    const response = await fetch(`${server.url}/v1/audio/speech`, { method: 'POST', body })
    const { error } = (await response.json()) as { error: { param: string; message: string } }
    expect([response.status, error.param, error.message]).toEqual([400, param, expect.stringContaining(message)])
  })

  it('of a temperature name its range', async () => {
    const asked = client.audio.transcriptions.create({ model: 'fake-omni', file: short, temperature: 2 })
    await expect(asked).rejects.toThrow('Temperature should be in [0.0, 2.0)')
  })
})

describe('voices', () => {
  it('are listed in the format of audio clients', async () => {
    const list = async (query: string): Promise<Response> => fetch(`${server.url}/v1/audio/voices${query}`)
    const { voices } = (await (await list('')).json()) as { voices: { id: string; name: string }[] }
    expect(voices).toHaveLength(49)
    expect(voices[0]).toMatchObject({ id: 'Cherry', name: expect.any(String) })
    expect(await (await list('?model=qwen-omni-turbo')).json()).toMatchObject({ voices: { length: 4 } })
    expect((await list('?model=none')).status).toBe(404)
    expect((await fetch(`${server.url}/compatible-mode/v1/audio/voices`)).status).toBe(404)
  })
})

describe('speech', () => {
  it('speaks the text word for word, in pieces', async () => {
    const input = 'First sentence here. '.repeat(30)
    const response = await client.audio.speech.create({
      model: 'fake-omni',
      voice: 'Cherry',
      input,
      response_format: 'wav',
    })
    expect(response.headers.get('content-type')).toBe('audio/wav')
    const { sampleRate, samples } = decodeWav(new Uint8Array(await response.arrayBuffer()))
    expect(sampleRate).toBe(24_000)
    expect(samples.length).toBeGreaterThan(24_000)
    const scripts = server.engine.requests.map(({ script }) => script ?? '')
    expect(scripts.length).toBeGreaterThan(1)
    expect(scripts.join(' ')).toBe(input.trim())
    expect(server.services.queue.active).toBe(0)
  })

  it.each([
    ['mp3', 'audio/mpeg'],
    ['opus', 'audio/ogg'],
    ['pcm', 'audio/pcm'],
  ] as const)('comes as %s', async (format, type) => {
    const response = await client.audio.speech.create({
      model: 'fake-omni',
      voice: 'cherry',
      input: 'Hi.',
      response_format: format,
    })
    expect(response.headers.get('content-type')).toBe(type)
    expect((await response.arrayBuffer()).byteLength).toBeGreaterThan(500)
  })

  it('reports errors by field', async () => {
    const speak = (change: object) =>
      client.audio.speech.create({ model: 'fake-omni', voice: 'Cherry', input: 'Hi.', ...change } as never)
    await expect(speak({ voice: 'alloy' })).rejects.toThrow("Voice 'alloy' is not supported. Voices of")
    await expect(speak({ model: 'tts-1' })).rejects.toThrow('Models of this endpoint')
    await expect(speak({ input: ' ' })).rejects.toThrow('Field required: input')
    await expect(speak({ instructions: 'softly' })).rejects.toThrow('instructions is not supported')
  })

  it('is split at sentences, then clauses, then words', () => {
    const long = `${'word '.repeat(100)}end, ${'more '.repeat(10)}.`
    const pieces = textPieces(long)
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThanOrEqual(220)
    expect(pieces.join(' ').replaceAll(/\s+/g, ' ')).toBe(long.replaceAll(/\s+/g, ' '))
    expect(textPieces('你好。'.repeat(60)).join('')).toBe('你好。'.repeat(60))
    expect(textPieces('x'.repeat(500)).join('')).toBe('x'.repeat(500))
  })
})

describe('transcriptions', () => {
  it('are of the segments between pauses', async () => {
    const { text } = await client.audio.transcriptions.create({ model: 'fake-omni', file: await file() })
    expect(text).toMatch(/^\d\.\d s: Transcribe the audio\. \d\.\d s: Transcribe the audio\.$/)
  })

  it('have times in srt, vtt and verbose_json', async () => {
    const srt = await client.audio.transcriptions.create({
      model: 'fake-omni',
      file: await file(),
      response_format: 'srt',
    })
    expect(srt).toMatch(/^1\n00:00:00,\d{3} --> 00:00:0\d,\d{3}\n.+\n\n2\n/)
    const vtt = await client.audio.transcriptions.create({
      model: 'fake-omni',
      file: await file(),
      response_format: 'vtt',
    })
    expect(vtt).toMatch(/^WEBVTT\n\n00:00:00\.\d{3} --> /)
    const verbose = await client.audio.transcriptions.create({
      model: 'fake-omni',
      file: await file(),
      response_format: 'verbose_json',
      language: 'en',
    })
    expect(verbose.segments).toHaveLength(2)
    // The sentences begin after 0.6 s and about 3 s.
    expect(verbose.segments![0]!.start).toBeCloseTo(0.4, 0)
    expect(verbose.segments![1]!.start).toBeGreaterThan(2.5)
    expect(verbose.text).toContain('It is in English.')
  })

  it('may be streamed by segment', async () => {
    const stream = await client.audio.transcriptions.create({ model: 'fake-omni', file: await file(), stream: true })
    const events = []
    for await (const event of stream) events.push(event)
    expect(events.map(({ type }) => type)).toEqual([
      'transcript.text.delta',
      'transcript.text.delta',
      'transcript.text.done',
    ])
    const text = events.map((event) => (event.type === 'transcript.text.delta' ? event.delta : '')).join('')
    expect(text).toMatch(/^\d\.\d s: Transcribe the audio\. \d\.\d s: Transcribe the audio\.$/)
    expect(events.at(-1)).toEqual({ type: 'transcript.text.done', text })
    expect(server.services.queue.active).toBe(0)
  })

  it('may be translations', async () => {
    const { text } = await client.audio.translations.create({ model: 'fake-omni', file: await file() })
    expect(text).toContain('Translate what is said')
  })

  it('report errors by field', async () => {
    const ask = async (change: object) =>
      client.audio.transcriptions.create({ model: 'fake-omni', file: await file(), ...change } as never)
    await expect(ask({ file: await toFile(Buffer.from('no audio'), 'x.wav') })).rejects.toThrow(
      'audio format is illegal',
    )
    await expect(ask({ response_format: 'xml' })).rejects.toThrow('response_format should be one of')
    await expect(ask({ model: 'whisper-1' })).rejects.toThrow('Models of this endpoint')
    await expect(ask({ timestamp_granularities: ['word'] })).rejects.toThrow('timestamp_granularities is not supported')
    await expect(ask({ stream: true, response_format: 'srt' })).rejects.toThrow('stream is not supported')
    await expect(ask({ include: ['logprobs'] })).rejects.toThrow('include is not supported')
    await expect(ask({ language: '!' })).rejects.toThrow('language is not supported')
    // Also for silence, which sends no request to the model.
    const nothing = await toFile(encodeWav(new Float32Array(16_000), 16_000), 'silence.wav')
    await expect(ask({ file: nothing, language: 'klingon' })).rejects.toThrow('language is not supported')
    const plain = await fetch(`${server.url}/v1/audio/transcriptions`, { method: 'POST', body: '{}' })
    expect(plain.status).toBe(400)
  })
})

describe('a name that is no model', () => {
  const said = async (server_: TestServer, path: string): Promise<string> => {
    const form = new FormData()
    form.set('model', 'whisper-1')
    const body = path === 'speech' ? JSON.stringify({ model: 'tts-1', input: 'Hi.' }) : form
    const response = await fetch(`${server_.url}/v1/audio/${path}`, { method: 'POST', body })
    expect(response.status).toBe(404)
    return ((await response.json()) as { error: { message: string } }).error.message
  }
  const listed = (message: string): string[] => / endpoint: ([^.]*(?:\.\d[^.]*)*)\./.exec(message)![1]!.split(', ')

  it.each(['speech', 'transcriptions', 'translations'])(
    'is answered with the models that %s supports',
    async (path) => {
      const message = await said(server, path)
      expect(message).toContain('Checkpoints loaded here: fake-omni.')
      expect(message).not.toContain('Realtime models')
      const names = listed(message)
      expect(names).toContain('qwen3-omni-flash')
      expect(names.includes('qwen3-omni-flash-realtime')).toBe(path !== 'speech')
      for (const model of names) {
        const form = new FormData()
        form.set('model', model)
        form.set('file', short)
        const body = path === 'speech' ? JSON.stringify({ model, input: 'Hi.' }) : form
        const response = await fetch(`${server.url}/v1/audio/${path}`, { method: 'POST', body })
        await response.arrayBuffer()
        expect([model, response.status]).toEqual([model, 200])
      }
    },
  )

  it('is answered without models where the checkpoint cannot speak', async () => {
    await using silent = await startTestServer({}, fakeEngine({ speech: false }))
    expect(await said(silent, 'speech')).toContain('No loaded checkpoint can do it.')
  })
})

describe('a form', () => {
  const post = async (fields: readonly (readonly [string, string | File])[]): Promise<Response> => {
    const form = new FormData()
    form.append('model', 'fake-omni')
    for (const [name, value] of fields) form.append(name, value)
    return fetch(`${server.url}/v1/audio/transcriptions`, { method: 'POST', body: form })
  }
  const refusal = async (fields: readonly (readonly [string, string | File])[]): Promise<string> => {
    const response = await post(fields)
    expect(response.status).toBe(400)
    return ((await response.json()) as { error: { message: string } }).error.message
  }

  it('with a repeated field is refused by name', async () => {
    const both = [
      ['file', await file()],
      ['file', await file()],
    ] as const
    expect(await refusal(both)).toBe('file may be given only once.')
    for (const name of ['language', 'prompt', 'response_format', 'temperature', 'stream'])
      expect(
        await refusal([
          ['file', await file()],
          [name, '0'],
          [name, '0'],
        ]),
      ).toBe(`${name} may be given only once.`)
  })

  it('with a file where text belongs, or text for the file, is refused', async () => {
    expect(await refusal([['prompt', await file()]])).toContain("not of type 'string' - 'prompt'")
    expect(await refusal([['file', 'speech.wav']])).toContain("not of type 'file' - 'file'")
    expect(await refusal([])).toBe('Field required: file')
    expect(
      await refusal([
        ['file', await file()],
        ['timestamp_granularities[]', 'hour'],
      ]),
    ).toContain("'segment'")
  })

  it('has its ignored fields named in a header', async () => {
    const response = await post([
      ['file', await file()],
      ['chunking_strategy', 'auto'],
      ['known_speaker_names[]', 'a'],
      ['known_speaker_names[]', 'b'],
      ['timestamp_granularities[]', 'segment'],
      ['größe', '1'],
      ['empty', ''],
    ])
    expect(response.status).toBe(200)
    expect(decodeURI(response.headers.get('x-omniserve-warnings')!)).toBe(
      'not supported and ignored: chunking_strategy, known_speaker_names[], größe',
    )
    const plain = await post([['file', await file()]])
    expect(plain.headers.get('x-omniserve-warnings')).toBeNull()
    const body = JSON.stringify({ model: 'fake-omni', input: 'Hi.', lang_code: 'en', voice: null })
    const spoken = await fetch(`${server.url}/v1/audio/speech`, { method: 'POST', body })
    expect(spoken.headers.get('x-omniserve-warnings')).toBe('not supported and ignored: lang_code')
    await spoken.arrayBuffer()
  })
})

describe('under a rate limit', () => {
  it('a long text is one request, and is not cut off', async () => {
    await using limited = await startTestServer({ rateLimit: true }, undefined, { now: () => 0 })
    const { rateLimit } = limited.services.catalogue.find('qwen3-omni-flash')!.rules
    const { rateLimiter } = limited.services
    // One request is left.
    for (let sent = 1; sent < rateLimit.requestsPerMinute; sent += 1)
      rateLimiter!.take('anonymous', 'qwen3-omni-flash', rateLimit)
    const speak = (): Promise<Response> => {
      const body = JSON.stringify({ model: 'qwen3-omni-flash', input: 'A sentence here. '.repeat(60) })
      return fetch(`${limited.url}/v1/audio/speech`, { method: 'POST', body })
    }
    const spoken = await speak()
    expect(spoken.status).toBe(200)
    expect((await spoken.arrayBuffer()).byteLength).toBeGreaterThan(1000)
    expect(limited.engine.requests.length).toBeGreaterThan(3)
    const refused = await speak()
    expect(refused.status).toBe(429)
    expect(refused.headers.get('retry-after')).toBe('1')
    await refused.arrayBuffer()
  })

  it('a recording of several segments is one request, and its tokens are charged', async () => {
    await using limited = await startTestServer({ rateLimit: true }, undefined, { now: () => 0 })
    const model = 'qwen3-omni-flash'
    const { rateLimit } = limited.services.catalogue.find(model)!.rules
    const { rateLimiter } = limited.services
    for (let sent = 1; sent < rateLimit.requestsPerMinute; sent += 1) rateLimiter!.take('anonymous', model, rateLimit)
    // Its first segment uses the tokens up.
    rateLimiter!.charge('anonymous', model, rateLimit, rateLimit.tokensPerMinute - 1)
    const transcribe = async (): Promise<Response> => {
      const form = new FormData()
      form.set('model', model)
      form.set('file', await file())
      return fetch(`${limited.url}/v1/audio/transcriptions`, { method: 'POST', body: form })
    }
    const whole = await transcribe()
    expect(whole.status).toBe(200)
    await whole.arrayBuffer()
    expect(limited.engine.requests).toHaveLength(2)
    const refused = await transcribe()
    expect([refused.status, ((await refused.json()) as { error: { code: string } }).error.code]).toEqual([
      429,
      'insufficient_quota',
    ])
  })
})

it('counts requests under their model, including refused ones', async () => {
  await using counted = await startTestServer()
  const post = async (path: string, body: string | FormData): Promise<number> => {
    const response = await fetch(`${counted.url}/v1/audio/${path}`, { method: 'POST', body })
    await response.arrayBuffer()
    return response.status
  }
  const form = (fields: Readonly<Record<string, string>>): FormData => {
    const made = new FormData()
    for (const [name, value] of Object.entries(fields)) made.set(name, value)
    return made
  }
  const speak = { model: 'qwen3-omni-flash', input: 'Hi.' }
  expect(await post('speech', JSON.stringify(speak))).toBe(200)
  expect(await post('speech', JSON.stringify({ ...speak, voice: 'alloy' }))).toBe(400)
  expect(await post('speech', JSON.stringify({ ...speak, response_format: 'aac' }))).toBe(400)
  expect(await post('speech', JSON.stringify({ ...speak, model: 'made-up' }))).toBe(404)
  expect(await post('transcriptions', form({ model: 'qwen3-omni-flash', language: '!' }))).toBe(400)
  expect(await post('translations', form({ model: 'qwen3-omni-flash-realtime' }))).toBe(400)
  expect(await post('transcriptions', form({ model: 'made-up' }))).toBe(404)
  const wanted = [
    'omniserve_requests_total{route="speech",model="qwen3-omni-flash",status="200"} 1',
    'omniserve_requests_total{route="speech",model="qwen3-omni-flash",status="400"} 2',
    'omniserve_requests_total{route="speech",model="unknown",status="404"} 1',
    'omniserve_requests_total{route="transcribe",model="qwen3-omni-flash",status="400"} 1',
    'omniserve_requests_total{route="transcribe",model="unknown",status="404"} 1',
    'omniserve_requests_total{route="translate",model="qwen3-omni-flash-realtime",status="400"} 1',
  ]
  // Counted when the stream is closed, which its reader may see first.
  await eventually(async () => {
    const metrics = await (await fetch(`${counted.url}/metrics`)).text()
    const lines = metrics.split('\n').filter((line) => line.startsWith('omniserve_requests_total{'))
    expect(lines.toSorted()).toEqual(wanted)
  })
})
