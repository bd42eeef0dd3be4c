/**
 * Talk: a spoken conversation, against the real server, and against a fake that sends the dialect of docs/realtime.md.
 *
 * The microphone is a file. The fake decides when the user speaks, so its tests do not depend on detection.
 */
import axe from 'axe-core'
import type { Browser, Page, WebSocketRoute } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { RunningServer } from '../../src/api/index.ts'
import { createFakeEngine } from '../../testing/fake-engine.ts'
import { describeInBrowser, launchBrowser, openPlayground, until, type WatchedPage } from './browser.ts'
import { syllables, temporaryFile } from './media-files.ts'
import { startPlayground } from './playground-server.ts'

/** Samples of a piece of the fake's speech: a second, because each piece is a message of the browser's protocol. */
const SPEECH_PIECE = 24_000

type Event = Record<string, unknown> & { type: string }

class StandIn {
  readonly received: Event[] = []
  protocols = ''
  #socket: WebSocketRoute | undefined

  async install(page: Page): Promise<void> {
    await page.routeWebSocket(/\/api-ws\/v1\/realtime/, (socket) => {
      this.#socket = socket
      socket.onMessage((message) => {
        const event = JSON.parse(String(message)) as Event
        this.received.push(event)
        if (event.type === 'session.update') this.send({ type: 'session.updated', session: event['session'] })
      })
      this.send({ type: 'session.created', session: { id: 'sess_1' } })
    })
  }

  send(...events: Event[]): void {
    for (const event of events) this.#socket?.send(JSON.stringify({ event_id: 'event_1', ...event }))
  }

  async close(code: number, reason = ''): Promise<void> {
    await this.#socket?.close({ code, reason })
  }

  of(type: string): Event[] {
    return this.received.filter((event) => event.type === type)
  }

  /** Samples of microphone audio so far. */
  get samples(): number {
    return this.of('input_audio_buffer.append').reduce((sum, { audio }) => sum + bytesOf(audio).length / 2, 0)
  }

  /** Milliseconds of microphone audio so far. */
  get milliseconds(): number {
    return Math.floor(this.samples / 16)
  }

  userSpeaks(id: string, from: number): void {
    this.send({ type: 'input_audio_buffer.speech_started', item_id: id, audio_start_ms: from })
  }

  userStops(id: string, to: number): void {
    this.send(
      { type: 'input_audio_buffer.speech_stopped', item_id: id, audio_end_ms: to },
      { type: 'input_audio_buffer.committed', item_id: id },
    )
  }

  reply(id: string, words: string, seconds: number): void {
    const pcm = Int16Array.from({ length: 24_000 * seconds }, (_, index) => Math.round(9000 * Math.sin(index / 9)))
    this.send({ type: 'response.created', response: { id, status: 'in_progress' } })
    for (const word of words.split(/(?<= )/))
      this.send({ type: 'response.audio_transcript.delta', response_id: id, delta: word })
    for (let at = 0; at < pcm.length; at += SPEECH_PIECE)
      this.send({
        type: 'response.audio.delta',
        response_id: id,
        item_id: `item of ${id}`,
        delta: Buffer.from(pcm.slice(at, at + SPEECH_PIECE).buffer).toString('base64'),
      })
  }

  done(id: string, status = 'completed'): void {
    this.send({ type: 'response.audio.done', response_id: id }, { type: 'response.done', response: { id, status } })
  }

  transcript(id: string, text: string): void {
    const type = 'conversation.item.input_audio_transcription.completed'
    this.send({ type, item_id: id, content_index: 0, transcript: text })
  }
}

function bytesOf(base64: unknown): Buffer {
  return Buffer.from(String(base64), 'base64')
}

/** Keeps what the page was given, so that a test can unplug it. */
const DEVICES = `{
  const given = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices)
  globalThis.devices = []
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    await globalThis.permission
    const stream = await given(wanted)
    globalThis.devices.push(...stream.getTracks())
    return stream
  }
  globalThis.unplug = (kind) => {
    for (const track of globalThis.devices.filter((one) => one.kind === kind)) {
      track.stop()
      track.dispatchEvent(new Event('ended'))
    }
  }
}`
const withDevices = { before: (page: Page): Promise<void> => page.addInitScript(DEVICES).then(() => undefined) }

