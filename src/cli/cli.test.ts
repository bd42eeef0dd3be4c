/** The pure parts of the command line. `tests/cli` runs the commands as processes. */
import { describe, expect, it } from 'vitest'
import { ConfigError } from '../config/index.ts'
import { EngineError } from '../contract/index.ts'
import { describeModel } from '../models/index.ts'
import { PullError } from '../weights/index.ts'
import realConfig from '../../testdata/qwen3-omni-30b-a3b/config.json' with { type: 'json' }
import { checkMemorySize, checkNode } from './checks.ts'
import { type ApiConnection, apiFailure, baseUrl } from './api-connection.ts'
import { ask, textRate } from './ask.ts'
import { CommandError, explainFailure, Interrupted } from './exit.ts'
import { adviseType } from './memory-advice.ts'
import { bytesText, listText, table } from './output.ts'

describe('explainFailure', () => {
  it.each([
    [new CommandError('x', 5), 5],
    [new ConfigError('x'), 2],
    [new Interrupted('x'), 130],
    [new EngineError('bad_checkpoint', 'x'), 3],
    [new EngineError('unsupported', 'x'), 2],
    [new EngineError('internal', 'x'), 1],
    [new PullError('network', 'x'), 4],
    [new PullError('bad_request', 'x'), 2],
    [new PullError('disk_full', 'x'), 1],
    [new TypeError('x'), 1],
    ['x', 1],
  ])('%s ends with %i, without a stack', (error, exitCode) => {
    const explained = explainFailure(error, {})
    expect(explained.exitCode).toBe(exitCode)
    expect(explained.text).toMatch(/^omniserve: /)
    expect(explained.text).not.toMatch(/\n\s+at /)
  })

  it('describes system errors, with the stack if OMNISERVE_DEBUG is set', () => {
    const error = Object.assign(new Error('ENOENT: ...'), { code: 'ENOENT', syscall: 'open', path: 'a.txt' })
    expect(explainFailure(error, {}).text).toBe('omniserve: a.txt: no such file or folder')
    expect(explainFailure(error, { OMNISERVE_DEBUG: '1' }).text).toMatch(/\n\s+at /)
  })
})

describe('the API connection', () => {
  it.each([
    ['127.0.0.1:8000', 'http://127.0.0.1:8000/compatible-mode/v1'],
    ['http://host:1/', 'http://host:1/compatible-mode/v1'],
    ['https://host/v1/', 'https://host/v1'],
    [
      'https://dashscope-intl.aliyuncs.com/compatible-mode/v1',
      'https://dashscope-intl.aliyuncs.com/compatible-mode/v1',
    ],
  ])('%s is %s', (given, url) => expect(baseUrl(given)).toBe(url))

  it('refuses an invalid address', () => expect(() => baseUrl('http://')).toThrow(/--url http:\/\/: must be/))

  it('reports the API’s own message, or the response of another server', () => {
    const body = { error: { message: 'No.', type: 't', param: 'top_p', code: 'c' }, request_id: 'r' }
    expect(apiFailure(400, JSON.stringify(body), null).message).toBe(
      'the API refused the request (400 c) [top_p]: No. (request r)',
    )
    expect(apiFailure(502, '<html>Bad gateway</html>', null)).toMatchObject({
      exitCode: 5,
      message: 'the server answered HTTP 502: <html>Bad gateway</html>',
    })
  })
})

describe('the rate of tokens', () => {
  const chunk = (content: string) =>
    `data: ${JSON.stringify({ id: 'x', choices: [{ index: 0, delta: { content }, finish_reason: null }] })}\n\n`
  const reply = (reads: readonly string[], pause: number) => {
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        for (const read of reads) {
          controller.enqueue(new TextEncoder().encode(read))
          await new Promise((resolve) => setTimeout(resolve, pause))
        }
        controller.close()
      },
    })
    const api = { fetch: () => Promise.resolve(new Response(body)) } as unknown as ApiConnection
    return ask(api, { model: 'm', messages: [] }, {}, new AbortController().signal)
  }

  it('is not computed from fewer than three reads', async () => {
    const one = await reply([['a', 'b', 'c', 'd', 'e', 'f'].map(chunk).join('')], 20)
    expect(one.pace).toMatchObject({ reads: 1, deltas: 6, deltasOfFirstRead: 6 })
    expect([one.text, textRate(6, one.pace)]).toEqual(['abcdef', null])
    const two = await reply([chunk('a') + chunk('b'), chunk('c') + chunk('d')], 20)
    expect(textRate(4, two.pace)).toBeNull()
  })

  it('does not count tokens of the first read', async () => {
    const { pace, times } = await reply([chunk('a') + chunk('b'), chunk('c'), chunk('d')], 40)
    expect(pace).toMatchObject({ reads: 3, deltas: 4, deltasOfFirstRead: 2 })
    expect(pace.milliseconds).toBeGreaterThan(60)
    expect(pace.milliseconds).toBeLessThanOrEqual(times.total)
    expect(textRate(8, pace)).toBeCloseTo(4 / (pace.milliseconds / 1000), 6)
  })
})

describe('adviseType', () => {
  const description = describeModel(realConfig)
  it.each([
    [128e9, 'q8_0', 37e9],
    [36e9, 'q6_k', 30e9],
    [32e9, 'q4_0', 21e9],
    [25.2e9, 'q4_0', 21e9],
    [16e9, undefined, 21e9],
  ])('Qwen3-Omni-30B-A3B on a machine with %d bytes: %s', (memory, type, about) => {
    const advice = adviseType(description, memory)
    expect(advice.type).toBe(type)
    expect(advice.bytes / about).toBeGreaterThan(0.85)
    expect(advice.bytes / about).toBeLessThan(1.15)
  })
})

describe('the checks of doctor', () => {
  it('requires Node 20.19', () => {
    expect(checkNode('24.1.0').status).toBe('ok')
    expect(checkNode('20.19.0').status).toBe('ok')
    expect(checkNode('20.18.3')).toMatchObject({ status: 'fail', fix: expect.stringContaining('20.19') })
    expect(checkNode('18.20.0').status).toBe('fail')
  })

  it('warns if little memory is free', () => {
    expect(checkMemorySize(8e9, 4e9).status).toBe('ok')
    expect(checkMemorySize(8e9, 0.5e9).status).toBe('warn')
  })
})

describe('output', () => {
  it('aligns the columns of a table', () => {
    const text = table(
      ['A', 'LONGER'],
      [
        ['long cell', 'x'],
        ['y', ''],
      ],
    )
    expect(text).toBe('A          LONGER\nlong cell  x\ny')
  })

  it('formats amounts and lists', () => {
    expect([999, 1500, 2.5e6, 7.05e10].map(bytesText)).toEqual(['999 bytes', '1.5 kB', '2.5 MB', '70.50 GB'])
    expect(listText(['a', 'b', 'c', 'd', 'e', 'f'])).toBe('a, b, c, d and 2 more')
    expect(listText(['a'])).toBe('a')
  })
})
