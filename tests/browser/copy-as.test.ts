/** "Copy as": the programs copied from the page send exactly the request the page sent. */
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { RunningServer } from '../../src/api/index.ts'
import type { GenerationRequest } from '../../src/contract/index.ts'
import { createFakeEngine, type FakeEngine } from '../../testing/fake-engine.ts'
import { ask, describeInBrowser, launchBrowser, openPlayground } from './browser.ts'
import { testImage, temporaryFile } from './media-files.ts'
import { startPlayground } from './playground-server.ts'

function run(command: string, args: string[], cwd: string): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd })
    let output = ''
    child.stdout.on('data', (data: Buffer) => (output += data.toString()))
    child.stderr.on('data', (data: Buffer) => (output += data.toString()))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, output }))
  })
}

/** A request without its id, its media by their content. */
function comparable(request: GenerationRequest | undefined): unknown {
  const messages = request?.messages.map(({ role, content }) => ({
    role,
    content: content.map((part) => {
      if (part.type === 'text') return part
      const medium = part.type === 'image' ? part.image : part.type === 'audio' ? part.audio : part.video
      return { type: part.type, facts: medium.facts, contentKey: medium.contentKey }
    }),
  }))
  return { ...request, id: '', messages }
}

async function copy(page: Page, language: string): Promise<string> {
  await page.getByRole('tab', { name: language }).click()
  await page.evaluate(`navigator.clipboard.writeText('')`)
  // The closing panel may still be there.
  await page.getByRole('tabpanel', { name: language }).getByRole('button', { name: 'Copy', exact: true }).click()
  // The page writes it some time after the click.
  const read = (): Promise<string> => page.evaluate<string>(`navigator.clipboard.readText()`)
  await expect.poll(read).not.toBe('')
  return read()
}

describeInBrowser('copy as code', () => {
  let browser: Browser
  let engine: FakeEngine
  let server: RunningServer
  beforeAll(async () => {
    engine = createFakeEngine({ models: ['nano'] })
    server = await startPlayground(engine)
    browser = await launchBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    await server?.stop(0)
  })

  it('copies the commands of the first page as they are shown', async () => {
    const { page } = await openPlayground(browser, server.url, { permissions: ['clipboard-read', 'clipboard-write'] })
    await page.getByRole('button', { name: 'Copy the commands' }).click()
    await page.getByText('Copied', { exact: true }).waitFor()
    const copied = await page.evaluate<string>(`navigator.clipboard.readText()`)
    expect(copied).toBe(await page.locator('.commands pre').textContent())
    // Three commands as the shell splits them.
    const { output } = await run('bash', ['-c', `npx() { echo "$@"; }\n${copied}`], '.')
    expect(output.trim().split('\n')).toEqual([
      'omniserve pull Qwen/Qwen3-Omni-30B-A3B-Instruct',
      'omniserve convert Qwen/Qwen3-Omni-30B-A3B-Instruct --output qwen3-omni.gguf',
      'omniserve serve --model qwen3-omni.gguf',
    ])
    await page.context().close()
  })

  it('gives curl, Python and Node that reproduce a spoken request with an image', async () => {
    const { page, requests, problems } = await openPlayground(browser, server.url, {
      permissions: ['clipboard-read', 'clipboard-write'],
      settings: {
        speech: true,
        voice: 'Ethan',
        temperature: 0.4,
        topK: 7,
        seed: 3,
        system: 'It\'s "quoted" and $HOME',
      },
    })
    const first = engine.requests.length
    const [chooser] = await Promise.all([
      page.waitForEvent('filechooser'),
      page
        .getByRole('button', { name: 'Add a file' })
        .click()
        .then(() => page.getByRole('menuitem', { name: /^Image/ }).click()),
    ])
    await chooser.setFiles(temporaryFile('noise.png', await testImage(200, 150, { noisy: true })))
    await page.locator('.chip').waitFor()
    await ask(page, '这是什么? 😀 `backticks` \\ and\nJSON')
    await page.getByRole('button', { name: 'Copy as code' }).click()
    expect(await page.locator('.code').first().innerText()).toMatch(/base64,.{24}… \(\d+ kB\)/)

    const fromPage = engine.requests[first]
    const same = (request: GenerationRequest | undefined): void => {
      expect(comparable(request)).toEqual(comparable(fromPage))
    }

    const curl = await copy(page, 'curl')
    const script = temporaryFile('ask.sh', Buffer.from(curl))
    const ran = await run('bash', [script], path.dirname(script))
    expect(ran.output).toContain('data: [DONE]')
    same(engine.requests[first + 1])
    const body = curl.split("<<'JSON'\n")[1]?.split('\nJSON\n')[0] ?? ''
    expect(JSON.parse(body)).toEqual(requests[0])

    const node = await copy(page, 'Node')
    const program = temporaryFile('ask.mjs', Buffer.from(node))
    mkdirSync(path.join(path.dirname(program), 'node_modules'))
    symlinkSync(
      fileURLToPath(new URL('../../node_modules/openai', import.meta.url)),
      path.join(path.dirname(program), 'node_modules', 'openai'),
    )
    const nodeRan = await run(process.execPath, [program], path.dirname(program))
    expect(nodeRan.code, nodeRan.output).toBe(0)
    same(engine.requests[first + 2])
    const wav = readFileSync(path.join(path.dirname(program), 'reply.wav'))
    expect(wav.readUInt32LE(24)).toBe(24_000)
    expect(wav.length).toBeGreaterThan(48_000)

    // Python is not part of the tests: its program is only checked to be the same request by its text.
    const python = await copy(page, 'Python')
    expect(python).toContain('client.chat.completions.create(')
    expect(python).toContain('"top_k": 7')
    expect(python).toContain('temperature=0.4')
    expect(problems).toEqual([])
    await page.context().close()
  })
})
