/** Keyboard, screen readers, phone width, and the content security policy. */
import axe from 'axe-core'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { RunningServer } from '../../src/api/index.ts'
import { createFakeEngine } from '../../testing/fake-engine.ts'
import { ask, describeInBrowser, launchBrowser, openPlayground, until } from './browser.ts'
import { startPlayground } from './playground-server.ts'

interface Violation {
  id: string
  impact: string
  nodes: { html: string; failureSummary: string }[]
}

/** Axe's findings, of any impact, in the current page. Popups are outside the page's landmarks by design. */
async function violations(page: Page, options: { popup?: boolean } = {}): Promise<string[]> {
  // Contrast is lower during transitions.
  await page.evaluate(
    `Promise.all(document.getAnimations().filter((a) => a.effect.getComputedTiming().iterations !== Infinity).map((a) => a.finished.catch(() => {})))`,
  )
  await page.evaluate(axe.source)
  const found = await page.evaluate<Violation[]>(
    `axe.run(document, { rules: { region: { enabled: ${options.popup !== true} } }, runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then((result) => result.violations)`,
  )
  return found.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map((node) => node.html).join(' | ')}`)
}

/** Nothing is found. Checked again while popups close. */
async function expectNone(page: Page, options: { popup?: boolean } = {}): Promise<void> {
  await expect.poll(() => violations(page, options), { timeout: 30_000 }).toEqual([])
}

describeInBrowser('accessibility', () => {
  let browser: Browser
  let server: RunningServer
  beforeAll(async () => {
    const engine = createFakeEngine({
      models: ['nano'],
      reply: () => ({
        reasoning: 'Thinking about it.',
        text: 'A **list**:\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```js\nlet x = 1\n```\n',
      }),
    })
    server = await startPlayground(engine)
    browser = await launchBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    await server?.stop(0)
  })

  it.each(['light', 'dark'] as const)(
    'axe finds nothing on the %s page, its panels and dialogs',
    async (colorScheme) => {
      const { page, problems } = await openPlayground(browser, server.url, {
        colorScheme,
        permissions: ['microphone', 'camera'],
        settings: { autoplay: false },
      })
      await page.locator('.starter:not([disabled])').first().waitFor()
      await expectNone(page)
      await page.getByRole('button', { name: /Show an image/ }).click()
      await page.locator('.turn-foot').waitFor()
      await page.getByRole('switch', { name: 'Thinking' }).click()
      await ask(page, 'think', 2)
      await page.getByRole('button', { name: /^Reasoning/ }).click()
      await page.getByRole('button', { name: 'Sampling' }).click()
      await page.getByRole('button', { name: /^Limits/ }).click()
      await expectNone(page)
      await page.getByRole('button', { name: 'Copy as code' }).last().click()
      await page.getByRole('dialog').waitFor()
      await expectNone(page)
      await page.keyboard.press('Escape')
      await page.getByRole('button', { name: 'Add a file' }).click()
      await page.getByRole('menu').waitFor()
      await expectNone(page, { popup: true })
      await page.getByRole('menuitem', { name: /^Camera/ }).click()
      await page.getByRole('button', { name: 'Take a photo' }).waitFor()
      await expectNone(page)
      await page.keyboard.press('Escape')
      await page.getByRole('button', { name: 'Details of this reply' }).last().click()
      await page.getByText('Time to first token').waitFor()
      await expectNone(page, { popup: true })
      await page.keyboard.press('Escape')
      await page.getByRole('switch', { name: 'Thinking' }).click()
      await page.getByRole('combobox', { name: 'Voice' }).click()
      await page.getByRole('listbox').waitFor()
      await expectNone(page, { popup: true })
      await page.keyboard.press('Escape')
      await page.getByRole('button', { name: 'Record from the microphone' }).click()
      await page.getByRole('meter').waitFor()
      await expectNone(page)
      expect(problems).toEqual([])
      await page.context().close()
    },
  )

  it('fits a phone: nothing wider than the screen, panels as sheets', async () => {
    const { page, problems } = await openPlayground(browser, server.url, {
      viewport: { width: 360, height: 740 },
      isMobile: true,
      hasTouch: true,
      deviceScaleFactor: 2,
    })
    const fits = (): Promise<boolean> => page.evaluate(`document.documentElement.scrollWidth <= innerWidth`)
    await page.locator('.starter:not([disabled])').first().waitFor()
    expect(await fits()).toBe(true)
    await page.getByRole('button', { name: /Show an image/ }).tap()
    await page.locator('.turn-foot').waitFor()
    expect(await fits()).toBe(true)
    await expectNone(page)
    await page.getByRole('button', { name: 'Settings' }).tap()
    await page.getByRole('dialog', { name: 'Settings' }).waitFor()
    expect(await fits()).toBe(true)
    await expectNone(page)
    await page.getByRole('button', { name: 'Close' }).tap()
    await page.getByRole('button', { name: 'Conversations' }).tap()
    await page.getByRole('dialog', { name: 'Conversations' }).waitFor()
    await page.getByRole('button', { name: 'New conversation' }).tap()
    await page.getByRole('heading', { name: 'Talk to Qwen-Omni' }).waitFor()
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('can be used without a mouse', async () => {
    const { page } = await openPlayground(browser, server.url)
    await page.locator('.starter:not([disabled])').first().waitFor()
    await page.keyboard.press('Tab')
    expect(await page.evaluate(`document.activeElement.textContent`)).toBe('Skip to the message box')
    await page.keyboard.press('Enter')
    await page.keyboard.type('hello')
    await page.keyboard.press('Shift+Enter')
    await page.keyboard.type('there')
    expect(await page.locator('#message').inputValue()).toBe('hello\nthere')
    await page.keyboard.press('Enter')
    await page.locator('.turn-foot').waitFor()
    // Announced once to screen readers.
    await expect
      .poll(() => page.locator('.conversation > [role="status"]').innerText())
      .toMatch(/^Reply: A \*\*list\*\*/)
    await page.locator('#message').focus()
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await until(page, `document.querySelectorAll('[role="menuitem"]').length > 3`)
    await page.keyboard.press('Escape')
    await until(page, `document.activeElement.getAttribute('aria-label') === 'Add a file'`)
    await page.context().close()
  })

  it('works under a policy without inline styles, and sends no request to other hosts', async () => {
    const { page, problems, foreign } = await openPlayground(browser, server.url, {
      before: async (before) => {
        await before.route(`${server.url}/`, async (route) => {
          const response = await route.fetch()
          const policy = response.headers()['content-security-policy'] ?? ''
          expect(policy).toContain("default-src 'self'")
          await route.fulfill({
            response,
            headers: { ...response.headers(), 'content-security-policy': policy.replaceAll("'unsafe-inline'", '') },
          })
        })
      },
    })
    await page.getByRole('button', { name: /Show an image/ }).click()
    await page.locator('.turn-foot').waitFor()
    await page.getByRole('combobox', { name: 'Model' }).click()
    await page.getByRole('option').first().waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('button', { name: 'Copy as code' }).click()
    await page.getByRole('dialog').waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('button', { name: 'Sampling' }).click()
    expect(problems).toEqual([])
    expect(foreign).toEqual([])
    await page.context().close()
  })
})
