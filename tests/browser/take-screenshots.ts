/**
 * Screenshots of the playground: `node tests/browser/take-screenshots.ts URL FOLDER`.
 *
 * In: the address of a running server. Out: first page, a conversation with an image and speech, light, dark, phone,
 * Chinese. The one in the README is `conversation.png`.
 */
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { launchBrowser } from './chromium.ts'

const [url = 'http://127.0.0.1:8000', folder = 'screenshots'] = process.argv.slice(2)

async function open(browser: Browser, options: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: 'en-US', ...options })
  const page = await context.newPage()
  await page.goto(url)
  await page.locator('.starter:not([disabled])').first().waitFor()
  return page
}

/** Asks by the page's own examples, and waits for the reply to be complete. */
async function tryExamples(page: Page, image: RegExp, more: string): Promise<void> {
  await page.getByRole('button', { name: image }).click()
  await page.locator('.turn-foot').first().waitFor({ timeout: 60_000 })
  await page.locator('#message').fill(more)
  await page.keyboard.press('Enter')
  await page.locator('.turn-foot').nth(1).waitFor({ timeout: 60_000 })
  await page.mouse.move(0, 0)
  await page.waitForTimeout(400)
}

const browser = await launchBrowser()
try {
  mkdirSync(folder, { recursive: true })
  const shots: [string, BrowserContextOptions, ((page: Page) => Promise<void>)?][] = [
    ['first-page', {}],
    ['conversation', {}, (page) => tryExamples(page, /Show an image/, 'What colour is it?')],
    ['dark', { colorScheme: 'dark' }, (page) => tryExamples(page, /Show an image/, 'What colour is it?')],
    ['chinese', { locale: 'zh-CN' }, (page) => tryExamples(page, /给它看图/, '它是什么颜色?')],
    [
      'phone',
      { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
      (page) => tryExamples(page, /Show an image/, 'What colour is it?'),
    ],
  ]
  for (const [name, options, act] of shots) {
    // One after the other, so that they do not slow each other's speech.
    // oxlint-disable-next-line no-await-in-loop
    const page = await open(browser, options)
    // oxlint-disable-next-line no-await-in-loop
    await act?.(page)
    // oxlint-disable-next-line no-await-in-loop
    await page.screenshot({ path: path.join(folder, `${name}.png`) })
    // oxlint-disable-next-line no-await-in-loop
    await page.context().close()
  }
} finally {
  await browser.close()
}
