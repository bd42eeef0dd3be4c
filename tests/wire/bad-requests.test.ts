/**
 * Bad requests, one row each (bad-requests/): status, code, param, message. The server still serves after every one of
 * them.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { apiErrorBodySchema } from '../../src/protocol/index.ts'
import { type FileServer, png, serveFiles, wav } from '../support/media.ts'
import { startTestServer, type TestServer } from '../support/server.ts'
import { flash } from './bad-requests/building.ts'
import { mediaRows } from './bad-requests/media-rows.ts'
import { messageRows } from './bad-requests/message-rows.ts'
import { parameterRows } from './bad-requests/parameter-rows.ts'

const rows = [...messageRows, ...mediaRows, ...parameterRows]

describe('bad requests', () => {
  let server: TestServer
  let files: FileServer
  beforeAll(async () => {
    files = await serveFiles({
      '/good.png': { body: await png(64, 64), type: 'image/png' },
      '/tiny.png': { body: await png(10, 64), type: 'image/png' },
      '/narrow.png': { body: await png(11, 2300), type: 'image/png' },
      '/500.png': { body: 'oops', status: 500 },
      '/page.png': { body: '<!doctype html><p>hello', type: 'text/html' },
      '/long.wav': { body: wav(181, 8000), type: 'audio/wav' },
    })
    server = await startTestServer({ mediaAllowHost: [files.host] })
  })
  afterAll(async () => {
    await server[Symbol.asyncDispose]()
    await files[Symbol.asyncDispose]()
  })

  it('are at least 120, each named once', () => {
    expect(rows.length).toBeGreaterThanOrEqual(120)
    expect(new Set(rows.map(([name]) => name)).size).toBe(rows.length - 1) // 'audio as string' is a part and a parameter
  })

  it.each(rows)('%s', async (_, body, status, code, param, message) => {
    const json = (typeof body === 'string' ? body : JSON.stringify(body)).replaceAll('{files}', files.url)
    const response = await server.chat(json)
    const answer = apiErrorBodySchema.parse(await response.json())
    const { error } = answer
    expect({ status: response.status, code: error.code, param: error.param }).toEqual({ status, code, param })
    if (typeof message === 'string') expect(error.message).toContain(message)
    else expect(error.message).toMatch(message)
    expect(error.type).toBe('invalid_request_error')
    expect(response.headers.get('x-request-id')).toBe(answer.request_id)
    expect(response.headers.get('content-type')).toBe('application/json')
    expect(error.message.length).toBeLessThan(600)
    // Still serving, with nothing left behind in the queue.
    const good = await server.chat(flash())
    expect(good.status).toBe(200)
    expect(await good.text()).toContain('data: [DONE]')
    expect(server.services.queue.active).toBe(0)
  })
})
