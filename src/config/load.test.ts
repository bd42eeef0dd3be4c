import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkExposure, ConfigError, environmentName, isLoopback, loadSettings, SETTINGS } from './index.ts'

describe('settings', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'omniserve-config-'))
    await writeFile(
      path.join(folder, 'omniserve.json'),
      JSON.stringify({ port: 1, host: '::1', bind: { 'qwen-omni-turbo': 'a' }, apiKey: ['k'], logLevel: 'warn' }),
    )
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('has defaults that each fit their own schema', async () => {
    const settings = await loadSettings({})
    expect(settings).toMatchObject({ host: '127.0.0.1', port: 8000, model: 'nano', region: 'intl', apiKey: [] })
    for (const row of Object.values(SETTINGS)) expect(row.schema.safeParse(row.fallback).success, row.flags).toBe(true)
  })

  it('lets options override the environment, and that override the file', async () => {
    const settings = await loadSettings({
      folder,
      environment: { OMNISERVE_PORT: '2', OMNISERVE_LOG_LEVEL: 'error', OMNISERVE_HOST: '' },
      flags: { port: '3', bind: ['qwen3-omni-flash:thinking=big', 'qwen3-omni-flash=small'] },
    })
    expect(settings).toMatchObject({
      port: 3,
      logLevel: 'error',
      host: '::1',
      apiKey: ['k'],
      bind: { 'qwen3-omni-flash:thinking': 'big', 'qwen3-omni-flash': 'small' },
    })
  })

  it('splits repeatable variables at commas and reads switches', async () => {
    const settings = await loadSettings({
      environment: {
        OMNISERVE_API_KEY: 'a,b',
        OMNISERVE_MEDIA_ALLOW_HOST: 'localhost:9000',
        OMNISERVE_LENIENT_NON_STREAM: 'yes',
        OMNISERVE_TEXT_CARRIER: 'qwen-omni-turbo=both',
      },
    })
    expect(settings).toMatchObject({
      apiKey: ['a', 'b'],
      mediaAllowHost: ['localhost:9000'],
      lenientNonStream: true,
      textCarrier: { 'qwen-omni-turbo': 'both' },
    })
    expect(environmentName('speechPromptMinContext')).toBe('OMNISERVE_SPEECH_PROMPT_MIN_CONTEXT')
  })

  it.each([
    [{ flags: { port: '70000' } }, 'the option --port is "70000"; it must be a whole number from 0 to 65535.'],
    [{ flags: { port: '' } }, 'the option --port is ""; it must be a whole number from 0 to 65535.'],
    [{ flags: { region: 'eu' } }, 'the option --region is "eu"; it must be intl or cn.'],
    [
      { flags: { bind: ['a=b', 'x'] } },
      'the option --bind is "a=b" and "x"; it must be API_MODEL=CHECKPOINT or API_MODEL:thinking=CHECKPOINT',
    ],
    [{ flags: { bind: ['__proto__=x'] } }, 'the option --bind is "__proto__=x"; it must be'],
    [
      { environment: { OMNISERVE_RATE_LIMIT: 'maybe' } },
      'the variable OMNISERVE_RATE_LIMIT is "maybe"; it must be true or false.',
    ],
    [
      { environment: { OMNISERVE_MAX_ACTIVE: '0' } },
      'the variable OMNISERVE_MAX_ACTIVE is "0"; it must be a whole number, 1 or more.',
    ],
    [{ flags: { textCarrier: ['a=b'] } }, 'the option --text-carrier is "a=b"; it must be MODEL=content'],
    [
      { file: '/nowhere/omniserve.json' },
      'cannot read the configuration file /nowhere/omniserve.json: there is no such file.',
    ],
    [{ file: '/' }, 'cannot read the configuration file /: it is a folder.'],
  ])('says in a sentence what is wrong and what fits: %j', async (sources, text) => {
    await expect(loadSettings(sources)).rejects.toThrow(ConfigError)
    await expect(loadSettings(sources)).rejects.toThrow(text)
  })

  it.each([
    ['{"port": null}', 'the key "port" in FILE is null; it must be a whole number from 0 to 65535.'],
    ['{"port": true}', 'the key "port" in FILE is true; it must be'],
    ['{"maxWaiting": []}', 'the key "maxWaiting" in FILE is []; it must be a whole number, 0 or more.'],
    ['{"toString": 1}', 'the configuration file FILE has an unknown key "toString". The keys are host, port, '],
    ['{"modle": "a"}', 'has an unknown key "modle". Did you mean \'model\'? The keys are host, port, '],
    ['{"constructor": 1}', 'has an unknown key "constructor"'],
    ['{"__proto__": {"port": 1}}', 'has an unknown key "__proto__"'],
    ['{"bind": {"__proto__": "x"}}', 'the key "bind" in FILE is {"__proto__":"x"}; it must be API_MODEL=CHECKPOINT'],
    ['[]', 'the configuration file FILE must hold one JSON object.'],
    ['[', 'the configuration file FILE is not JSON: '],
  ])('says of a file with %s what is wrong', async (text, message) => {
    const file = path.join(folder, 'wrong.json')
    await writeFile(file, text)
    await expect(loadSettings({ file })).rejects.toThrow(message.replaceAll('FILE', file))
  })

  it('takes nothing from the prototype of a file', async () => {
    const file = path.join(folder, 'empty.json')
    await writeFile(file, '{}')
    const prototype = Object.prototype as unknown as Record<string, unknown>
    prototype['region'] = 'cn'
    try {
      expect((await loadSettings({ file })).region).toBe('intl')
    } finally {
      delete prototype['region']
    }
  })

  it('names an unknown key of the file, and never prints a key', async () => {
    await writeFile(path.join(folder, 'bad.json'), '{"prot": 1}')
    await expect(loadSettings({ file: path.join(folder, 'bad.json') })).rejects.toThrow('unknown key "prot"')
    await writeFile(path.join(folder, 'bad.json'), '{"apiKey": "secret-value"}')
    await expect(loadSettings({ file: path.join(folder, 'bad.json') })).rejects.toThrow('(hidden)')
    await writeFile(path.join(folder, 'bad.json'), '[')
    await expect(loadSettings({ file: path.join(folder, 'bad.json') })).rejects.toThrow('is not JSON')
  })

  it('refuses to be open to the network without a key', async () => {
    const settings = await loadSettings({})
    expect(() => checkExposure(settings)).not.toThrow()
    expect(() => checkExposure({ ...settings, host: '0.0.0.0' })).toThrow('--api-key')
    expect(() => checkExposure({ ...settings, host: '0.0.0.0', apiKey: ['k'] })).not.toThrow()
    expect(['127.0.0.1', '127.8.9.1', 'localhost', '[::1]', '::1'].every(isLoopback)).toBe(true)
    expect(['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.example.com', 'example.com'].some(isLoopback)).toBe(false)
  })
})
