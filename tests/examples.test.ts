/** Every file in `examples/`, run as a user runs it: against the built package, by its name. */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { chromiumPath, launchBrowser } from './browser/chromium.ts'
import { serve, type ServeProcess } from './support/serve.ts'

const root = path.join(import.meta.dirname, '..')
const examples = path.join(root, 'examples')

let server: ServeProcess
let folder: string
beforeAll(async () => {
  if (!existsSync(path.join(root, 'dist', 'server.js')))
    throw new Error('The examples run the built package: npm run build first.')
  server = await serve()
  // In the package, so that its own name and `openai` are found.
  folder = await mkdtemp(path.join(root, 'dist', 'examples-'))
  await cp(examples, folder, { recursive: true })
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

async function run(name: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, OMNISERVE_URL: server.url }
  const { stdout } = await promisify(execFile)(process.execPath, [name, ...args], { cwd: folder, env })
  return stdout
}

it('are all tested', () => {
  expect(readdirSync(examples).toSorted()).toEqual([
    'README.md',
    'browser.html',
    'library.mjs',
    'openai-client.mjs',
    'own-engine.mjs',
  ])
})

it('library.mjs starts a server and asks nano', async () => {
  expect(await run('library.mjs', 'Who are you?')).toMatch(/^ready on http:\/\/127\.0\.0\.1:\d+\nI am nano, .*\n$/)
})

it('own-engine.mjs answers with a custom engine', async () => {
  const text = await run('own-engine.mjs')
  expect(text).toContain('"content":"hello"')
  expect(text).toContain('"content":" world"')
  expect(text).toContain('"completion_tokens":2')
  expect(text).toContain('data: [DONE]')
})

it('openai-client.mjs writes the reply and its speech', async () => {
  const [, seconds] = /I am nano[^]*\n\d+ tokens\n([\d.]+) s of speech/.exec(await run('openai-client.mjs')) ?? []
  const wav = await readFile(path.join(folder, 'reply.wav'))
  expect(wav.readUInt32LE(40)).toBe(wav.length - 44)
  expect((wav.length - 44) / 48_000).toBe(Number(seconds))
  expect(Number(seconds)).toBeGreaterThan(1)
})

it.skipIf(chromiumPath === undefined)('browser.html shows the text and plays the speech', async () => {
  const page = await readFile(path.join(examples, 'browser.html'))
  const files = createServer((_request, response) => void response.setHeader('content-type', 'text/html').end(page))
  await new Promise<void>((resolve) => void files.listen(0, '127.0.0.1', resolve))
  const browser = await launchBrowser()
  try {
    const tab = await browser.newPage()
    tab.setDefaultTimeout(90_000)
    const problems: string[] = []
    tab.on('pageerror', (error) => problems.push(String(error)))
    const { port } = files.address() as AddressInfo
    await tab.goto(`http://127.0.0.1:${port}/?server=${server.url}`)
    await tab.getByRole('button', { name: 'Ask' }).click()
    await tab.locator('body[data-speech]').waitFor()
    expect(await tab.locator('output').textContent()).toContain('I am nano')
    expect(Number(await tab.locator('body').getAttribute('data-speech'))).toBeGreaterThan(1)
    expect(problems).toEqual([])
  } finally {
    await browser.close()
    files.close()
  }
})
