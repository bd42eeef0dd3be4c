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

  it('lets flags win over the environment, and that over the file', async () => {
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
    [{ flags: { port: '70000' } }, 'flag --port'],
    [{ flags: { region: 'eu' } }, 'flag --region'],
    [{ flags: { bind: ['x'] } }, 'API_MODEL=CHECKPOINT'],
    [{ environment: { OMNISERVE_RATE_LIMIT: 'maybe' } }, 'variable OMNISERVE_RATE_LIMIT'],
    [{ flags: { textCarrier: ['a=b'] } }, 'flag --text-carrier'],
    [{ file: '/nowhere/omniserve.json' }, 'cannot read the configuration file'],
  ])('says where a bad value came from: %j', async (sources, text) => {
    await expect(loadSettings(sources)).rejects.toThrow(ConfigError)
    await expect(loadSettings(sources)).rejects.toThrow(text)
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
