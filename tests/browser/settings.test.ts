/** Settings: what is sent, what is left out and why, voices, thinking, languages, appearance. */
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { RunningServer } from '../../src/api/index.ts'
import { createFakeEngine, type FakeEngine } from '../../testing/fake-engine.ts'
import { ask, describeInBrowser, launchBrowser, metricsOf, openPlayground } from './browser.ts'
import { startPlayground } from './playground-server.ts'

describeInBrowser('settings', () => {
  let browser: Browser
  let engine: FakeEngine
  let server: RunningServer

  beforeAll(async () => {
    engine = createFakeEngine({
      models: ['nano'],
      tokenDelayMs: 15,
      reply: () => ({ reasoning: 'Seven and five make twelve.', text: 'Twelve.' }),
    })
    server = await startPlayground(engine)
    browser = await launchBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    await server?.stop(0)
  })

  it('thinks first, with the reasoning folded, and says why there is no speech', async () => {
    const { page, problems, requests } = await openPlayground(browser, server.url)
    await page.getByRole('switch', { name: 'Thinking' }).click()
    await page.getByText('Text only while thinking is on.').waitFor()
    expect(await page.getByRole('radio', { name: 'Text and speech' }).count()).toBe(0)
    expect(await page.getByRole('combobox', { name: 'Voice' }).count()).toBe(0)
    await page.getByRole('textbox', { name: 'Thinking budget' }).fill('4')
    await page.keyboard.press('Tab')
    await ask(page, 'What is 7 plus 5?')
    expect(requests[0]).toMatchObject({ enable_thinking: true, thinking_budget: 4, modalities: ['text'] })
    expect(requests[0]).not.toHaveProperty('audio')
    const fold = page.getByRole('button', { name: /^Reasoning/ })
    expect(await fold.getAttribute('aria-expanded')).toBe('false')
    await fold.click()
    // The budget of 4 tokens held.
    await expect.poll(() => page.locator('.reasoning-panel').innerText()).toBe('Seven and five make')
    expect(await page.locator('.turn-assistant > .prose').innerText()).toBe('Twelve.')
    expect(await metricsOf(page)).toMatch(/4 reasoning/)
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('selects a voice by its description, and says when another is used instead', async () => {
    const { page, problems, requests } = await openPlayground(browser, server.url)
    const voice = page.getByRole('combobox', { name: 'Voice' })
    const search = page.getByRole('combobox', { name: 'Search voices or languages' })
    const pick = async (name: string): Promise<void> => {
      if (!(await search.isVisible())) await voice.click()
      await search.fill(name)
      await page.keyboard.press('Enter')
      await search.waitFor({ state: 'hidden' })
    }
    await voice.click()
    await expect.poll(() => page.getByRole('option').count()).toBe(17)
    await search.fill('cantonese')
    await expect
      .poll(() => page.getByRole('option').allInnerTexts())
      .toEqual([expect.stringContaining('Rocky'), expect.stringContaining('Kiki')])
    await pick('Ethan')
    // nano supports two languages, whatever the service's voice speaks.
    await page.getByText('Speaks Chinese, English', { exact: true }).waitFor()
    expect(await page.getByText('is used instead').count()).toBe(0)
    await pick('Cherry')
    await page.getByText('nano does not have this voice; chelsie is used instead.').waitFor()
    await pick('Ethan')
    await ask(page, 'hello')
    expect(requests[0]).toMatchObject({ audio: { voice: 'Ethan', format: 'wav' } })
    expect(problems).toEqual([])
    // The choice is kept.
    await page.reload()
    await expect.poll(() => voice.innerText()).toContain('Ethan')
    await page.context().close()
  })

  it('sends sampling settings only when changed, and resets them', async () => {
    const { page, requests } = await openPlayground(browser, server.url, { settings: { speech: false } })
    await ask(page, 'plain')
    expect(Object.keys(requests[0] ?? {})).toEqual(['model', 'messages', 'stream', 'stream_options', 'modalities'])

    await page.getByRole('textbox', { name: 'System message' }).fill('Be brief.')
    await page.getByRole('button', { name: 'Sampling' }).click()
    const temperature = page.getByRole('slider', { name: 'Temperature' })
    await temperature.focus()
    await page.keyboard.press('ArrowLeft')
    await page.getByRole('slider', { name: 'Top K' }).focus()
    await page.keyboard.press('ArrowRight')
    await page.getByRole('textbox', { name: 'Seed' }).fill('7')
    await page.keyboard.press('Tab')
    await page.getByRole('textbox', { name: 'Stop sequences' }).fill('END\nSTOP')
    await ask(page, 'changed', 2)
    expect(requests[1]).toMatchObject({ temperature: 0.89, top_k: 51, seed: 7, stop: ['END', 'STOP'] })
    expect(requests[1]).toMatchObject({ messages: expect.arrayContaining([{ role: 'system', content: 'Be brief.' }]) })
    expect(engine.requests.at(-1)?.sampling).toMatchObject({ temperature: 0.89, topK: 51, seed: 7 })

    await page.getByRole('button', { name: 'Reset to defaults' }).click()
    await ask(page, 'again', 3)
    expect(requests[2]).not.toHaveProperty('temperature')
    expect(requests[2]).not.toHaveProperty('stop')
    await page.context().close()
  })

  it('hides what turbo models do not support', async () => {
    const { page, problems, requests } = await openPlayground(browser, server.url, {
      settings: { system: 'Be brief.' },
    })
    await page.getByRole('combobox', { name: 'Model' }).click()
    await page.getByRole('option', { name: /^qwen-omni-turbo answered/ }).click()
    await page.getByText('Turbo models ignore the system message in spoken replies').waitFor()
    expect(await page.getByRole('switch', { name: 'Thinking' }).count()).toBe(0)
    expect(await page.getByRole('textbox', { name: 'System message' }).count()).toBe(0)
    await ask(page, 'hello')
    expect(requests[0]).toMatchObject({ model: 'qwen-omni-turbo', messages: [{ role: 'user', content: 'hello' }] })
    await page.getByRole('button', { name: /^Limits/ }).click()
    await page.getByText('30,720 tokens').waitFor()
    await page.getByText('qwen-omni-turbo has no thinking mode.').waitFor()
    await page.getByRole('radio', { name: 'Text', exact: true }).click()
    await page.getByRole('textbox', { name: 'System message' }).waitFor()
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('says which checkpoint cannot speak or think', async () => {
    const silent = await startPlayground(createFakeEngine({ models: ['nano'], speech: false, thinking: false }))
    try {
      const { page, requests } = await openPlayground(browser, silent.url)
      await page.getByText('Text only: the loaded checkpoint, nano, does not speak.').waitFor()
      expect(await page.getByRole('switch').count()).toBe(0)
      await page.getByRole('button', { name: /^Limits/ }).click()
      await page.getByText('The loaded checkpoint, nano, does not support thinking.').waitFor()
      await ask(page, 'hello')
      expect(requests[0]).toMatchObject({ modalities: ['text'] })
      await page.context().close()
    } finally {
      await silent.stop(0)
    }
  })

  it('has three languages: the browser’s by default, then the chosen one', async () => {
    const { page, problems } = await openPlayground(browser, server.url, { locale: 'zh-TW' })
    await page.getByRole('heading', { name: '在自己的機器上與 Qwen-Omni 對話' }).waitFor()
    await page.getByRole('combobox', { name: '語言' }).click()
    await page.getByRole('option', { name: '简体中文' }).click()
    await page.getByRole('heading', { name: '在自己的机器上与 Qwen-Omni 对话' }).waitFor()
    expect(await page.evaluate(`document.documentElement.lang`)).toBe('zh-Hans')
    expect(await page.locator('.settings').innerText()).toContain('阳光活泼')
    await page.reload()
    await page.getByRole('heading', { name: '在自己的机器上与 Qwen-Omni 对话' }).waitFor()
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('is closed on the first visit, and then as the user left it', async () => {
    const { page } = await openPlayground(browser, server.url, { firstVisit: true })
    const panel = page.locator('.settings')
    await page.locator('.starter:not([disabled])').first().waitFor()
    expect(await panel.count()).toBe(0)
    await page.getByRole('button', { name: 'Settings' }).click()
    await panel.waitFor()
    const [reference] = await Promise.all([
      page.waitForEvent('popup'),
      panel.getByRole('link', { name: 'API reference' }).click(),
    ])
    await reference.getByText('/compatible-mode/v1/chat/completions').first().waitFor()
    await page.reload()
    await panel.waitFor()
    await page.getByRole('button', { name: 'Settings' }).click()
    await page.reload()
    await page.locator('.starter:not([disabled])').first().waitFor()
    expect(await panel.count()).toBe(0)
    await page.context().close()
  })

  it.each([true, false])('shows the examples in one row at 1280, first visit: %s', async (firstVisit) => {
    const { page } = await openPlayground(browser, server.url, { firstVisit, viewport: { width: 1280, height: 800 } })
    await page.locator('.starter:not([disabled])').first().waitFor()
    const tops = `[...document.querySelectorAll('.starter')].map((card) => card.getBoundingClientRect().top)`
    await expect.poll(async () => new Set(await page.evaluate<number[]>(tops)).size).toBe(1)
    expect(await page.locator('.starter').count()).toBe(4)
    await page.context().close()
  })

  it('is dark when the system is, unless set otherwise', async () => {
    const { page } = await openPlayground(browser, server.url, { colorScheme: 'dark' })
    const ground = (): Promise<string> => page.evaluate(`getComputedStyle(document.body).backgroundColor`)
    await expect.poll(ground).toBe('rgb(20, 21, 23)')
    await page.getByRole('combobox', { name: 'Appearance' }).click()
    await page.getByRole('option', { name: 'Light' }).click()
    await expect.poll(ground).toBe('rgb(246, 245, 242)')
    await page.reload()
    await expect.poll(ground).toBe('rgb(246, 245, 242)')
    await page.context().close()
  })
})
