/** `omniserve serve` as a process: ready line, a reply from a real checkpoint, graceful shutdown, exit codes, help. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { environmentName, SETTINGS } from '../../src/config/index.ts'
import { until } from '../../testing/until.ts'
import { omniserve, startOmniserve, tinyCheckpoint as checkpoint } from '../cli/run-cli.ts'
import { readReply, usageAddsUp } from '../support/reply.ts'

describe('omniserve serve', () => {
  let running: ReturnType<typeof startOmniserve>
  let url = ''
  beforeAll(async () => {
    running = startOmniserve([
      'serve',
      '--port',
      '0',
      '--model',
      checkpoint,
      '--api-key',
      'sk-very-secret',
      '--context-length',
      '2048',
      '--log-level',
      'debug',
    ])
    const [line]: string[] = await once(createInterface({ input: running.child.stdout }), 'line')
    expect(line).toMatch(/^ready on http:\/\/127\.0\.0\.1:\d+$/)
    url = line?.slice('ready on '.length) ?? ''
  })
  afterAll(() => running.child.kill('SIGKILL'))

  const chat = (change: object) =>
    fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer sk-very-secret' },
      body: JSON.stringify({
        model: 'qwen3-omni-flash',
        stream: true,
        stream_options: { include_usage: true },
        max_tokens: 4,
        messages: [{ role: 'user', content: 'hi' }],
        ...change,
      }),
    })

  it('answers from a real checkpoint, with and without thinking', async () => {
    expect((await fetch(`${url}/ready`)).status).toBe(200)
    const reply = await readReply(await chat({}))
    expect(reply.error).toBeUndefined()
    expect(reply.done).toBe(true)
    expect(reply.usage && usageAddsUp(reply.usage)).toBe(true)
    // Random weights end at any point.
    expect(reply.usage?.completion_tokens).toBeLessThanOrEqual(4)
    // The log has the placement of the weights and the request's profile.
    const logged = (message: string): Record<string, unknown> | undefined =>
      running
        .errors()
        .split('\n')
        .filter((text) => /^\{.*\}$/.test(text))
        .map((text): Record<string, unknown> => JSON.parse(text))
        .find(({ msg }) => msg === message)
    expect(logged('checkpoint loaded')).toMatchObject({ placement: expect.stringMatching(/as stored|repacked/) })
    await until(() => logged('request profile') !== undefined && logged('chat completion') !== undefined)
    const { stages, totalMs, requestId } = logged('request profile') as {
      stages: Record<string, number>
      totalMs: number
      requestId: string
    }
    const sum = Object.values(stages).reduce((all, milliseconds) => all + milliseconds, 0)
    expect(Math.abs(sum / totalMs - 1)).toBeLessThan(0.05)
    expect(logged('chat completion')).toMatchObject({ requestId })
    const thinking = await readReply(await chat({ enable_thinking: true, thinking_budget: 3 }))
    expect([thinking.error, thinking.done]).toEqual([undefined, true])
  })

  it('describes the loaded checkpoint', async () => {
    const headers = { authorization: 'Bearer sk-very-secret' }
    const model = await (await fetch(`${url}/v1/models/qwen3-omni-flash`, { headers })).json()
    expect(model).toMatchObject({
      served_by: {
        checkpoint: 'tiny-mixed',
        architecture: 'Qwen3OmniMoeForConditionalGeneration',
        context_length: 2048,
      },
    })
    const voices = await (await fetch(`${url}/v1/voices?model=qwen3-omni-flash`, { headers })).text()
    expect(voices).toMatch(/"name":"Cherry".*?"native":false,"spoken_by":"(ryan|vivian)"/)
    expect(voices).toMatch(/"name":"Ryan".*?"native":true,"spoken_by":"ryan"/)
  })

  it('shuts down gracefully on SIGTERM, and logs no key', async () => {
    running.child.kill('SIGTERM')
    const { code, out, errors } = await running.ended
    expect([code, out.trim().split('\n').length]).toEqual([0, 1])
    expect(errors).toContain('"msg":"chat completion"')
    expect(errors).toContain('stopping')
    expect(errors).toMatch(/"device":"\w+ \(.*"weights":"\w+".*"msg":"checkpoint loaded"/)
    expect(errors).not.toContain('sk-very-secret')
  })
})

describe('omniserve', () => {
  it('lists every setting in its help, with its variable', async () => {
    const { code, out } = await omniserve(['serve', '--help'])
    expect(code).toBe(0)
    const text = out.replaceAll(/\s+/g, ' ')
    for (const [name, row] of Object.entries(SETTINGS)) {
      expect(text).toContain(row.flags)
      expect(text).toContain(environmentName(name))
    }
    expect(text).toContain('Examples:')
  })

  it.each([
    [['serve', '--port', 'x'], {}, 2, 'option --port'],
    [['serve', '--host', '0.0.0.0'], {}, 2, 'refusing to listen on 0.0.0.0 without a key'],
    [['serve'], { OMNISERVE_REGION: 'mars' }, 2, 'variable OMNISERVE_REGION'],
    [['serve', '--what'], {}, 2, "unknown option '--what'"],
    [['serve', '--media-allow-host', 'http://a'], {}, 2, '--media-allow-host: `http://a` is not HOST or HOST:PORT.'],
    [['serve', '--media-allow-host', 'a:b'], {}, 2, '--media-allow-host: `a:b` is not HOST or HOST:PORT.'],
    [['serve', '--cors-origin', 'https://a/'], {}, 2, 'option --cors-origin is "https://a/"; it must be origins'],
    [
      ['serve', '--bind', 'gpt-4=tiny'],
      { OMNISERVE_MODEL: checkpoint },
      2,
      '--bind names gpt-4, which is not an API model of region intl. Models: qwen3-omni-flash,',
    ],
    [['serve', '--bind', 'qwen-omni-turbo=tiny'], { OMNISERVE_MODEL: checkpoint }, 3, "no checkpoint 'tiny'"],
    [['serve', '--model', '/no/such/folder'], {}, 3, "no checkpoint '/no/such/folder'"],
    [
      ['serve', '--model', 'Qwen/Qwen3-Omni-30B-A3B-Instruct'],
      { OMNISERVE_HOME: '/no/such/home' },
      3,
      'omniserve pull Qwen/Qwen3-Omni-30B-A3B-Instruct',
    ],
  ] as const)('%j ends with an exit code and one line', async (args, environment, expected, text) => {
    const { code, out, errors } = await omniserve(args, { environment })
    expect([code, out]).toEqual([expected, ''])
    expect(errors).toContain(text)
    expect(errors).not.toMatch(/\n\s+at /)
  })

  it('shuts down gracefully while it loads', async () => {
    const starting = startOmniserve(['serve', '--port', '0', '--model', checkpoint, '--log-level', 'debug'])
    await until(() => starting.errors().includes('listening; loading checkpoints'))
    starting.child.kill('SIGTERM')
    expect(await starting.ended).toMatchObject({ code: 0, errors: expect.stringContaining('stopping') as string })
  })

  it('reports that a port is taken', async () => {
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const { port } = taken.address() as AddressInfo
    // A missing checkpoint would end it with 3, were it checked first.
    const { code, errors } = await omniserve(['serve', '--port', String(port), '--model', '/no/such/folder'])
    expect(code).toBe(2)
    expect(errors).toContain(`port ${port} of 127.0.0.1 is taken`)
    taken.close()
  })
})
