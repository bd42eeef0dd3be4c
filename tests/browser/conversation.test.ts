/** The playground against the real server: text, speech that really plays, several turns, stop, edit, history. */
import { readFile } from 'node:fs/promises'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { RunningServer } from '../../src/api/index.ts'
import type { GenerationRequest } from '../../src/contract/index.ts'
import { createFakeEngine, echo, type FakeEngine } from '../../testing/fake-engine.ts'
import {
  ask,
  describeInBrowser,
  launchBrowser,
  metricsOf,
  openPlayground,
  repliesDone,
  replyKept,
  until,
} from './browser.ts'
import { testImage } from './media-files.ts'
import { playgroundWith, startPlayground } from './playground-server.ts'

/** Records every sample that passes the player's output, in the audio thread. */
const TAP = `
class Tap extends AudioWorkletProcessor {
  process(inputs) {
    const samples = inputs[0]?.[0]
    if (samples) this.port.postMessage(samples.slice())
    return true
  }
}
registerProcessor('tap', Tap)
`

async function tapSpeech(page: Page): Promise<void> {
  await page.evaluate(`(async () => {
    const { player } = globalThis.omniservePlayground
    const context = player.unlock()
    await context.audioWorklet.addModule('/test-tap.js')
    const node = new AudioWorkletNode(context, 'tap', { numberOfOutputs: 0 })
    globalThis.tapped = []
    node.port.onmessage = (event) => globalThis.tapped.push(event.data)
    player.output.connect(node)
  })()`)
}

/** The samples so far. As Base64, because the browser's protocol takes seconds for a list of as many numbers. */
async function tapped(page: Page): Promise<Float32Array> {
  const link = await page.evaluate<string>(`new Promise((resolve) => {
    const reader = new FileReader()
    reader.onload = () => resolve(reader.result)
    reader.readAsDataURL(new Blob(globalThis.tapped))
  })`)
  return new Float32Array(Uint8Array.from(Buffer.from(link.split(',')[1] ?? '', 'base64')).buffer)
}

/** The fake engine's speech, as 16-bit samples: 440 Hz, in phase from the first frame on. */
function expectedTone(samples: number): Int16Array {
  return Int16Array.from({ length: samples }, (_, index) =>
    Math.round(Math.sin((2 * Math.PI * 440 * index) / 24_000) * 8000),
  )
}

