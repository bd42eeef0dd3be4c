/**
 * The reference in a browser: wide and on a phone, light and dark, it fits, is readable and usable, and keeps to its
 * policy.
 */
import axe from 'axe-core'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chromiumPath, launchBrowser } from '../browser/chromium.ts'
import { playgroundFolder, playgroundIsBuilt } from '../browser/playground-server.ts'
import { fakeEngine, startTestServer } from '../support/server.ts'

if (chromiumPath === undefined)
  console.warn('NOT RUN: the reference page in a browser, since Chromium is not installed')

const SCREENS = [1280, 390].flatMap((width) =>
  (['light', 'dark'] as const).map((colorScheme) => ({ width, colorScheme })),
)

describe.skipIf(chromiumPath === undefined)('the reference page', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await launchBrowser()
  })
  afterAll(async () => browser?.close())

  const open = async (url: string, screen: (typeof SCREENS)[number]) => {
    const page = await browser.newPage({
      viewport: { width: screen.width, height: 900 },
      colorScheme: screen.colorScheme,
    })
    page.setDefaultTimeout(90_000)
    const problems: string[] = []
    page.on('console', (message) => problems.push(message.text()))
    page.on('request', (request) => {
      if (/^https?:/.test(request.url()) && !request.url().startsWith(url)) problems.push(`asked ${request.url()}`)
    })
    const response = await page.goto(`${url}/reference`)
    const policy = response?.headers()['content-security-policy'] ?? ''
    expect(policy).toContain("default-src 'none'")
    expect(policy).not.toContain('unsafe')
    return { page, problems }
  }
  const widthOf = (page: Page): Promise<number> => page.evaluate(`document.documentElement.scrollWidth`)

  it.each(SCREENS)(
    'without a build fits the screen, in colours that can be read: $width $colorScheme',
    async (screen) => {
      await using server = await startTestServer()
      const { page, problems } = await open(server.url, screen)
      const [lightness, font] = await page.evaluate<[number, string]>(
        `[Math.max(...getComputedStyle(document.body).color.match(/\\d+/g).slice(0, 3)),
        getComputedStyle(document.body).fontFamily]`,
      )
      expect(await widthOf(page)).toBeLessThanOrEqual(screen.width)
      expect(lightness > 128).toBe(screen.colorScheme === 'dark')
      expect(font).toContain('system-ui')
      expect(problems).toEqual([])
      await page.close()
    },
  )

  // Each width once and each scheme once: what depends on both is in the page without a build.
  it.skipIf(!playgroundIsBuilt).each([SCREENS[0]!, SCREENS[3]!])(
    'built, sends a request and shows the reply: $width $colorScheme',
    async (screen) => {
      await using server = await startTestServer({}, fakeEngine(), { playgroundFolder })
      const { page, problems } = await open(server.url, screen)
      await page.locator('#operations-Chat-createChatCompletion .opblock-summary-control').click()
      await page.getByRole('button', { name: 'Execute' }).waitFor()
      expect(await widthOf(page)).toBeLessThanOrEqual(screen.width)

      await page.evaluate(axe.source)
      const violations = await page.evaluate<{ id: string; nodes: { html: string }[] }[]>(
        // Swagger UI puts its copy button inside the row's own button.
        `axe.run(document, { rules: { 'nested-interactive': { enabled: false } }, runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }).then((result) => result.violations)`,
      )
      expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`)).toEqual([])

      await page.getByRole('button', { name: 'Execute' }).click()
      const reply = page.locator('.live-responses-table')
      await reply.waitFor()
      expect(await reply.innerText()).toContain('data: [DONE]')
      expect(server.engine.requests).toHaveLength(1)
      expect(problems).toEqual([])
      await page.close()
    },
  )
})
