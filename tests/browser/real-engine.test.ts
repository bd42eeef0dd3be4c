/**
 * The command line's own server with the real engine, driven from the browser: speech made by a checkpoint is played.
 *
 * With the embedded checkpoint the test waits for the reply; without it random weights answer, whose speech need not
 * end, so it is stopped once it plays.
 */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { serve, type ServeProcess } from '../support/serve.ts'
import { describeInBrowser, launchBrowser, metricsOf, openPlayground, repliesDone, until } from './browser.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const hasNano = existsSync(path.join(root, 'models/nano/config.json'))

describeInBrowser('with the real engine', () => {
  let browser: Browser
  let server: ServeProcess | undefined
  beforeAll(async () => {
    server = await serve()
    browser = await launchBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    await server?.[Symbol.asyncDispose]()
  })

  it('answers about an image, and plays the spoken reply', async () => {
    const { page, problems } = await openPlayground(browser, server?.url ?? '', {
      settings: { speech: true, maxTokens: 64, seed: 1 },
    })
    await page.getByRole('button', { name: /Show an image/ }).click()
    await until(page, `globalThis.omniservePlayground.player.statistics.peak > 0.001`)
    if (hasNano) {
      await repliesDone(page, 1)
      expect(await page.locator('.turn-assistant .prose').innerText()).toMatch(/\p{L}{2}/u)
    } else {
      await page.getByRole('button', { name: 'Stop the reply' }).click()
      await page.locator('.turn-assistant .note', { hasText: 'Stopped' }).waitFor()
    }
    expect(await metricsOf(page)).toMatch(/Time to first token[^]*Time to first audio/)
    // The next request is served: the work of the first was cancelled, or done.
    await page.getByRole('radio', { name: 'Text', exact: true }).click()
    await page.locator('#message').fill('hello')
    await page.keyboard.press('Enter')
    await repliesDone(page, 2)
    expect(await metricsOf(page)).toMatch(/Input tokens\s+\d+ text/)
    expect(problems).toEqual([])
    await page.context().close()
  })
})
