/** The reference page in a browser: wide and on a phone, light and dark, it fits, and its policy lets its style through. */
import { expect, it } from 'vitest'
import { chromiumPath, launchBrowser } from '../browser/chromium.ts'
import { startTestServer } from '../support/server.ts'

if (chromiumPath === undefined)
  console.warn('NOT RUN: the reference page in a browser, since Chromium is not installed')

it.skipIf(chromiumPath === undefined)('fits the screen, in colours that can be read', async () => {
  await using server = await startTestServer()
  const browser = await launchBrowser()
  try {
    for (const width of [1280, 390]) {
      for (const colorScheme of ['light', 'dark'] as const) {
        const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme })
        const problems: string[] = []
        page.on('console', (message) => problems.push(message.text()))
        await page.goto(`${server.url}/reference`)
        const [contentWidth, lightness, font] = await page.evaluate<[number, number, string]>(
          `[document.documentElement.scrollWidth,
            Math.max(...getComputedStyle(document.body).color.match(/\\d+/g).slice(0, 3)),
            getComputedStyle(document.body).fontFamily]`,
        )
        expect(contentWidth, `${width} ${colorScheme}`).toBeLessThanOrEqual(width)
        expect(lightness > 128).toBe(colorScheme === 'dark')
        expect(font).toContain('system-ui')
        expect(problems).toEqual([])
        await page.close()
      }
    }
  } finally {
    await browser.close()
  }
})
