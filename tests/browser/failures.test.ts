/** Failures, described in a sentence with a fix: refusals, keys, broken streams, a server that disappears. */
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { EngineError } from '../../src/contract/index.ts'
import { createFakeEngine } from '../../testing/fake-engine.ts'
import { freePort } from '../../testing/free-port.ts'
import { ask, describeInBrowser, launchBrowser, openPlayground, repliesDone, until } from './browser.ts'
import { startPlayground } from './playground-server.ts'

describeInBrowser('failures', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await launchBrowser()
  })
  afterAll(async () => {
    await browser?.close()
  })

  it('shows a refusal with code, field and advice, and answers after the fix', async () => {
    await using server = await startPlayground(
      createFakeEngine({ models: ['nano'], contextLength: 40, maxOutputTokens: 8 }),
    )
    const { page } = await openPlayground(browser, server.url, { settings: { speech: false } })
    await ask(page, Array.from({ length: 60 }, () => 'word').join(' '))
    const alert = page.locator('.failure')
    // The description comes first, then the server's message.
    expect(await alert.innerText()).toMatch(/^The conversation is too long for this model\s+Shorten the message/)
    expect(await alert.innerText()).toMatch(/400/)
    expect(await alert.innerText()).toMatch(/invalid_parameter_error/)
    expect(await alert.innerText()).toMatch(/[0-9a-f]{8}-[0-9a-f]{4}-/)
    const turn = page.getByRole('article', { name: 'You' })
    await turn.hover()
    await turn.getByRole('button', { name: 'Edit and send again' }).click()
    await turn.getByRole('textbox').fill('short')
    await page.keyboard.press('Enter')
    await page.getByText('You said: short', { exact: true }).waitFor()
    expect(await alert.count()).toBe(0)
    await page.context().close()
  })

  it('asks for the key of a server that has keys', async () => {
    await using server = await startPlayground(createFakeEngine({ models: ['nano'] }), { apiKey: ['secret'] })
    const { page } = await openPlayground(browser, server.url, { firstVisit: true })
    const alert = page.getByRole('alert')
    await alert.getByText('This server requires an API key').waitFor()
    // Not ready, and no examples next to it.
    await page.locator('.server', { hasText: 'API key required' }).waitFor()
    expect(await page.locator('.server[data-state="ready"], .starter').count()).toBe(0)
    await until(page, `document.activeElement.type === 'password'`)
    await page.keyboard.type('wrong')
    await page.keyboard.press('Enter')
    await alert.getByText('The server did not accept this API key').waitFor()
    await alert.getByLabel('API key').fill('secret')
    await page.keyboard.press('Enter')
    await alert.waitFor({ state: 'detached' })
    await page.locator('.server[data-state="ready"]').waitFor()
    await ask(page, 'hello')
    await page.getByText('You said: hello', { exact: true }).waitFor()
    await page.context().close()
  })

  it('keeps what arrived when the engine fails during a reply, and retries', async () => {
    let broken = true
    const whole = createFakeEngine({ models: ['nano'] })
    const failing = createFakeEngine({
      models: ['nano'],
      tokenDelayMs: 20,
      failAt: {
        event: 4,
        error: new EngineError('engine_crashed', 'The engine process ended; it is being restarted.'),
      },
    })
    await using server = await startPlayground({
      ...whole,
      generate: (request, signal) => (broken ? failing : whole).generate(request, signal),
    })
    const { page } = await openPlayground(browser, server.url, { settings: { speech: false } })
    await ask(page, 'one two three four five')
    await expect.poll(() => page.locator('.turn-assistant .prose').innerText()).toBe('You said: one')
    await page.locator('.failure').waitFor()
    broken = false
    await page.getByRole('button', { name: 'Try again' }).click()
    await page.getByText('You said: one two three four five', { exact: true }).waitFor()
    expect(await page.locator('.failure').count()).toBe(0)
    await page.context().close()
  })

  it('shows a lost connection, and its return', async () => {
    const engine = () => createFakeEngine({ models: ['nano'], tokenDelayMs: 40 })
    const server = await startPlayground(engine(), { port: await freePort() })
    const { page } = await openPlayground(browser, server.url, { settings: { speech: false } })
    await page.getByText('qwen3-omni-flash').first().waitFor()
    await page.locator('#message').fill(Array.from({ length: 900 }, (_, index) => `w${index}`).join(' '))
    await page.keyboard.press('Enter')
    await page.locator('.turn-assistant .prose', { hasText: 'w3' }).waitFor()
    await server.stop(0)
    await repliesDone(page, 1)
    await page.locator('.failure').waitFor()
    expect(await page.locator('.turn-assistant .prose').innerText()).toContain('w3')
    expect(await page.locator('.failure').innerText()).toMatch(/^The server is not ready\s[^]*Try again in a moment/)
    await page.getByRole('button', { name: 'Try again' }).click()
    // The page's own text, not the browser's ("Failed to fetch").
    await page.locator('.failure', { hasText: 'The connection to the server was lost' }).waitFor()
    expect(await page.locator('.failure').innerText()).not.toContain('Server message')
    await page.getByText('Server not reachable').waitFor()

    await using again = await startPlayground(engine(), { port: new URL(server.url).port })
    expect(again.url).toBe(server.url)
    await page.locator('.server[data-state="ready"]').waitFor()
    await page.locator('#message').fill('welcome back')
    await page.keyboard.press('Enter')
    await page.getByText('You said: welcome back', { exact: true }).waitFor()
    await page.context().close()
  })

  it('works without https except for the microphone, and says so', async () => {
    const insecure = await launchBrowser({ hostName: 'omniserve.example' })
    try {
      await using server = await startPlayground(createFakeEngine({ models: ['nano'] }), { apiKey: ['secret'] })
      const url = server.url.replace('127.0.0.1', 'omniserve.example')
      const { page, problems } = await openPlayground(insecure, url, { settings: { apiKey: 'secret' } })
      expect(await page.evaluate(`isSecureContext`)).toBe(false)
      await ask(page, 'over plain http')
      await page.getByText('You said: over plain http', { exact: true }).waitFor()
      await until(page, `globalThis.omniservePlayground.player.statistics.peak > 0.2`)
      await page.getByRole('button', { name: 'Record from the microphone' }).click()
      await page.getByText('only open the microphone and camera on https or localhost').first().waitFor()
      expect(problems).toEqual([])
    } finally {
      await insecure.close()
    }
  })

  it('opens, and says so, when the server cannot list its models', async () => {
    await using server = await startPlayground(createFakeEngine({ models: ['nano'] }))
    const { page } = await openPlayground(browser, server.url, {
      before: async (before) => {
        await before.route('**/models', (route) => route.fulfill({ status: 502, body: '<h1>Bad gateway</h1>' }))
      },
    })
    await page.getByText('Something else answered, perhaps a proxy.').waitFor()
    await page.unroute('**/models')
    await page.getByRole('button', { name: 'Try again' }).click()
    await page.locator('.starter:not([disabled])').first().waitFor()
    await page.context().close()
  })
})
