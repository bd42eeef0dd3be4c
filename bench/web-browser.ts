/**
 * The playground in Chromium on loopback: time until it is usable, and from Enter to the first audio.
 *
 * The fake engine answers at once, so the results are those of the page and the API server. Playback
 * buffers 60 ms against jitter.
 */

import type { Browser, Page } from 'playwright-core'

import { createFakeEngine } from '../testing/fake-engine.ts'
import { launchBrowser } from '../tests/browser/chromium.ts'
import { startPlayground } from '../tests/browser/playground-server.ts'
import { median, type Benchmark, type Row } from './harness.ts'

async function fresh(browser: Browser, url: string): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: 'en-US' })
  const page = await context.newPage()
  await page.goto(url)
  await page.locator('.starter:not([disabled])').first().waitFor()
  return page
}

const LOAD = `(() => {
  const [navigation] = performance.getEntriesByType('navigation')
  const paint = performance.getEntriesByName('first-contentful-paint')[0]
  return { loaded: navigation.domContentLoadedEventEnd, painted: paint?.startTime ?? 0, usable: performance.now() }
})()`

async function run(quick: boolean): Promise<Row[]> {
  await using server = await startPlayground(createFakeEngine({ models: ['nano'] }))
  const browser = await launchBrowser()
  try {
    const times = quick ? 3 : 9
    const loads: { loaded: number; painted: number; usable: number }[] = []
    const speech: { arrived: number; played: number }[] = []
    for (let index = 0; index <= times; index += 1) {
      const page = await fresh(browser, server.url)
      const load = await page.evaluate<(typeof loads)[number]>(LOAD)
      await page.evaluate(
        `addEventListener('keydown', (event) => { if (event.key === 'Enter') globalThis.enterAt = performance.now() }, true)`,
      )
      await page.locator('#message').fill('one two three four five six seven eight')
      await page.keyboard.press('Enter')
      await page.locator('.turn-foot').waitFor()
      const played = await page.evaluate<(typeof speech)[number]>(`(() => {
        const { startsAt } = globalThis.omniservePlayground.player.statistics
        const [arrived] = performance.getEntriesByType('resource').filter((entry) => entry.name.endsWith('/chat/completions'))
        return { arrived: arrived.responseStart - globalThis.enterAt, played: startsAt - globalThis.enterAt }
      })()`)
      await page.context().close()
      // The first run fills the browser's caches of compiled code and is not counted.
      if (index === 0) continue
      loads.push(load)
      speech.push(played)
    }
    const row = (name: string, values: number[]): Row => ({
      case: name,
      'median ms': median(values),
      'worst ms': Math.max(...values),
    })
    return [
      row(
        'first load: HTML and script run',
        loads.map(({ loaded }) => loaded),
      ),
      row(
        'first load: first contentful paint',
        loads.map(({ painted }) => painted),
      ),
      row(
        'first load: usable, models listed (limit 1000)',
        loads.map(({ usable }) => usable),
      ),
      row(
        'Enter to first byte of the reply',
        speech.map(({ arrived }) => arrived),
      ),
      row(
        'Enter to speech played (60 ms buffered)',
        speech.map(({ played }) => played),
      ),
    ]
  } finally {
    await browser.close()
  }
}

export const benchmark: Benchmark = {
  name: 'web-browser',
  title:
    'first load of the playground and start of speech, in Chromium on loopback, with an engine that answers at once',
  run: (context) => run(context.quick),
}
