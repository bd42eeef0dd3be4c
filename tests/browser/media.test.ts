/** Images, audio, video, microphone and camera, each checked at the engine; limits and refusals handled. */
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { RunningServer } from '../../src/api/index.ts'
import type { GenerationPart, MonoPcm, RgbImage } from '../../src/contract/index.ts'
import { createFakeEngine, type FakeEngine } from '../../testing/fake-engine.ts'
import { describeInBrowser, launchBrowser, openPlayground, repliesDone, until } from './browser.ts'
import { testImage, syllables, temporaryFile } from './media-files.ts'
import { startPlayground } from './playground-server.ts'

const CLIP = 'testdata/media/clip.webm'
const settings = { speech: false }

async function choose(page: Page, item: string, file: string | string[]): Promise<void> {
  await page.getByRole('button', { name: 'Add a file' }).click()
  const [chooser] = await Promise.all([
    page.waitForEvent('filechooser'),
    page.getByRole('menuitem', { name: new RegExp(`^${item}`) }).click(),
  ])
  await chooser.setFiles(file)
}

async function send(page: Page, text: string, replies = 1): Promise<void> {
  await page.locator('#message').fill(text)
  await page.getByRole('button', { name: 'Send', exact: true }).click()
  await repliesDone(page, replies)
}

/** Gives files to the page as a paste or a drop would. */
async function transfer(page: Page, kind: 'paste' | 'drop', bytes: Buffer, name: string, type: string): Promise<void> {
  await page.evaluate(`(() => {
    const bytes = Uint8Array.from(atob(${JSON.stringify(bytes.toString('base64'))}), (c) => c.charCodeAt(0))
    const data = new DataTransfer()
    data.items.add(new File([bytes], ${JSON.stringify(name)}, { type: ${JSON.stringify(type)} }))
    const target = document.querySelector('#message')
    if (${JSON.stringify(kind)} === 'paste')
      target.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }))
    else for (const step of ['dragenter', 'dragover', 'drop'])
      target.dispatchEvent(new DragEvent(step, { dataTransfer: data, bubbles: true, cancelable: true }))
  })()`)
}

