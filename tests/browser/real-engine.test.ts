/**
 * The command line's own server with the real engine, driven from the browser: speech made by a checkpoint is heard.
 *
 * With the embedded checkpoint the reply is waited for; without it random weights answer, whose speech need not end, so it is
 * stopped once it is heard.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeInBrowser, launchBrowser, openPlayground, repliesDone, until } from './browser.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const hasNano = existsSync(path.join(root, 'models/nano/config.json'))

/** `omniserve serve` on a free port; the address it says it is ready on. */
function serve(): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(process.execPath, ['src/cli/main.ts', 'serve', '--port', '0', '--log-level', 'error'], {
    cwd: root,
    env: { ...process.env, OMNISERVE_HOME: mkdtempSync(path.join(tmpdir(), 'omniserve-home-')) },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return new Promise((resolve, reject) => {
    let text = ''
    child.stdout?.on('data', (data: Buffer) => {
      text += data.toString()
      const url = /ready on (\S+)/.exec(text)?.[1]
      if (url !== undefined) resolve({ child, url })
    })
    child.on('exit', (code) => reject(new Error(`omniserve serve ended with ${code}: ${text}`)))
  })
}

describeInBrowser('with the real engine', () => {
  let browser: Browser
  let child: ChildProcess | undefined
  let url = ''
  beforeAll(async () => {
    ;({ child, url } = await serve())
    browser = await launchBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    child?.kill('SIGKILL')
  })

  it('sees a picture, and its spoken reply is heard', async () => {
    const { page, problems } = await openPlayground(browser, url, {
      settings: { speech: true, maxTokens: 64, seed: 1 },
    })
    await page.getByRole('button', { name: /Show a picture/ }).click()
    await until(page, `globalThis.omniservePlayground.player.statistics.peak > 0.001`, 60_000)
    if (hasNano) {
      await repliesDone(page, 1)
      expect(await page.locator('.turn-assistant .prose').innerText()).toMatch(/\p{L}{2}/u)
    } else {
      await page.getByRole('button', { name: 'Stop the reply' }).click()
      await page.locator('.turn-assistant .note', { hasText: 'Stopped' }).waitFor()
    }
    await page.locator('.metrics', { hasText: /first token .* first sound/ }).waitFor()
    // The next request is served: the work of the first was given up, or done.
    await page.getByRole('radio', { name: 'Text', exact: true }).click()
    await page.locator('#message').fill('hello')
    await page.keyboard.press('Enter')
    await repliesDone(page, 2)
    expect(await page.locator('.metrics').last().innerText()).toMatch(/\d+ text in|\d+ text \+ \d+ image in/)
    expect(problems).toEqual([])
    await page.context().close()
  })
})
