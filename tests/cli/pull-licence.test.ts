/**
 * `omniserve pull` of a checkpoint whose licence restricts use: shown before the weights are fetched, with a question.
 */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { TestHub } from '../../testing/hub-server.ts'
import { hasTerminal, omniserve, temporaryFolder, TerminalSession } from './run-cli.ts'

const card = '---\nlicense: other\nlicense_name: qwen-research\nlicense_link: LICENSE\n---\n# Tiny\n'
const files = { 'README.md': card, 'config.json': '{}', 'model.safetensors': 'weights', LICENSE: 'Terms' }

let hub: TestHub
let home: Awaited<ReturnType<typeof temporaryFolder>>
beforeEach(async () => {
  hub = await new TestHub(files).start()
  home = await temporaryFolder()
})
afterEach(async () => {
  await hub[Symbol.asyncDispose]()
  await home[Symbol.asyncDispose]()
})

const options = () => ({
  folder: home.path,
  environment: { HF_ENDPOINT: hub.endpoint, HF_TOKEN: '', OMNISERVE_HOME: home.path },
})
const pulled = (file: string): boolean => existsSync(path.join(home.path, 'checkpoints', 'Qwen', 'Tiny-Omni', file))

describe('a licence that restricts use', () => {
  it('is shown; without a terminal, only an option accepts it', async () => {
    const refused = await omniserve(['pull', hub.id], options())
    expect(refused).toMatchObject({ code: 2, out: '' })
    expect(refused.errors).toMatch(/Qwen\/Tiny-Omni has the licence qwen-research\.\nLicence text: LICENSE on the page/)
    expect(refused.errors).toContain('--accept-licence')
    expect(hub.contentRequests('model.safetensors')).toEqual([])
    expect(pulled('model.safetensors')).toBe(false)

    const agreed = await omniserve(['pull', hub.id, '--accept-licence', '--json'], options())
    expect(agreed.errors).toContain('has the licence qwen-research')
    expect(agreed.code).toBe(0)
    expect(JSON.parse(agreed.out)).toMatchObject({
      licence: 'qwen-research',
      files: expect.arrayContaining(['LICENSE']),
    })
    expect(pulled('model.safetensors')).toBe(true)

    // Everything exists: nothing is fetched that needs agreement.
    expect(await omniserve(['pull', hub.id], options())).toMatchObject({ code: 0 })
  })

  it.skipIf(!hasTerminal)('is confirmed at a terminal', async () => {
    {
      await using session = new TerminalSession(['pull', hub.id], options())
      await session.see(/Do you accept it\? \[y\/N\]/)
      session.type('\r')
      await session.see(/the licence was not accepted/)
      expect(await session.ended).toBe(1)
      expect(pulled('model.safetensors')).toBe(false)
    }
    {
      await using session = new TerminalSession(['pull', hub.id], options())
      await session.see(/Do you accept/)
      session.type('\u0003')
      expect(await session.ended).toBe(130)
    }
    await using session = new TerminalSession(['pull', hub.id], options())
    await session.see(/Do you accept/)
    session.type('yes\r')
    await session.see(/4 files/)
    expect(await session.ended).toBe(0)
    expect(pulled('model.safetensors')).toBe(true)
  })

  it('is not confirmed where the model card allows any use', async () => {
    hub.files.set('README.md', Buffer.from('---\nlicense: apache-2.0\n---\n'))
    const { code, errors } = await omniserve(['pull', hub.id], options())
    expect(code).toBe(0)
    expect(errors).not.toContain('licence')
  })
})
