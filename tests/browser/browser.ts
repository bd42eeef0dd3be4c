/**
 * Debian's Chromium for the browser tests, with a fake microphone and camera, and pages that record problems.
 *
 * In: an address. Out: pages. A page's `problems` are its console errors, exceptions and broken content security
 * policy; `foreign` are requests to other hosts. Without Chromium the tests are skipped with a message.
 */
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { describe, expect } from 'vitest'
import { chromiumPath } from './chromium.ts'
import { playgroundIsBuilt } from './playground-server.ts'

export { launchBrowser } from './chromium.ts'

const missing =
  chromiumPath === undefined
    ? 'Chromium is not installed (Debian package chromium)'
    : playgroundIsBuilt
      ? undefined
      : 'the playground is not built (npm run build)'
if (missing !== undefined) console.warn(`NOT RUN: tests/browser, because ${missing}.`)

/** `describe`, or a skip with a message when there is no browser or no built page. */
export const describeInBrowser = describe.skipIf(missing !== undefined)

export interface WatchedPage {
  readonly page: Page
  readonly problems: string[]
  readonly foreign: string[]
  /** Bodies of the chat requests the page sent. */
  readonly requests: Record<string, unknown>[]
}

/** A fresh context (no history, no settings) with the playground open, its models listed, and the settings open. */
export async function openPlayground(
  browser: Browser,
  url: string,
  options: BrowserContextOptions & {
    settings?: Record<string, unknown>
    /** As on a first visit: with closed settings. */
    firstVisit?: boolean
    before?: (page: Page) => Promise<void>
  } = {},
): Promise<WatchedPage> {
  const { settings, before, firstVisit = false, ...contextOptions } = options
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 },
    locale: 'en-US',
    acceptDownloads: true,
    ...contextOptions,
  })
  const page = await context.newPage()
  page.setDefaultTimeout(90_000)
  const watched: WatchedPage = { page, problems: [], foreign: [], requests: [] }
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') watched.problems.push(message.text())
  })
  page.on('pageerror', (error) => watched.problems.push(String(error)))
  page.on('request', (request) => {
    if (/^https?:/.test(request.url()) && !request.url().startsWith(url)) watched.foreign.push(request.url())
    if (request.method() === 'POST' && request.url().endsWith('/chat/completions'))
      watched.requests.push(request.postDataJSON() as Record<string, unknown>)
  })
  if (settings !== undefined)
    await page.addInitScript(`localStorage.setItem('omniserve.settings', ${JSON.stringify(JSON.stringify(settings))})`)
  if (!firstVisit) await page.addInitScript(`localStorage.setItem('omniserve.settingsColumn', 'open')`)
  await before?.(page)
  await page.goto(url)
  await page.locator('#message').waitFor()
  await catalogueKnown(page)
  return watched
}

/** Waits until the server's models are listed, or the page says why not. Before that the Enter key sends nothing. */
async function catalogueKnown(page: Page): Promise<void> {
  await page.locator('.server:not([data-state="unknown"])').waitFor()
}

/** Waits until the open conversation is stored with a reply of this text, so that a reload finds it. */
export async function replyKept(page: Page, text: string): Promise<void> {
  const stored = `new Promise((resolve, reject) => {
    const opening = indexedDB.open('omniserve')
    opening.onerror = () => reject(opening.error)
    opening.onsuccess = () => {
      const asking = opening.result.transaction('conversations').objectStore('conversations').getAll()
      asking.onsuccess = () => {
        opening.result.close()
        const turns = asking.result.flatMap((conversation) => conversation.turns)
        resolve(turns.filter(({ role, status }) => role === 'assistant' && status !== 'streaming').map(({ text }) => text))
      }
    }
  })`
  await expect.poll(() => page.evaluate<string[]>(stored)).toContain(text)
}

/** Sends a text and waits until `replies` replies are complete. */
export async function ask(page: Page, text: string, replies = 1): Promise<void> {
  await page.locator('#message').fill(text)
  await page.getByRole('button', { name: 'Send', exact: true }).click()
  await repliesDone(page, replies)
}

/** The (i) of the last reply: times, tokens, list price. */
export async function metricsOf(page: Page): Promise<string> {
  const button = page.getByRole('button', { name: 'Details of this reply' }).last()
  await button.click()
  const text = await page.locator('.metrics').innerText()
  await page.keyboard.press('Escape')
  await page.locator('.metrics').waitFor({ state: 'hidden' })
  return text
}

/**
 * Waits until an expression is true in the page. (Playwright's own waiting needs `unsafe-eval`, which the page
 * forbids.)
 */
export async function until(page: Page, expression: string, timeout = 90_000): Promise<void> {
  await expect.poll(() => page.evaluate<boolean>(`Boolean(${expression})`), { timeout, interval: 50 }).toBe(true)
}

/**
 * Waits until there are exactly `replies` replies, none is in progress, and what is drawn late (Markdown, images) no
 * longer moves what a test clicks next.
 */
export async function repliesDone(page: Page, replies: number): Promise<void> {
  await until(
    page,
    `document.querySelectorAll('.turn-assistant').length === ${replies} &&
     document.querySelectorAll('.turn-assistant[aria-busy="false"]').length === ${replies} &&
     document.querySelector('.prose-plain') === null &&
     [...document.querySelectorAll('.turn img')].every((image) => image.hasAttribute('src') && image.complete)`,
  )
}