describeInBrowser('media', () => {
  let browser: Browser
  let engine: FakeEngine
  let server: RunningServer
  let decoded: { image?: RgbImage; audio?: MonoPcm } | undefined
  const parts = (): readonly GenerationPart[] => engine.requests.at(-1)?.messages.at(-1)?.content ?? []

  beforeAll(async () => {
    engine = createFakeEngine({ models: ['nano'] })
    // Media can be decoded only while their request runs.
    server = await startPlayground({
      ...engine,
      generate: async function* (request, signal) {
        decoded = undefined
        const [part] = request.messages.at(-1)?.content ?? []
        if (part?.type === 'image') decoded = { image: await part.image.decode(signal) }
        if (part?.type === 'audio') decoded = { audio: await part.audio.decode(signal) }
        yield* engine.generate(request, signal)
      },
    })
    browser = await launchBrowser({ microphone: temporaryFile('speech.wav', syllables(4, 48_000)) })
  })
  afterAll(async () => {
    await browser?.close()
    await server?.stop(0)
  })

  it('sends images that were picked, pasted and dropped', async () => {
    const { page, problems } = await openPlayground(browser, server.url, { settings })
    await choose(page, 'Image', [temporaryFile('first.png', await testImage(64, 48))])
    await page.getByText('first.png').waitFor()
    await transfer(page, 'paste', await testImage(80, 40), 'pasted.png', 'image/png')
    await page.getByText('pasted.png').waitFor()
    await transfer(page, 'drop', await testImage(96, 32, { format: 'jpeg' }), 'dropped.jpg', 'image/jpeg')
    await page.getByText('dropped.jpg').waitFor()
    await expect
      .poll(() => page.locator('.chip').allInnerTexts())
      .toEqual([expect.stringContaining('64×48'), expect.stringContaining('80×40'), expect.stringContaining('96×32')])
    await page.getByRole('button', { name: 'Remove pasted.png' }).click()
    await send(page, 'compare')
    expect(
      parts().map((part) => (part.type === 'image' ? [part.image.facts.width, part.image.facts.height] : part.type)),
    ).toEqual([[64, 48], [96, 32], 'text'])
    // They are still there after a reload.
    await page.reload()
    await page.getByRole('img', { name: 'first.png' }).waitFor()
    await until(page, `document.querySelector('img[alt="first.png"]').naturalWidth === 64`)
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('tries the example image of the first page', async () => {
    const { page, problems } = await openPlayground(browser, server.url)
    await page.getByRole('button', { name: /Show an image/ }).click()
    await repliesDone(page, 1)
    const [image] = parts()
    expect(image?.type === 'image' && [image.image.facts.width, image.image.facts.height]).toEqual([448, 448])
    // Red in the middle.
    const middle = (224 * 448 + 224) * 3
    expect([...(decoded?.image?.data.subarray(middle, middle + 3) ?? [])]).toEqual([217, 38, 38])
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('records the microphone, shows its level and sends the recording', async () => {
    const { page, problems } = await openPlayground(browser, server.url, { settings, permissions: ['microphone'] })
    await page.getByRole('button', { name: 'Record from the microphone' }).click()
    const meter = page.getByRole('meter', { name: 'Microphone level' })
    await expect.poll(async () => Number(await meter.getAttribute('aria-valuenow'))).toBeGreaterThan(2)
    await page.getByText(/0:0[2-9]/).waitFor()
    await page.getByRole('button', { name: 'Stop and add' }).click()
    await page.locator('.chip', { hasText: /Recording .*wav/ }).waitFor()
    await send(page, 'what did I say?')
    const [audio] = parts()
    expect(audio?.type).toBe('audio')
    if (decoded?.audio === undefined) throw new Error('the recording was not decoded')
    const { samples, sampleRate } = decoded.audio
    expect(samples.length / sampleRate).toBeGreaterThan(1.5)
    const peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0)
    expect(peak).toBeGreaterThan(0.02)
    // Syllables with pauses: loud and quiet segments both occur.
    const loudness = Array.from({ length: Math.floor(samples.length / 800) }, (_, index) =>
      samples.subarray(index * 800, index * 800 + 800).reduce((most, sample) => Math.max(most, Math.abs(sample)), 0),
    )
    expect(loudness.filter((value) => value > peak / 2).length).toBeGreaterThan(3)
    expect(loudness.filter((value) => value < peak / 10).length).toBeGreaterThan(3)
    expect(problems).toEqual([])
    // It plays in the same player as replies.
    const played = `globalThis.omniservePlayground.player.statistics.scheduled`
    expect(await page.evaluate(played)).toBe(0)
    await page.locator('.turn-user .speech').getByRole('button', { name: 'Play', exact: true }).click()
    // Resampling may end one sample sooner.
    const whole = Math.round((samples.length / sampleRate) * 24_000)
    await expect.poll(async () => Math.abs((await page.evaluate<number>(played)) - whole)).toBeLessThan(2)

    // A question with speech only.
    await page.getByRole('button', { name: 'Record from the microphone' }).click()
    await page.getByText(/0:0[1-9]/).waitFor()
    await page.getByRole('button', { name: 'Stop and add' }).click()
    await page.locator('.chip').waitFor()
    await page.getByRole('button', { name: 'Send', exact: true }).click()
    await repliesDone(page, 2)
    expect(parts().map(({ type }) => type)).toEqual(['audio'])
    expect(problems).toEqual([])

    await page.getByRole('button', { name: 'Record from the microphone' }).click()
    await page.getByRole('button', { name: 'Discard' }).click()
    await page.locator('#message').waitFor()
    expect(await page.locator('.chip').count()).toBe(0)
    await page.context().close()
  })

  it('says what to do when the microphone is denied', async () => {
    const { page } = await openPlayground(browser, server.url, {
      settings,
      before: async (before) => {
        await before.addInitScript(
          `navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('Permission denied', 'NotAllowedError'))`,
        )
      },
    })
    await page.getByRole('button', { name: 'Record from the microphone' }).click()
    await page.getByText('The browser does not have permission.').first().waitFor()
    expect(await page.locator('#message').isVisible()).toBe(true)
    await page.context().close()
  })

  it('takes a photo and frames with the camera', async () => {
    const { page, problems } = await openPlayground(browser, server.url, { settings, permissions: ['camera'] })
    const openCamera = async (): Promise<void> => {
      await page.getByRole('button', { name: 'Add a file' }).click()
      await page.getByRole('menuitem', { name: /^Camera/ }).click()
    }
    await openCamera()
    await page.getByRole('button', { name: 'Take a photo' }).click()
    await page.locator('.chip').waitFor()
    await send(page, 'what is this?')
    const [image] = parts()
    expect(image?.type === 'image' && image.image.facts.width).toBeGreaterThan(300)

    await openCamera()
    await page.getByRole('button', { name: 'Take frames' }).click()
    // On a slow machine one more is taken before the click arrives.
    await page.getByRole('button', { name: /^Stop \(([3-9]|\d\d)\)/ }).waitFor()
    await page.getByRole('button', { name: /^Stop \(/ }).click()
    await page.locator('.chip', { hasText: /([3-9]|\d\d) frames/ }).waitFor()
    await send(page, 'and now?', 2)
    const [video] = parts()
    expect(video?.type === 'video' && video.video.facts.frames).toBeGreaterThanOrEqual(2)
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('sends a video with its audio, and its frames without', async () => {
    const { page, problems, requests } = await openPlayground(browser, server.url, { settings })
    await choose(page, 'Video file', CLIP)
    await page.locator('.chip', { hasText: 'clip.webm' }).waitFor()
    await send(page, 'what happens?')
    // A video of 64 pixels has room for its controls.
    expect((await page.locator('.media-video').boundingBox())?.width).toBeGreaterThan(250)
    const [video] = parts()
    expect(video?.type === 'video' && video.video.facts.frames).toBeGreaterThan(2)
    expect(video?.type === 'video' && video.video.facts.audio !== undefined).toBe(true)

    await page.getByRole('button', { name: 'Add a file' }).click()
    await page.getByRole('menuitem', { name: /^Frames of a video/ }).click()
    const [chooser] = await Promise.all([
      page.waitForEvent('filechooser'),
      page.getByRole('button', { name: 'Choose a video' }).click(),
    ])
    await chooser.setFiles(CLIP)
    await page.getByRole('button', { name: 'Add 4 frames' }).click()
    await page.locator('.chip', { hasText: '4 frames' }).waitFor()
    await send(page, 'and here?', 2)
    const [frames] = parts()
    expect(frames?.type === 'video' && [frames.video.facts.frames, frames.video.facts.audio]).toEqual([4, undefined])
    const messages = requests[1]?.['messages'] as { content: { type: string; video: string[] }[] }[]
    expect(messages.at(-1)?.content[0]?.type).toBe('video')
    expect(messages.at(-1)?.content[0]?.video.every((frame) => frame.startsWith('data:image/jpeg;base64,'))).toBe(true)
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('allows one kind of media in a message, and gives the reason in the menu', async () => {
    const { page } = await openPlayground(browser, server.url, { settings })
    await choose(page, 'Audio file', temporaryFile('sound.wav', syllables(1, 16_000)))
    await page.locator('.chip', { hasText: 'sound.wav' }).waitFor()
    await page.getByRole('button', { name: 'Add a file' }).click()
    const image = page.getByRole('menuitem', { name: /^Image/ })
    expect(await image.getAttribute('aria-disabled')).toBe('true')
    expect(await image.innerText()).toContain('A message can hold text and one type of media')
    await page.keyboard.press('Escape')
    expect(await page.getByRole('button', { name: /^Record from the microphone/ }).getAttribute('aria-disabled')).toBe(
      'true',
    )
    await transfer(page, 'drop', await testImage(40, 40), 'late.png', 'image/png')
    await page.getByText('A message can hold text and one type of media').first().waitFor()
    expect(await page.locator('.chip').count()).toBe(1)
    await page.context().close()
  })

  it('scales a huge image down, and does not send files that are not media', async () => {
    const { page, problems } = await openPlayground(browser, server.url, { settings })
    const huge = await testImage(2100, 1400, { noisy: true })
    expect(huge.length).toBeGreaterThan(8_000_000)
    await choose(page, 'Image', temporaryFile('huge.png', huge))
    await page.locator('.chip', { hasText: /huge\.jpg[^]*, reduced from \d/ }).waitFor()
    await send(page, 'what is it?')
    const [image] = parts()
    expect(image?.type === 'image' && image.image.facts.width).toBe(2100)

    await transfer(page, 'drop', Buffer.from('hello'), 'notes.txt', 'text/plain')
    await page.getByText('“notes.txt” is not an image, audio or video file.').first().waitFor()
    await transfer(page, 'drop', Buffer.from('0000001cftypheic', 'latin1'), 'IMG_1.HEIC', '')
    await page.getByText('“IMG_1.HEIC” is a HEIC image, which is not supported.').first().waitFor()
    await transfer(page, 'drop', await testImage(9, 9), 'tiny.png', 'image/png')
    await page.getByText('Too small: both sides must be over 10 pixels.').waitFor()
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('sends a link for the server to fetch, and shows its refusal', async () => {
    const { page, requests } = await openPlayground(browser, server.url, { settings })
    await page.getByRole('button', { name: 'Add a file' }).click()
    await page.getByRole('menuitem', { name: /^Link to a file/ }).click()
    await page.getByRole('textbox', { name: 'URL' }).fill('nonsense')
    await page.getByRole('button', { name: 'Add', exact: true }).click()
    await page.getByText('Enter a URL that begins with http').waitFor()
    await page.getByRole('textbox', { name: 'URL' }).fill('http://127.0.0.1:9/sound.mp3')
    await page.getByRole('button', { name: 'Add', exact: true }).click()
    await page.locator('.chip', { hasText: 'sound.mp3' }).waitFor()
    await send(page, 'what is said?')
    const messages = requests[0]?.['messages'] as { content: unknown[] }[]
    expect(messages[0]?.content[0]).toEqual({
      type: 'input_audio',
      input_audio: { data: 'http://127.0.0.1:9/sound.mp3', format: 'mp3' },
    })
    await page.getByRole('alert').getByText('The server could not download the file').waitFor()
    await page.getByText('Private addresses are refused unless').waitFor()
    expect(await page.locator('.failure .option').allInnerTexts()).toEqual(['--media-allow-host'])
    await page.context().close()
  })

  it('counts the tokens of a message before it is sent', async () => {
    const { page, problems } = await openPlayground(browser, server.url, { settings })
    await choose(page, 'Image', temporaryFile('square.png', await testImage(320, 320)))
    await page.locator('.chip').waitFor()
    await page.locator('#message').fill('count me')
    await page.getByRole('button', { name: 'Count tokens' }).click()
    // 100 tokens of image and 2 of its markers, and the words.
    await page
      .getByText(/^1\d\d of 49152 prompt tokens · \$0\.000/)
      .first()
      .waitFor()
    expect(problems).toEqual([])
    await page.context().close()
  })
})
