/** The log and the metrics: their content, and what they never contain. And the pages served next to the API. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Writable } from 'node:stream'
import pino from 'pino'
import { describe, expect, it } from 'vitest'
import { eventually } from '../../testing/until.ts'
import { dataUri, png } from '../support/media.ts'
import { fakeEngine, startTestServer } from '../support/server.ts'

const spoken = {
  model: 'qwen3-omni-flash',
  stream: true,
  modalities: ['text', 'audio'],
  audio: { voice: 'Cherry', format: 'wav' },
}

/** A log that is kept, and parsed as one object per line. */
function keptLog() {
  let text = ''
  const sink = new Writable({
    write(bytes: Buffer, _, done) {
      text += bytes.toString()
      done()
    },
  })
  return {
    log: pino({ level: 'trace' }, sink),
    text: () => text,
    lines: () =>
      text
        .trim()
        .split('\n')
        .map((line): Record<string, unknown> => JSON.parse(line)),
  }
}

describe('the log', () => {
  it('contains the cause of an error in a stream, which the caller does not get', async () => {
    const kept = keptLog()
    const engine = fakeEngine({ failAt: { event: 2, error: new Error('the tensor tore') } })
    await using server = await startTestServer({}, engine, { log: kept.log })
    const response = await server.chat({ ...spoken, messages: [{ role: 'user', content: 'hi' }] })
    expect(await response.text()).not.toContain('tensor')
    // Written when the stream is closed, which its reader may see first.
    const last = {
      level: 50,
      requestId: response.headers.get('x-request-id'),
      outcome: 'error',
      err: { message: 'the tensor tore' },
    }
    await eventually(() => expect(kept.lines().at(-1)).toMatchObject(last))
  })

  it('has one line per reply, with times, usage and cost, and no content, media or key', async () => {
    const kept = keptLog()
    await using server = await startTestServer({ apiKey: ['sk-hidden-key'] }, undefined, { log: kept.log })
    const image = dataUri(await png(64, 64), 'image/png')
    const content = [
      { type: 'image_url', image_url: { url: image } },
      { type: 'text', text: 'private question' },
    ]
    const headers = { authorization: 'Bearer sk-hidden-key' }
    const response = await server.chat({ ...spoken, messages: [{ role: 'user', content }] }, { headers })
    await response.text()
    await (
      await server.chat(
        { ...spoken, audio: { voice: 'Tina', format: 'wav' }, messages: [{ role: 'user', content }] },
        { headers },
      )
    ).text()
    await (await server.chat('{}', { headers: { authorization: 'Bearer sk-wrong-key' } })).text()
    await eventually(() => expect(kept.lines()).toHaveLength(3))
    const lines = kept.lines()
    expect(lines[0]).toMatchObject({
      requestId: response.headers.get('x-request-id'),
      model: 'qwen3-omni-flash',
      checkpoint: 'fake-omni',
      outcome: 'stop',
      usage: { prompt_tokens_details: { image_tokens: 6 } },
      cost: { currency: 'USD' },
      firstTextSeconds: expect.any(Number),
      firstAudioSeconds: expect.any(Number),
    })
    expect(lines[1]).toMatchObject({ status: 400, code: 'invalid_parameter_error', param: 'audio.voice' })
    for (const secret of ['sk-hidden-key', 'sk-wrong-key', 'private question', image.slice(30, 60)])
      expect(kept.text()).not.toContain(secret)
  })
})

describe('the metrics', () => {
  it('count requests, tokens by modality, times, speech and errors', async () => {
    await using server = await startTestServer()
    const messages = [{ role: 'user', content: '你是誰?' }]
    await (await server.chat({ ...spoken, messages })).text()
    await (await server.chat({ ...spoken, messages, temperature: 3 })).text()
    const wanted = [
      'omniserve_requests_total{route="chat",model="qwen3-omni-flash",status="200"} 1',
      'omniserve_requests_total{route="chat",model="qwen3-omni-flash",status="400"} 1',
      'omniserve_errors_total{code="invalid_parameter_error",status="400"} 1',
      'omniserve_tokens_total{model="qwen3-omni-flash",direction="input",modality="text"} 207',
      'omniserve_tokens_total{model="qwen3-omni-flash",direction="output",modality="audio"} 18',
      'omniserve_time_to_first_token_seconds_count{model="qwen3-omni-flash"} 1',
      'omniserve_time_to_first_audio_seconds_count{model="qwen3-omni-flash"} 1',
      'omniserve_speech_real_time_factor_count{model="qwen3-omni-flash"} 1',
      'omniserve_queue_active 0',
      'omniserve_ready 1',
    ]
    // Counted when the stream is closed, which its reader may see first.
    await eventually(async () => {
      const lines = (await (await fetch(`${server.url}/metrics`)).text()).split('\n')
      expect(lines).toEqual(expect.arrayContaining(wanted))
    })
    // Names that callers make up are not labels.
    await (await server.chat({ ...spoken, model: 'made-up', messages })).text()
    expect(await (await fetch(`${server.url}/metrics`)).text()).not.toContain('made-up')
  })
})

describe('the playground', () => {
  it('is served only from its folder, under a strict policy', async () => {
    const parent = await mkdtemp(path.join(tmpdir(), 'omniserve-web-'))
    const folder = path.join(parent, 'dist')
    await mkdir(path.join(folder, 'assets'), { recursive: true })
    await writeFile(path.join(parent, 'secret.txt'), 'secret')
    await writeFile(path.join(folder, 'index.html'), '<p>play</p>')
    await writeFile(path.join(folder, 'assets', 'a-1.js'), 'x')
    await using server = await startTestServer({}, undefined, { playgroundFolder: folder })
    const index = await fetch(server.url)
    expect(await index.text()).toBe('<p>play</p>')
    const policy = index.headers.get('content-security-policy')
    expect(policy).toContain("default-src 'self'")
    expect(policy).not.toContain('unsafe')
    const script = await fetch(`${server.url}/assets/a-1.js`)
    expect([script.headers.get('content-type'), script.headers.get('cache-control')]).toEqual([
      'text/javascript; charset=utf-8',
      'public, max-age=31536000, immutable',
    ])
    for (const attack of [
      '/..%2fsecret.txt',
      '/%2e%2e/secret.txt',
      '/assets/..%2f..%2fsecret.txt',
      '/..%5csecret.txt',
    ]) {
      expect((await fetch(server.url + attack)).status, attack).toBe(404)
    }
    await rm(parent, { recursive: true })
  })

  it('is a short page when it is not built', async () => {
    await using server = await startTestServer({}, undefined, { playgroundFolder: '/no/such/folder' })
    const response = await fetch(server.url)
    expect([response.status, await response.text()]).toEqual([200, expect.stringContaining('omniserve is running')])
  })
})