describeInBrowser('conversation', () => {
  let browser: Browser
  let engine: FakeEngine
  let server: RunningServer

  beforeAll(async () => {
    // A long message of many lines has a short answer.
    const reply = (request: GenerationRequest): { text: string } => {
      const { text } = echo(request)
      return { text: text.includes('\n') ? 'Many lines.' : text }
    }
    engine = createFakeEngine({ models: ['nano'], tokenDelayMs: 30, framesPerToken: 3, reply })
    server = await startPlayground(engine, {}, playgroundWith({ 'test-tap.js': TAP }))
    browser = await launchBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    await server?.stop(0)
  })

  // Audio is in real time: on a busy machine one piece may be late, and then there is a gap.
  it('answers in text and in speech that reaches the audio graph without a gap', { retry: 2 }, async () => {
    const { page, problems, foreign, requests } = await openPlayground(browser, server.url)
    await page.locator('.starter').first().waitFor()
    await tapSpeech(page)
    await ask(page, 'one two three four five six')
    expect(await page.locator('.turn-assistant .prose').innerText()).toBe('You said: one two three four five six')
    // 8 tokens of 3 frames of 1920 samples.
    const samples = 8 * 3 * 1920
    await until(page, `globalThis.omniservePlayground.player.state.status === 'idle'`)
    const played = await tapped(page)
    const first = played.findIndex((sample) => sample !== 0) - 1
    const expected = expectedTone(samples)
    let worst = 0
    for (let index = 0; index < samples; index += 1)
      worst = Math.max(worst, Math.abs((played[first + index] ?? 9) - (expected[index] ?? 0) / 32768))
    // Every sample is in its position: none lost, doubled, resampled or delayed between the pieces.
    expect(worst).toBeLessThan(1e-4)
    const { scheduled, peak, underruns } = await page.evaluate<{ scheduled: number; peak: number; underruns: number }>(
      `globalThis.omniservePlayground.player.statistics`,
    )
    expect({ scheduled, underruns }).toEqual({ scheduled: samples, underruns: 0 })
    expect(peak).toBeGreaterThan(0.2)
    expect(requests[0]).toMatchObject({
      model: 'qwen3-omni-flash',
      stream: true,
      modalities: ['text', 'audio'],
      audio: { voice: 'Cherry', format: 'wav' },
    })

    // Measured, behind the (i).
    const metrics = await metricsOf(page)
    expect(metrics).toMatch(/Time to first token\s+\d+ ms/)
    expect(metrics).toMatch(/Time to first audio\s+\d+ ms/)
    expect(metrics).toMatch(/Output tokens\s+24 audio, 8 text/)
    expect(metrics).toMatch(/List price\s+\$0\.000\d+/)
    expect(problems).toEqual([])
    expect(foreign).toEqual([])

    // The download is the same speech, as a WAV file.
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download audio' }).click(),
    ])
    const wav = await readFile((await download.path()) ?? '')
    expect(wav.toString('latin1', 0, 4) + wav.toString('latin1', 8, 12)).toBe('RIFFWAVE')
    expect(wav.readUInt32LE(24)).toBe(24_000)
    const body = new Int16Array(wav.buffer.slice(wav.byteOffset + 44, wav.byteOffset + wav.length))
    expect(body.length).toBe(samples)
    expect(body).toEqual(expected)

    // Replay from the middle, pause, continue.
    await page.getByRole('slider', { name: 'Position' }).fill('0.2')
    // Within the page: what is left plays for 1.7 seconds only.
    const pausedAt = await page.evaluate<number>(`(async () => {
      const button = (name) => document.querySelector('button[aria-label="' + name + '"]')
      button('Play').click()
      while (button('Pause') === null) await new Promise((resolve) => setTimeout(resolve, 5))
      button('Pause').click()
      return globalThis.omniservePlayground.player.position()
    })()`)
    expect(pausedAt).toBeGreaterThanOrEqual(0.2)
    expect(pausedAt).toBeLessThan(1.9)
    await page.getByRole('button', { name: 'Play', exact: true }).click()
    await until(page, `globalThis.omniservePlayground.player.state.status === 'idle'`)
    await page.context().close()
  })

  it('pauses playback when speech arrives late, and continues with the next sample', async () => {
    const slow = createFakeEngine({ models: ['nano'], tokenDelayMs: 450, framesPerToken: 3 })
    const late = await startPlayground(slow, {}, playgroundWith({ 'test-tap.js': TAP }))
    try {
      const { page, problems } = await openPlayground(browser, late.url)
      await page.locator('.starter').first().waitFor()
      await tapSpeech(page)
      await ask(page, 'one two three')
      await until(page, `globalThis.omniservePlayground.player.state.status === 'idle'`)
      expect(await page.evaluate<number>(`globalThis.omniservePlayground.player.statistics.underruns`)).toBeGreaterThan(
        0,
      )
      // Except for silence (and interpolated zeros), the played samples equal the sent ones.
      const played = (await tapped(page)).filter((sample) => Math.abs(sample) > 1e-5)
      const sent = [...expectedTone(5 * 3 * 1920)].filter((sample) => sample !== 0)
      expect(played.length).toBe(sent.length)
      expect(played.every((sample, index) => Math.abs(sample - (sent[index] ?? 0) / 32768) < 1e-4)).toBe(true)
      expect(problems).toEqual([])
      await page.context().close()
    } finally {
      await late.stop(0)
    }
  })

  it('keeps turns over a reload; edits, retries and deletes them', async () => {
    const { page, problems, requests } = await openPlayground(browser, server.url, { settings: { speech: false } })
    await ask(page, 'first question', 1)
    await ask(page, 'second question', 2)
    expect(requests[1]?.['messages']).toEqual([
      { role: 'user', content: 'first question' },
      { role: 'assistant', content: 'You said: first question' },
      { role: 'user', content: 'second question' },
    ])

    const firstTurn = page.getByRole('article', { name: 'You' }).first()
    await firstTurn.hover()
    await firstTurn.getByRole('button', { name: 'Edit and send again' }).click()
    // The caret is at the end.
    await page.keyboard.type(' and more')
    expect(await firstTurn.getByRole('textbox').inputValue()).toBe('first question and more')
    await firstTurn.getByRole('textbox').fill('changed question')
    await firstTurn.getByRole('button', { name: 'Send', exact: true }).click()
    await page.getByText('You said: changed question', { exact: true }).waitFor()
    await repliesDone(page, 1)
    expect(requests[2]?.['messages']).toEqual([{ role: 'user', content: 'changed question' }])

    await page.getByRole('button', { name: 'Regenerate' }).click()
    await expect.poll(() => requests.length).toBe(4)
    expect(requests[3]?.['messages']).toEqual(requests[2]?.['messages'])
    await repliesDone(page, 1)

    await replyKept(page, 'You said: changed question')
    await page.reload()
    await page.getByText('You said: changed question', { exact: true }).waitFor()
    await expect.poll(() => page.locator('.history-item').count()).toBe(1)
    expect(await metricsOf(page)).toMatch(/Input tokens\s+\d+ text/)

    await page.getByRole('article', { name: 'You' }).hover()
    await page.getByRole('article', { name: 'You' }).getByRole('button', { name: 'Delete' }).click()
    await page.getByRole('heading', { name: 'Talk to Qwen-Omni' }).waitFor()
    await expect.poll(() => page.locator('.history-item').count()).toBe(0)
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('keeps speech in the history, and switches between conversations', async () => {
    const { page, problems } = await openPlayground(browser, server.url)
    await ask(page, 'with speech')
    await page.getByRole('button', { name: 'New conversation' }).click()
    await ask(page, 'another one')
    await expect.poll(() => page.locator('.history-item').count()).toBe(2)
    await replyKept(page, 'You said: another one')
    await page.reload()
    await page.getByText('You said: another one', { exact: true }).waitFor()
    await page.locator('.history-open', { hasText: 'with speech' }).click()
    await page.getByText('You said: with speech', { exact: true }).waitFor()
    await page.getByRole('button', { name: 'Play', exact: true }).click()
    await expect
      .poll(() => page.evaluate<number>(`globalThis.omniservePlayground.player.statistics.scheduled`))
      .toBe(4 * 3 * 1920)

    await page.locator('.history-item', { hasText: 'another one' }).hover()
    await page.getByRole('button', { name: /Delete conversation .*another one/ }).click()
    await page.getByRole('alertdialog').getByRole('button', { name: 'Delete' }).click()
    await expect.poll(() => page.locator('.history-item').count()).toBe(1)
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('searches conversations by their text, and renames them', async () => {
    const { page, problems } = await openPlayground(browser, server.url, { settings: { speech: false } })
    for (const text of ['apples', 'pears', 'plums', 'cherries and more']) {
      // oxlint-disable-next-line no-await-in-loop
      await ask(page, text)
      // oxlint-disable-next-line no-await-in-loop
      await page.getByRole('button', { name: 'New conversation' }).click()
    }
    const titles = page.locator('.history-title')
    await expect.poll(() => titles.count()).toBe(4)
    const search = page.getByRole('searchbox', { name: 'Search conversations' })
    await search.fill('YOU SAID: pea')
    await expect.poll(() => titles.allInnerTexts()).toEqual(['pears'])
    await search.fill('nothing like it')
    await page.getByText('No conversation matches.').waitFor()
    await search.fill('')

    await page.locator('.history-item', { hasText: 'apples' }).hover()
    await page.getByRole('button', { name: /Rename conversation .*apples/ }).click()
    await page.keyboard.type('Fruit')
    await page.keyboard.press('Enter')
    await expect.poll(() => titles.allInnerTexts()).toContain('Fruit')
    // The given name is kept over more turns and a reload.
    await page.locator('.history-open', { hasText: 'Fruit' }).click()
    await ask(page, 'oranges', 2)
    await page.reload()
    await expect.poll(() => titles.allInnerTexts()).toEqual(['Fruit', 'cherries and more', 'plums', 'pears'])
    // Escape leaves a name as it was.
    await page.locator('.history-item', { hasText: 'plums' }).hover()
    await page.getByRole('button', { name: /Rename conversation .*plums/ }).click()
    await page.keyboard.type('Prunes')
    await page.keyboard.press('Escape')
    await expect.poll(() => titles.allInnerTexts()).toContain('plums')
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('keeps an unsent message and its files over a reload', async () => {
    const { page, problems } = await openPlayground(browser, server.url, { settings: { speech: false } })
    await page.locator('#message').fill('not sent yet')
    const image = await testImage(64, 48)
    await page.locator('input[type="file"]').setInputFiles({ name: 'kept.png', mimeType: 'image/png', buffer: image })
    await page.locator('.chip', { hasText: '64×48' }).waitFor()
    await page.reload()
    await page.locator('.chip', { hasText: 'kept.png' }).waitFor()
    expect(await page.locator('#message').inputValue()).toBe('not sent yet')
    await page.getByRole('button', { name: 'Send', exact: true }).click()
    await repliesDone(page, 1)
    await page.reload()
    await page.getByRole('img', { name: 'kept.png' }).waitFor()
    expect(await page.locator('#message').inputValue()).toBe('')
    expect(await page.locator('.chip').count()).toBe(0)
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('keeps a reply that begins before the history is read', async () => {
    const { page, problems } = await openPlayground(browser, server.url, { settings: { speech: false } })
    await ask(page, 'an older one')
    await replyKept(page, 'You said: an older one')
    // A second page holds the database.
    const holder = await page.context().newPage()
    await holder.goto(server.url)
    await holder.locator('#message').waitFor()
    await holder.evaluate(`new Promise((resolve) => {
      indexedDB.open('omniserve').onsuccess = ({ target }) => {
        const store = target.result.transaction(['conversations', 'summaries', 'drafts'], 'readwrite').objectStore('drafts')
        const hold = () => {
          resolve()
          if (globalThis.released !== true) store.count().onsuccess = hold
        }
        hold()
      }
    })`)
    await page.reload()
    const words = Array.from({ length: 40 }, (_, index) => `word${index}`).join(' ')
    await page.locator('#message').fill(words)
    await page.getByRole('button', { name: 'Send', exact: true }).click()
    await page.locator('.turn-assistant .prose', { hasText: 'word1' }).waitFor()
    await holder.evaluate(`globalThis.released = true`)
    await expect.poll(() => page.locator('.history-item').count()).toBe(2)
    await page.getByText(`You said: ${words}`, { exact: true }).waitFor()
    expect(await page.getByText('You said: an older one', { exact: true }).count()).toBe(0)
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('scrolls to the answer after an image, and keeps the reader’s scroll position', async () => {
    const { page } = await openPlayground(browser, server.url, {
      viewport: { width: 1280, height: 620 },
      settings: { speech: false },
    })
    const fromEnd = `(() => { const c = document.querySelector('.conversation'); return c.scrollHeight - c.scrollTop - c.clientHeight })()`
    await page.getByRole('button', { name: /Show an image/ }).click()
    await repliesDone(page, 1)
    await page.locator('#message').fill(Array.from({ length: 60 }, (_, index) => `line${index}`).join(' '))
    await page.keyboard.press('Enter')
    await repliesDone(page, 2)
    await until(page, `document.querySelector('.conversation').scrollHeight > 700 && ${fromEnd} < 2`)
    await page.evaluate(`document.querySelector('.conversation').scrollTo({ top: 0 })`)
    await page.locator('#message').fill(Array.from({ length: 120 }, (_, index) => `word${index}`).join(' '))
    await page.keyboard.press('Enter')
    // A new turn is shown; then the reader scrolls up while the reply grows.
    await page.locator('.turn-assistant .prose', { hasText: 'word3' }).waitFor()
    await page.mouse.move(600, 300)
    await page.mouse.wheel(0, -500)
    // The wheel's scrolling is smooth: it has ended when it is the same for ten frames.
    const stillAt = (): Promise<number | undefined> =>
      page.evaluate(`(async () => {
        const top = () => document.querySelector('.conversation').scrollTop
        const before = top()
        for (let frame = 0; frame < 10; frame += 1) await new Promise((resolve) => requestAnimationFrame(resolve))
        return top() === before && ${fromEnd} > 100 ? before : undefined
      })()`)
    let top: number | undefined
    await expect.poll(async () => (top = await stillAt())).toBeDefined()
    await repliesDone(page, 3)
    expect(await stillAt()).toBe(top)
    await page.context().close()
  })

  it('stops a reply: the server aborts it, and the page keeps what arrived', async () => {
    const { page, problems } = await openPlayground(browser, server.url)
    const before = engine.aborted.length
    await page.locator('#message').fill(Array.from({ length: 1500 }, (_, index) => `word${index}`).join(' '))
    await page.keyboard.press('Enter')
    await page.locator('.turn-assistant .prose', { hasText: 'word5' }).waitFor()
    // Escape closes the menu first, and stops the reply only then.
    await page.getByRole('button', { name: 'Add a file' }).click()
    await page.getByRole('menu').waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('menu').waitFor({ state: 'hidden' })
    expect(await page.getByRole('button', { name: 'Stop the reply' }).isVisible()).toBe(true)
    await page.keyboard.press('Escape')
    await page.locator('.turn-assistant .note', { hasText: 'Stopped' }).waitFor()
    await expect.poll(() => engine.aborted.length).toBe(before + 1)
    const text = await page.locator('.turn-assistant .prose').innerText()
    expect(text).toContain('word5')
    expect(text).not.toContain('word1499')
    await until(page, `globalThis.omniservePlayground.player.state.status === 'idle'`)
    // What arrived can be played again.
    await page.getByRole('button', { name: 'Play', exact: true }).click()
    await page.getByRole('button', { name: 'Pause', exact: true }).waitFor()
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('folds a long message, and shows short speech to the tenth of a second', async () => {
    const { page, problems } = await openPlayground(browser, server.url)
    const long = Array.from({ length: 30 }, (_, index) => `line ${index}`).join('\n')
    await ask(page, long)
    const message = page.getByRole('article', { name: 'You' })
    const folded = await message.boundingBox()
    await message.getByRole('button', { name: 'Show all' }).click()
    await expect.poll(async () => (await message.boundingBox())?.height).toBeGreaterThan((folded?.height ?? 0) * 1.5)
    await message.getByRole('button', { name: 'Show less' }).click()
    await expect.poll(() => message.boundingBox()).toEqual(folded)

    await page.getByRole('button', { name: 'New conversation' }).click()
    await ask(page, 'one')
    // 3 tokens of 3 frames of 80 ms.
    await expect.poll(() => page.locator('.speech-time').innerText()).toMatch(/0\.7 s$/)
    expect(await page.getByRole('article', { name: 'You' }).getByRole('button', { name: 'Show all' }).count()).toBe(0)
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('plays nothing by itself when autoplay is off', async () => {
    const { page } = await openPlayground(browser, server.url, { settings: { autoplay: false } })
    await ask(page, 'quiet')
    expect(await page.evaluate(`globalThis.omniservePlayground.player.statistics.scheduled`)).toBe(0)
    await page.getByRole('button', { name: 'Play', exact: true }).click()
    await expect
      .poll(() => page.evaluate<number>(`globalThis.omniservePlayground.player.statistics.scheduled`))
      .toBe(3 * 3 * 1920)
    await page.context().close()
  })

  it('shows Markdown without running HTML or scripts in it', async () => {
    const { page, problems, foreign } = await openPlayground(browser, server.url, { settings: { speech: false } })
    await ask(
      page,
      '**bold** `code` <img src=x onerror=alert(1)> ![picture](https://example.com/a.png) [link](javascript:alert(1))',
    )
    const prose = page.locator('.turn-assistant .prose')
    expect(await prose.locator('strong').innerText()).toBe('bold')
    expect(await prose.locator('img, script').count()).toBe(0)
    expect(await prose.getByText('link').getAttribute('href')).not.toContain('javascript')
    expect(problems).toEqual([])
    expect(foreign).toEqual([])
    await page.context().close()
  })
})