/** What a browser sees of a handshake that was refused: a close, and no reason. */
const REFUSED = `globalThis.WebSocket = class extends EventTarget {
  static OPEN = 1
  readyState = 3
  constructor() {
    super()
    setTimeout(() => this.dispatchEvent(new CloseEvent('close', { code: 1006 })), 20)
  }
  send() {}
  close() {}
}`

describeInBrowser('talk', () => {
  let browser: Browser
  let server: RunningServer
  beforeAll(async () => {
    server = await startPlayground(createFakeEngine({ models: ['nano'] }))
    browser = await launchBrowser({ microphone: temporaryFile('speech.wav', syllables(4, 48_000)) })
  })
  afterAll(async () => {
    await browser?.close()
    await server?.stop(0)
  })

  type Options = Parameters<typeof openPlayground>[2]
  const open = async (options: Options = {}): Promise<WatchedPage & { realtime: StandIn }> => {
    const realtime = new StandIn()
    const watched = await openPlayground(browser, server.url, {
      permissions: ['microphone', 'camera'],
      ...options,
      before: async (page) => {
        await realtime.install(page)
        await options?.before?.(page)
      },
    })
    return { ...watched, realtime }
  }
  const status = (page: Page, text: string): Promise<void> =>
    page.locator('.talk-status', { hasText: new RegExp(`^${text}$`) }).waitFor()
  const begin = async (page: Page): Promise<void> => {
    await page.getByRole('button', { name: 'Talk', exact: true }).click()
    await status(page, 'Listening')
  }

  it('holds a conversation with the real server, whose replies are interrupted by speech', async () => {
    // The file is played in a loop: a sentence every few seconds. Replies are longer than the pauses.
    const spoken = await launchBrowser({ microphone: 'testdata/silero-vad/speech.wav' })
    const long = createFakeEngine({ models: ['nano'], framesPerToken: 12, tokenDelayMs: 20 })
    await using real = await startPlayground(long)
    try {
      const { page, problems, foreign } = await openPlayground(spoken, real.url, { permissions: ['microphone'] })
      await page.getByRole('button', { name: 'Talk', exact: true }).click()
      await status(page, 'Listening')
      const captions = page.getByRole('list', { name: 'Captions' }).getByRole('listitem')
      const said = (speaker: string): Promise<string[]> =>
        captions.filter({ hasText: new RegExp(`^${speaker}`) }).allInnerTexts()
      await expect.poll(async () => (await said('You')).length).toBeGreaterThan(1)
      await expect.poll(async () => (await said('Model')).join('\n')).toMatch(/interrupted$/m)
      // A reply that is interrupted before its first word has no text.
      await expect.poll(async () => (await said('Model')).join('\n')).toContain('seconds of sound')
      // The question reaches the engine as audio.
      const first = long.requests[0]?.messages.at(-1)?.content[0]
      expect(first?.type === 'audio' && first.audio.facts.samples).toBeGreaterThan(16_000)
      await page.getByRole('button', { name: 'End', exact: true }).click()
      await page.getByRole('group', { name: 'Your speech' }).first().waitFor()
      expect(problems).toEqual([])
      expect(foreign).toEqual([])
    } finally {
      await spoken.close()
    }
  })

  it('holds a conversation of three turns, one interrupted, and keeps it', async () => {
    const { page, realtime, problems } = await open({ settings: { voice: 'Ethan', system: 'Be brief.', seed: 7 } })
    await begin(page)
    expect(realtime.of('session.update')[0]).toMatchObject({
      session: {
        modalities: ['text', 'audio'],
        voice: 'Ethan',
        instructions: 'Be brief.',
        seed: 7,
        input_audio_format: 'pcm16',
        turn_detection: { type: 'server_vad' },
      },
    })
    // The microphone arrives at 16 kHz in pieces of 100 ms, and its level is shown.
    await expect.poll(() => realtime.samples).toBeGreaterThan(16_000)
    expect(bytesOf(realtime.of('input_audio_buffer.append')[0]?.['audio']).length).toBe(3200)
    const yours = page.getByRole('meter', { name: 'Your level' })
    await expect.poll(async () => Number(await yours.getAttribute('aria-valuenow'))).toBeGreaterThan(10)

    // The page keeps the last seconds of the microphone, so what is said lies just before what has arrived.
    const first = realtime.milliseconds
    realtime.userSpeaks('item_1', first - 900)
    await status(page, 'Listening to you')
    realtime.userStops('item_1', first - 100)
    await status(page, 'Thinking')
    realtime.reply('resp_1', 'Seven plus five is twelve.', 1)
    realtime.done('resp_1')
    realtime.transcript('item_1', 'What is 7 plus 5?')
    await status(page, 'Listening')

    // Speaking interrupts the reply, at once.
    const second = realtime.milliseconds
    realtime.userSpeaks('item_2', second - 600)
    realtime.userStops('item_2', second - 100)
    realtime.reply('resp_2', 'Once upon a time there was', 30)
    await status(page, 'Speaking')
    const model = page.getByRole('meter', { name: 'Level of the model' })
    await expect.poll(async () => Number(await model.getAttribute('aria-valuenow'))).toBeGreaterThan(30)
    const third = realtime.milliseconds
    realtime.userSpeaks('item_3', third - 600)
    await status(page, 'Listening to you')
    await until(page, `globalThis.omniservePlayground.player.state.status === 'idle'`)
    realtime.done('resp_2', 'cancelled')
    realtime.transcript('item_2', 'Tell me a story.')
    realtime.userStops('item_3', third - 100)
    realtime.reply('resp_3', 'Goodbye.', 30)
    await status(page, 'Speaking')
    const captions = page.getByRole('list', { name: 'Captions' }).getByRole('listitem')
    await expect
      .poll(() => captions.allInnerTexts())
      .toEqual([
        expect.stringMatching(/^You\s+What is 7 plus 5\?$/),
        expect.stringMatching(/^Model\s+Seven plus five is twelve\.$/),
        expect.stringMatching(/^You\s+Tell me a story\.$/),
        expect.stringMatching(/^Model\s+Once upon a time there was\s+interrupted$/),
        expect.stringMatching(/^You/),
        expect.stringMatching(/^Model\s+Goodbye\.$/),
      ])
    // Interruption by hand.
    await page.getByRole('button', { name: 'Interrupt' }).click()
    await expect.poll(() => realtime.of('response.cancel').length).toBe(1)
    realtime.done('resp_3', 'cancelled')
    await status(page, 'Listening')

    await page.getByRole('button', { name: 'End', exact: true }).click()
    await page.locator('#message').waitFor()
    for (const again of [false, true]) {
      // oxlint-disable-next-line no-await-in-loop
      if (again) await page.reload()
      // oxlint-disable-next-line no-await-in-loop
      await page.getByText('Once upon a time there was').waitFor()
      // oxlint-disable-next-line no-await-in-loop
      await page.getByText('What is 7 plus 5?', { exact: true }).first().waitFor()
      // oxlint-disable-next-line no-await-in-loop
      await expect.poll(() => page.getByRole('group', { name: 'Your speech' }).count()).toBe(3)
      // oxlint-disable-next-line no-await-in-loop
      await expect
        .poll(() => page.locator('.turn-assistant .note').allInnerTexts())
        .toEqual(['Interrupted', 'Interrupted'])
    }
    // The first turn's speech: 800 ms of the microphone.
    await expect.poll(() => page.locator('.turn-user .speech-time').first().innerText()).toBe('0.8 s')
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('continues the written conversation, and can be muted', async () => {
    const { page, realtime } = await open({ settings: { speech: false } })
    await page.locator('#message').fill('My name is Ada.')
    await page.keyboard.press('Enter')
    await page.locator('.turn-foot').waitFor()
    await begin(page)
    expect(realtime.of('conversation.item.create').map(({ item }) => item)).toEqual([
      { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'My name is Ada.' }] },
      { type: 'message', role: 'assistant', content: [{ type: 'text', text: 'You said: My name is Ada.' }] },
    ])
    await page.getByRole('button', { name: 'Mute the microphone' }).click()
    await status(page, 'Microphone muted')
    const muted = realtime.of('input_audio_buffer.append').length
    await expect.poll(() => realtime.of('input_audio_buffer.append').length).toBeGreaterThan(muted + 10)
    // Muted audio is still sent, as silence.
    const last = realtime.of('input_audio_buffer.append').slice(-3)
    expect(last.every(({ audio }) => bytesOf(audio).every((byte) => byte === 0))).toBe(true)
    await page.getByRole('button', { name: 'Unmute the microphone' }).click()
    await status(page, 'Listening')
    await page.context().close()
  })

  it('shows the model a frame a second while the camera is on', async () => {
    const { page, realtime, problems } = await open()
    await begin(page)
    await page.getByRole('button', { name: 'Turn the camera on' }).click()
    await expect.poll(() => realtime.of('input_image_buffer.append').length).toBeGreaterThan(1)
    const [frame] = realtime.of('input_image_buffer.append')
    expect([...bytesOf(frame?.['image']).subarray(0, 3)]).toEqual([0xff, 0xd8, 0xff])
    expect(bytesOf(frame?.['image']).length).toBeLessThan(500 * 1024)
    await page.getByRole('button', { name: 'Turn the camera off' }).click()
    const sent = realtime.of('input_image_buffer.append').length
    const before = realtime.milliseconds
    await expect.poll(() => realtime.milliseconds).toBeGreaterThan(before + 1200)
    expect(realtime.of('input_image_buffer.append').length).toBeLessThanOrEqual(sent + 1)
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('says why the handshake was refused', async () => {
    const { page } = await open({ before: (before) => before.addInitScript(REFUSED).then(() => undefined) })
    for (const [code, message, shown] of [
      [401, '', 'The server refused the connection. If it requires an API key'],
      [404, '', 'This server does not offer realtime conversations.'],
      [503, 'Too many sessions are open.', 'The server reported a problem: Too many sessions are open.'],
      [0, '', 'The connection to the server was lost.'],
    ] as const) {
      // oxlint-disable-next-line no-await-in-loop
      await page.route(
        '**/api-ws/v1/realtime*',
        (route) =>
          code === 0
            ? route.abort()
            : route.fulfill({ status: code, json: message === '' ? {} : { error: { message } } }),
        { times: 1 },
      )
      // oxlint-disable-next-line no-await-in-loop
      await page.getByRole('button', { name: 'Talk', exact: true }).click()
      // oxlint-disable-next-line no-await-in-loop
      await page.getByRole('alert').getByText(shown).waitFor()
      // oxlint-disable-next-line no-await-in-loop
      await page.getByRole('button', { name: 'Close', exact: true }).click()
      // oxlint-disable-next-line no-await-in-loop
      await page.locator('#message').waitFor()
    }
    await page.context().close()
  })

  it('says why a conversation ended, and begins another', async () => {
    const { page, realtime } = await open()
    await begin(page)
    realtime.send({ type: 'error', error: { message: 'No memory for this reply.' } })
    await page.getByRole('alert').getByText('The server reported a problem: No memory for this reply.').waitFor()
    await status(page, 'Listening')
    realtime.send({ type: 'error', error: { message: 'It has lasted long.', code: 'session_expired' } })
    await realtime.close(1001, 'The session has lasted as long as it may.')
    await page.getByRole('alert').getByText('The session reached its time limit.').waitFor()
    await page.getByRole('button', { name: 'Talk again' }).click()
    await status(page, 'Listening')
    await realtime.close(1001, 'The server is stopping.')
    await page.getByRole('alert').getByText('The server is shutting down or restarting.').waitFor()
    await page.getByRole('button', { name: 'Talk again' }).click()
    await status(page, 'Listening')
    await realtime.close(1011)
    await page.getByRole('alert').getByText('The connection to the server was lost.').waitFor()
    await page.context().close()
  })

  it('reports an unplugged microphone, keeps the conversation, and begins again', async () => {
    const { page, realtime, problems } = await open(withDevices)
    await begin(page)
    await expect.poll(() => realtime.milliseconds).toBeGreaterThan(1000)
    realtime.userSpeaks('item_1', 100)
    realtime.userStops('item_1', 900)
    realtime.transcript('item_1', 'Hello?')
    realtime.reply('resp_1', 'Hello to you.', 20)
    await status(page, 'Speaking')
    await page.evaluate(`unplug('audio')`)
    await page.getByRole('alert').getByText('The microphone was disconnected.').waitFor()
    await until(page, `globalThis.omniservePlayground.player.state.status === 'idle'`)
    await page.getByRole('button', { name: 'Talk again' }).click()
    await status(page, 'Listening')
    // The conversation continues from its earlier turns.
    expect(realtime.of('conversation.item.create').map(({ item }) => (item as { role: string }).role)).toEqual([
      'user',
      'assistant',
    ])
    await page.getByRole('button', { name: 'End', exact: true }).click()
    await page.getByText('Hello to you.').waitFor()
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('continues when the camera is unplugged', async () => {
    const { page, realtime, problems } = await open(withDevices)
    await begin(page)
    await page.getByRole('button', { name: 'Turn the camera on' }).click()
    await expect.poll(() => realtime.of('input_image_buffer.append').length).toBeGreaterThan(0)
    await page.evaluate(`unplug('video')`)
    await page.getByText('The camera was disconnected.').first().waitFor()
    await page.getByRole('button', { name: 'Turn the camera on' }).waitFor()
    const sent = realtime.of('input_image_buffer.append').length
    const before = realtime.milliseconds
    await expect.poll(() => realtime.milliseconds).toBeGreaterThan(before + 1200)
    expect(realtime.of('input_image_buffer.append').length).toBeLessThanOrEqual(sent + 1)
    await status(page, 'Listening')
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('waits while the permission prompt is open', async () => {
    const { page } = await open({
      before: async (before) => {
        await before.clock.install()
        await before.addInitScript(`globalThis.permission = new Promise((resolve) => (globalThis.permit = resolve))`)
        await before.addInitScript(DEVICES)
      },
    })
    await page.getByRole('button', { name: 'Talk', exact: true }).click()
    await status(page, 'Connecting…')
    await page.clock.fastForward(60_000)
    await status(page, 'Connecting…')
    await page.evaluate(`permit()`)
    await status(page, 'Listening')
    await page.context().close()
  })

  it('tells the server how much of a reply was played when the user interrupts it by hand', async () => {
    const { page, realtime } = await open()
    await begin(page)
    realtime.userSpeaks('item_1', 100)
    realtime.userStops('item_1', 900)
    realtime.reply('resp_1', 'A long story.', 30)
    realtime.done('resp_1')
    await status(page, 'Speaking')
    await until(page, `globalThis.omniservePlayground.player.position() > 0.5`)
    await page.getByRole('button', { name: 'Interrupt' }).click()
    await expect.poll(() => realtime.of('conversation.item.truncate').length).toBe(1)
    const [cut] = realtime.of('conversation.item.truncate')
    expect(cut).toMatchObject({ item_id: 'item of resp_1', content_index: 0 })
    expect(cut!['audio_end_ms']).toBeGreaterThan(400)
    expect(cut!['audio_end_ms']).toBeLessThan(25_000)
    expect(realtime.of('response.cancel')).toEqual([])
    await status(page, 'Listening')
    await page.context().close()
  })

  it('keeps the conversation over a restart of the server', async () => {
    const engine = (): ReturnType<typeof createFakeEngine> => createFakeEngine({ models: ['nano'] })
    const before = await startPlayground(engine())
    const { page } = await openPlayground(browser, before.url, { permissions: ['microphone'] })
    await page.locator('#message').fill('My name is Ada.')
    await page.keyboard.press('Enter')
    await page.locator('.turn-foot').waitFor()
    await begin(page)
    await before.stop(0)
    await page.getByRole('alert').getByText('The server is shutting down or restarting.').waitFor()
    await page.getByRole('button', { name: 'Talk again' }).click()
    await page.getByRole('alert').getByText('The connection to the server was lost.').waitFor()
    await using after = await startPlayground(engine(), { port: new URL(before.url).port })
    expect(after.url).toBe(before.url)
    await page.getByRole('button', { name: 'Talk again' }).click()
    await status(page, '(Listening|Listening to you|Thinking|Speaking)')
    await page.getByRole('button', { name: 'End', exact: true }).click()
    await page.getByText('You said: My name is Ada.').waitFor()
    await page.context().close()
  })

  it('keeps separate conversations in two tabs', async () => {
    const { page, realtime, problems } = await open()
    const other = await page.context().newPage()
    const second = new StandIn()
    await second.install(other)
    await other.goto(page.url())
    for (const [tab, wire, said] of [
      [page, realtime, 'One.'],
      [other, second, 'Two.'],
    ] as const) {
      // oxlint-disable-next-line no-await-in-loop
      await tab.bringToFront()
      // oxlint-disable-next-line no-await-in-loop
      await begin(tab)
      wire.userSpeaks('item_1', 100)
      wire.userStops('item_1', 900)
      wire.transcript('item_1', `This is tab ${said}`)
      wire.reply('resp_1', said, 0.5)
      wire.done('resp_1')
    }
    for (const [tab, said] of [
      [page, 'One.'],
      [other, 'Two.'],
    ] as const) {
      // oxlint-disable-next-line no-await-in-loop
      await tab.bringToFront()
      // oxlint-disable-next-line no-await-in-loop
      await status(tab, 'Listening')
      // oxlint-disable-next-line no-await-in-loop
      await tab.getByRole('button', { name: 'End', exact: true }).click()
      // oxlint-disable-next-line no-await-in-loop
      await tab.getByText(`This is tab ${said}`, { exact: true }).first().waitFor()
    }
    await page.reload()
    const chats = page.getByRole('navigation').getByText(/This is tab/)
    await expect.poll(() => chats.count()).toBe(2)
    expect(problems).toEqual([])
    await page.context().close()
  })

  it('says that there is no microphone', async () => {
    const { page } = await open({
      before: async (before) => {
        await before.addInitScript(
          `navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('x', 'NotFoundError'))`,
        )
      },
    })
    await page.getByRole('button', { name: 'Talk', exact: true }).click()
    await page.getByRole('alert').getByText('No microphone or camera was found.').waitFor()
    await page.context().close()
  })

  it.each(['light', 'dark'] as const)('fits a phone, and axe finds nothing, %s', async (colorScheme) => {
    const { page, realtime } = await open({
      colorScheme,
      viewport: { width: 360, height: 740 },
      isMobile: true,
      hasTouch: true,
    })
    await page.getByRole('button', { name: 'Talk', exact: true }).tap()
    await status(page, 'Listening')
    await page.getByRole('button', { name: 'Turn the camera on' }).tap()
    await page.getByLabel('Camera view').waitFor()
    realtime.userSpeaks('item_1', 100)
    realtime.userStops('item_1', 900)
    realtime.transcript('item_1', 'What do you see?')
    realtime.reply('resp_1', 'A green screen with a pacman on it. '.repeat(8), 30)
    await status(page, 'Speaking')
    expect(await page.evaluate(`document.documentElement.scrollWidth <= innerWidth`)).toBe(true)
    // Every button is on the screen.
    await until(
      page,
      `[...document.querySelectorAll('.talk-controls button')].every((b) => b.getBoundingClientRect().bottom <= innerHeight)`,
    )
    await page.evaluate(axe.source)
    const find = (): Promise<string[]> =>
      page.evaluate(
        `axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
          .then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes.map((n) => n.html).join(' | ')))`,
      )
    // Checked again while elements move.
    await expect.poll(find, { timeout: 30_000 }).toEqual([])
    await page.context().close()
  })
})
