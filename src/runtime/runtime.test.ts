import { afterEach, describe, expect, it } from 'vitest'
import { answer, fakeIds, type FakeModelOptions, fakePrepare } from '../../testing/fake-model.ts'
import { FakeRuntimes, type StartedRuntime } from '../../testing/fake-runtime.ts'
import { talkerSpeech } from '../../testing/fake-talker.ts'
import { windowedSpeech } from '../../testing/fake-windowed.ts'
import { decodedAudio } from '../../testing/decoded-media.ts'
import { makeRequest, readReply } from '../../testing/requests.ts'
import { until } from '../../testing/until.ts'
import type { EngineEvent, GenerationMessage } from '../contract/index.ts'
import type { RequestMetrics } from './request-metrics.ts'
import type { RuntimeOptions } from './runtime.ts'

/** Milliseconds; a test that waited for it would not end within its own limit. */
const HOUR = 3_600_000

const runtimes = new FakeRuntimes()

afterEach(async () => {
  for (const alive of await runtimes.close()) expect(alive).toEqual({ sequences: 0, streams: 0 })
})

/** A user turn of audio of so many seconds. */
const sounds = (...seconds: number[]): GenerationMessage => ({
  role: 'user',
  content: seconds.map((length) => ({
    type: 'audio',
    audio: decodedAudio({ sampleRate: 16_000, samples: new Float32Array(16_000 * length) }),
  })),
})

const bytes = (text: string): number[] => [...new TextEncoder().encode(text)]

/** Two speech families; see `testing/`. */
const families = [
  {
    name: "Qwen3-Omni's speech",
    speaksBy: talkerSpeech,
    stages: ['thinker', 'talker', 'codePredictor', 'vocoder'],
    tokensOf: (frames: number) => frames,
    leadingText: 40,
    // 15 rows of prompt, 4 frames in progress, 12 waiting.
    rowsAhead: [20, 40],
  },
  {
    name: 'speech at 50 Hz from hidden states of every token',
    speaksBy: windowedSpeech,
    stages: ['thinker', 'talker', 'vocoder'],
    tokensOf: (frames: number) => Math.ceil(frames / 2),
    leadingText: 30,
    // At most 17 rows of prompt, 12 frames in progress or held back, 24 waiting.
    rowsAhead: [30, 55],
  },
] as const

describe.each(families)('$name', ({ speaksBy, stages, tokensOf, leadingText, rowsAhead }) => {
  const start = (model: FakeModelOptions = {}, options: Partial<RuntimeOptions> = {}): StartedRuntime =>
    runtimes.start({ speaksBy, ...model }, options)

  describe('text', () => {
    it('writes the scripted reply in order and counts it', async () => {
      const { runtime } = start({ script: answer('Hi, 好!') })
      const reply = await readReply(runtime, makeRequest({ text: 'x' }))
      expect(reply.text).toBe('Hi, 好!')
      expect(reply.reason).toBe('stop')
      expect(reply.events[0]).toEqual({ type: 'start', prompt: { total: 9, text: 9, image: 0, audio: 0, video: 0 } })
      expect(reply.usage).toEqual({
        prompt: { total: 9, text: 9, image: 0, audio: 0, video: 0 },
        textTokens: bytes('Hi, 好!').length,
        reasoningTokens: 0,
        audioTokens: 0,
      })
    })

    it('stops at max tokens, at stop strings and at stop ids', async () => {
      const { runtime } = start({ script: answer('one two three') })
      const cut = await readReply(runtime, makeRequest({ maxTokens: 5 }))
      expect([cut.text, cut.reason, cut.usage.textTokens]).toEqual(['one t', 'length', 5])
      const stopped = await readReply(runtime, makeRequest({ stop: [' three'] }))
      expect([stopped.text, stopped.reason]).toEqual(['one two', 'stop'])
      const byId = await readReply(runtime, makeRequest({ stopTokenIds: [bytes('w')[0]!] }))
      expect([byId.text, byId.reason]).toEqual(['one t', 'stop'])
    })

    it('reads a long prompt in chunks, with the logits of the last only', async () => {
      const { runtime, model } = start({ script: answer('ok') }, { prefillTokens: 32 })
      await readReply(runtime, makeRequest({ text: 'x'.repeat(100) }))
      expect(model.thinkerBatches).toEqual([[32], [32], [32], [12], [1], [1]])
    })
  })

  describe('reasoning', () => {
    const script = answer([...bytes('abcdef'), fakeIds.thinkClose, ...bytes('\n\nyes')])

    it('is separated and not counted as answer', async () => {
      const { runtime } = start({ script })
      const reply = await readReply(runtime, makeRequest({ thinking: {}, maxTokens: 3 }))
      expect([reply.reasoning, reply.text, reply.reason]).toEqual(['abcdef', 'yes', 'length'])
      expect([reply.usage.reasoningTokens, reply.usage.textTokens]).toEqual([6, 3])
    })

    it.each([0, 1, 4])('is closed by force at a budget of %i', async (budget) => {
      const endless = (ids: readonly number[]): number => {
        const closed = ids.lastIndexOf(fakeIds.thinkClose)
        if (closed < 0) return 97
        return [...bytes('yes'), fakeIds.imEnd][ids.length - closed - 3] ?? fakeIds.imEnd
      }
      const { runtime } = start({ script: endless })
      const reply = await readReply(runtime, makeRequest({ thinking: { budget } }))
      expect([reply.reasoning, reply.text]).toEqual(['a'.repeat(budget), 'yes'])
      expect(reply.usage.reasoningTokens).toBe(budget)
    })

    it('is refused where the checkpoint does not think', async () => {
      const { runtime } = start({}, { thinking: false })
      await expect(readReply(runtime, makeRequest({ thinking: {} }))).rejects.toMatchObject({
        code: 'unsupported',
        param: 'enable_thinking',
      })
    })
  })

  describe('speech', () => {
    it('joins chunks without a gap, whatever their size', async () => {
      const { runtime, model } = start({
        script: answer('a reply that is long enough for some chunks'),
        tailFrames: 20,
      })
      const reply = await readReply(runtime, makeRequest({ voice: 'Ethan' }))
      expect(reply.events.filter((event) => event.type === 'audio-delta').length).toBeGreaterThan(4)
      const { samplesPerFrame } = model
      expect(reply.usage.audioTokens).toBe(tokensOf(reply.pcm.length / samplesPerFrame))
      for (let frame = 0; frame * samplesPerFrame < reply.pcm.length; frame += 1) {
        const top = reply.pcm[frame * samplesPerFrame + samplesPerFrame - 1]!
        expect(reply.pcm[frame * samplesPerFrame]).toBe(0)
        expect(
          Math.abs(
            reply.pcm[frame * samplesPerFrame + samplesPerFrame / 2]! -
              (top * samplesPerFrame) / 2 / (samplesPerFrame - 1),
          ),
        ).toBeLessThan(2)
      }
      expect(model.calls.get('vocoder')).toBe(reply.events.filter((event) => event.type === 'audio-delta').length)
    })

    it('begins while the text is still being written', async () => {
      const { runtime } = start({ script: answer('x'.repeat(60)) })
      const { events } = await readReply(runtime, makeRequest({ voice: 'Ethan' }))
      const firstAudio = events.findIndex((event) => event.type === 'audio-delta')
      expect(events.slice(firstAudio).filter((event) => event.type === 'text-delta').length).toBeGreaterThan(
        leadingText,
      )
    })

    it('goes on while the vocoder works, but not out of its sight', async () => {
      const { runtime, model } = start({ script: answer('x'.repeat(60)), tailFrames: 40, vocoderDelay: 40 })
      const { samplesPerFrame } = model
      let [sent, ahead] = [0, 0]
      for await (const event of runtime.generate(
        makeRequest({ maxTokens: 60, voice: 'Ethan' }),
        new AbortController().signal,
      )) {
        if (event.type !== 'audio-delta') continue
        sent += event.pcm.length / samplesPerFrame
        ahead = Math.max(ahead, (model.talkerRows[0]?.length ?? 0) - sent)
      }
      // The rows of its prompt, then a row a frame, of which some may be in progress or held back and some wait.
      expect(ahead).toBeGreaterThan(rowsAhead[0])
      expect(ahead).toBeLessThan(rowsAhead[1])
      expect(sent).toBeGreaterThan(90)
      // A slow vocoder gets all threads while the talker waits for it, not while the talker continues.
      const onAllThreads = model.decoded.map((piece) => piece.usedAllThreads)
      expect(onAllThreads[0]).toBe(false)
      expect(onAllThreads.filter(Boolean).length).toBeGreaterThan(onAllThreads.length / 3)
      expect(onAllThreads.filter((all) => !all).length).toBeGreaterThan(onAllThreads.length / 6)
    })

    it('has nothing to say for an empty reply', async () => {
      const { runtime } = start({ script: answer('') })
      const reply = await readReply(runtime, makeRequest({ voice: 'Ethan' }))
      expect([reply.text, reply.pcm.length, reply.usage.audioTokens]).toEqual(['', 0, 0])
    })

    it('refuses unknown voices and checkpoints without speech', async () => {
      const { runtime } = start()
      await expect(readReply(runtime, makeRequest({ voice: 'Nobody' }))).rejects.toMatchObject({
        code: 'unsupported',
        param: 'audio.voice',
      })
      const silent = start({ speech: false })
      await expect(readReply(silent.runtime, makeRequest({ voice: 'Ethan' }))).rejects.toMatchObject({
        code: 'unsupported',
        param: 'modalities',
      })
    })
  })

  describe('many at once', () => {
    it('batches decode and speech steps', async () => {
      const { runtime, model } = start({ thinkerDelay: () => 2 })
      await Promise.all(['a', 'b', 'c', 'd'].map((text) => readReply(runtime, makeRequest({ text, voice: 'Ethan' }))))
      expect(model.thinkerBatches.filter((batch) => batch.length === 4).length).toBeGreaterThan(8)
      expect(model.talkerBatches.filter((batch) => batch.length === 4).length).toBeGreaterThan(8)
    })

    it('gives the same reply for the same seed, alone or in company', async () => {
      const sampling = { temperature: 1, topP: 0.95, topK: 40, presencePenalty: 0.5, repetitionPenalty: 1.1, seed: 77 }
      const { runtime } = start({ sharpness: 3, sampledSpeech: true }, { maxConcurrent: 8 })
      const one = makeRequest({ sampling, voice: 'Ethan' })
      const alone = await readReply(runtime, one)
      const others = ['u', 'v', 'w', 'x'].map((text) =>
        readReply(runtime, makeRequest({ text, sampling: { ...sampling, seed: 5 }, voice: 'Chelsie' })),
      )
      const again = await readReply(runtime, one)
      await Promise.all(others)
      expect(again.text).toBe(alone.text)
      expect(again.pcm).toEqual(alone.pcm)
      const different = await readReply(runtime, { ...one, sampling: { ...sampling, seed: 78 } })
      expect(different.text).not.toBe(alone.text)
    })

    it('keeps writing while a long prompt is read', async () => {
      const { runtime, model } = start({
        script: (ids) => (ids.length > 500 ? fakeIds.imEnd : 120),
        thinkerDelay: (tokens) => tokens / 4,
      })
      const writer = runtime.generate(makeRequest({ text: 'short', maxTokens: 400 }), new AbortController().signal)
      for (let count = 0; count < 10; count += 1) await writer.next()
      const reader = readReply(runtime, makeRequest({ text: 'y'.repeat(2000), maxTokens: 1 }))
      let written = 0
      let done = false
      void reader.then(() => (done = true))
      while (!done) {
        await writer.next()
        written += 1
      }
      await writer.return()
      expect(written).toBeGreaterThan(5)
      // The prompt is prefilled in several steps, and the other reply has a token of each.
      const reading = model.thinkerBatches.slice(1).filter((batch) => Math.max(...batch) > 1)
      expect(reading.length).toBeGreaterThan(3)
      for (const batch of reading) expect(batch).toContain(1)
    })

    it.each([
      ['well ahead of its playback yields to a prompt, and then goes on', 0],
      ['behind its playback goes on beside a prompt', 1e6],
    ])('speech %s', async (_, timesAsFast) => {
      const speech = { script: answer('x'.repeat(40)), tailFrames: 250, thinkerDelay: () => 1 }
      const { runtime, model } = start(speech, { clock: () => performance.now() * timesAsFast, prefillTokens: 16 })
      const listener = makeRequest({ text: 'a', maxTokens: 40, voice: 'Ethan' })
      const events: EngineEvent[] = []
      let samples = 0
      let prompt: Promise<unknown> | undefined
      let [begun, ended] = [0, 0]
      for await (const event of runtime.generate(listener, new AbortController().signal)) {
        events.push(event)
        if (event.type !== 'audio-delta') continue
        samples += event.pcm.length
        if (prompt || samples < 2 * 24_000) continue
        begun = model.talkerBatches.length
        prompt = readReply(runtime, makeRequest({ text: 'y'.repeat(1000), maxTokens: 1 })).then(
          () => (ended = model.talkerBatches.length),
        )
      }
      await prompt
      // One step may be under way when the prompt comes, and one that was prepared before it.
      if (timesAsFast === 0) expect(ended - begun).toBeLessThan(4)
      else expect(ended - begun).toBeGreaterThan(20)
      const alone = start(speech)
      const pcm = (all: readonly EngineEvent[]) =>
        all.flatMap((event) => (event.type === 'audio-delta' ? Array.from(event.pcm) : []))
      expect(pcm(events)).toEqual(Array.from((await readReply(alone.runtime, listener)).pcm))
    })

    it('encodes a long sound in pieces between other work, and tells the encoder of the longest sound', async () => {
      const { runtime, model } = start({ script: answer('ok'), encoderDelay: 5 })
      const long = readReply(runtime, makeRequest({ messages: [sounds(600, 15, 3)] }))
      const order: string[] = []
      void long.then(() => order.push('long'))
      await until(() => (model.calls.get('audioEncoder') ?? 0) >= 2)
      await readReply(runtime, makeRequest({ text: 'short' }))
      order.push('text')
      await readReply(runtime, makeRequest({ messages: [sounds(8)] }))
      order.push('short')
      expect((await long).text).toBe('ok')
      expect(order).toEqual(['text', 'short', 'long'])
      expect(model.sounds).toEqual([
        { frames: 600, longestFrames: 600 },
        { frames: 8, longestFrames: 8 },
        { frames: 15, longestFrames: 600 },
        { frames: 3, longestFrames: 600 },
      ])
    })

    it('pauses only the request whose reader is slow', async () => {
      const { runtime, model } = start({ script: answer('x'.repeat(300)) }, { bufferedEvents: 16 })
      const slow = runtime.generate(makeRequest({ text: 's', maxTokens: 300 }), new AbortController().signal)
      await slow.next()
      await readReply(runtime, makeRequest({ text: 'f', maxTokens: 300 }))
      const written = model.thinkerBatches.length
      const rest: EngineEvent[] = []
      for await (const event of slow) rest.push(event)
      expect(rest.filter((event) => event.type === 'text-delta').length).toBe(300)
      // The slow one continued only once it was read.
      expect(model.thinkerBatches.length - written).toBeGreaterThan(270)
    })

    it('lets the next in when one leaves, and refuses when the queue is full', async () => {
      const { runtime } = start({ thinkerDelay: () => 5 }, { maxConcurrent: 1, maxWaiting: 1 })
      const first = runtime.generate(makeRequest(), new AbortController().signal)
      await first.next()
      const second = readReply(runtime, makeRequest())
      await expect(readReply(runtime, makeRequest())).rejects.toMatchObject({ code: 'overloaded' })
      expect(runtime.load).toEqual({ active: 1, waiting: 1 })
      await first.return()
      expect((await second).reason).toBe('stop')
      expect(runtime.load).toEqual({ active: 0, waiting: 0 })
    })
  })

  describe('ending early', () => {
    it('stops within one step of an abort and gives everything back', async () => {
      const { runtime, model } = start({ script: answer('x'.repeat(200)), thinkerDelay: () => 5 })
      const controller = new AbortController()
      const reason = new Error('gone')
      let seen = 0
      const reading = (async () => {
        for await (const event of runtime.generate(
          makeRequest({ maxTokens: 200, voice: 'Ethan' }),
          controller.signal,
        )) {
          seen += event.type === 'text-delta' ? 1 : 0
          if (seen === 5) controller.abort(reason)
        }
      })()
      await expect(reading).rejects.toBe(reason)
      expect(seen).toBe(5)
      const batches = model.thinkerBatches.length
      expect(batches).toBeLessThan(9)
      expect(model.alive()).toEqual({ sequences: 0, streams: 0 })
    })

    it('interrupts a long step when nobody else needs it', async () => {
      const { runtime, model } = start({ thinkerDelay: () => HOUR })
      const controller = new AbortController()
      const reading = readReply(runtime, makeRequest(), controller.signal)
      await until(() => model.thinkerBatches.length > 0)
      controller.abort(new Error('gone'))
      await expect(reading).rejects.toThrow('gone')
    })

    it('waits for the vocoder to let go, at an abort and at the end', async () => {
      for (const end of ['abort', 'close'] as const) {
        const { runtime, model } = start({ script: answer('x'.repeat(60)), vocoderDelay: HOUR })
        const controller = new AbortController()
        const reading = readReply(runtime, makeRequest({ voice: 'Ethan' }), controller.signal)
        const outcome = reading.then(
          () => 'read',
          (error: Error) => error.message,
        )
        await until(() => model.calls.has('vocoder'))
        if (end === 'abort') controller.abort(new Error('gone'))
        else await runtime.close()
        expect(await outcome).toBe(end === 'abort' ? 'gone' : 'The engine was closed.')
        expect(model.alive()).toEqual({ sequences: 0, streams: 0 })
      }
    })

    it('leaves the others of a batch alone when its vocoder stops in the middle of a step', async () => {
      const long = { script: answer('abcdefghij'.repeat(9)), tailFrames: 60 }
      const { runtime, model } = start({ ...long, talkerDelay: () => 6, vocoderDelay: 40 })
      const stays = makeRequest({ text: 'a', maxTokens: 100, voice: 'Ethan' })
      const staying = readReply(runtime, stays)
      let over = false
      void staying.then(() => (over = true))
      for (let round = 0; round < 4; round += 1) {
        const controller = new AbortController()
        const decoded = model.decoded.length
        const leaves = makeRequest({ text: 'b', maxTokens: 100, voice: 'Chelsie' })
        const outcome = expect(readReply(runtime, leaves, controller.signal)).rejects.toThrow('gone')
        await until(() => model.decoded.length >= decoded + 3)
        await new Promise((resolve) => setTimeout(resolve, 2 * round))
        controller.abort(new Error('gone'))
        await outcome
      }
      expect(over).toBe(false)
      const alone = start(long)
      expect((await staying).pcm).toEqual((await readReply(alone.runtime, stays)).pcm)
    })

    it('gives up encoding at an abort, in a piece and between two', async () => {
      for (const delay of [10_000, 1]) {
        const { runtime, model } = start({ encoderDelay: delay })
        const controller = new AbortController()
        const reading = readReply(runtime, makeRequest({ messages: [sounds(4000)] }), controller.signal)
        const outcome = expect(reading).rejects.toThrow('gone')
        await until(() => model.calls.has('audioEncoder'))
        setTimeout(() => controller.abort(new Error('gone')), 10)
        await outcome
        await new Promise((resolve) => setImmediate(resolve))
        expect(model.encoding()).toBe(0)
        expect(model.calls.get('audioEncoder')).toBeLessThan(100)
      }
    })

    it('counts an early return as an abort, also before the start', async () => {
      const { runtime, model } = start({ thinkerDelay: () => 2 })
      const iterator = runtime.generate(makeRequest({ voice: 'Ethan' }), new AbortController().signal)
      await iterator.next()
      await iterator.return()
      expect(model.alive()).toEqual({ sequences: 0, streams: 0 })
      const aborted = AbortSignal.abort(new Error('before'))
      await expect(readReply(runtime, makeRequest(), aborted)).rejects.toThrow('before')
    })

    it('ends live and waiting requests when closed', async () => {
      const { runtime } = start({ thinkerDelay: () => 5 }, { maxConcurrent: 1 })
      const one = readReply(runtime, makeRequest())
      const two = readReply(runtime, makeRequest())
      const outcomes = Promise.allSettled([one, two])
      await until(() => runtime.load.active === 1 && runtime.load.waiting === 1)
      await runtime.close()
      for (const outcome of await outcomes) expect(outcome).toMatchObject({ reason: { code: 'engine_closed' } })
      await expect(readReply(runtime, makeRequest())).rejects.toMatchObject({ code: 'engine_closed' })
    })
  })

  describe('failures', () => {
    it.each(stages)('of the %s reach the reader', async (stage) => {
      const { runtime, model } = start({ failIn: { stage, after: 1 } })
      await expect(readReply(runtime, makeRequest({ voice: 'Ethan' }))).rejects.toMatchObject({
        code: 'internal',
        message: `The model failed: ${stage} broke`,
      })
      expect(model.alive()).toEqual({ sequences: 0, streams: 0 })
    })

    it('of one prompt leave the others alone', async () => {
      const { runtime } = start(
        {},
        {
          prepare: (request) =>
            request.maxTokens === 13 ? Promise.reject(new Error('bad prompt')) : fakePrepare(request),
        },
      )
      const good = readReply(runtime, makeRequest())
      await expect(readReply(runtime, makeRequest({ maxTokens: 13 }))).rejects.toThrow('bad prompt')
      expect((await good).reason).toBe('stop')
    })

    it('name what does not fit the context', async () => {
      const { runtime } = start({ contextLength: 100 })
      await expect(readReply(runtime, makeRequest({ text: 'x'.repeat(100) }))).rejects.toMatchObject({
        code: 'context_overflow',
        param: 'messages',
      })
      await expect(readReply(runtime, makeRequest({ maxTokens: 99 }))).rejects.toMatchObject({
        code: 'context_overflow',
        param: 'max_tokens',
      })
      await expect(
        runtime.countPrompt(makeRequest({ maxTokens: 99 }), new AbortController().signal),
      ).rejects.toMatchObject({ code: 'context_overflow' })
    })
  })

  it('reports what a request cost', async () => {
    const reports: RequestMetrics[] = []
    let now = 0
    const { runtime } = start(
      { script: answer('abcd') },
      { onMetrics: (metrics) => reports.push(metrics), clock: () => (now += 10) },
    )
    await readReply(runtime, makeRequest({ id: 'one', voice: 'Ethan' }))
    expect(reports).toHaveLength(1)
    expect(reports[0]).toMatchObject({ id: 'one', outcome: 'stop', textTokens: 4 })
    expect(reports[0]!.audioFrames).toBeGreaterThan(4)
    expect(reports[0]!.firstTokenMs).toBeGreaterThan(0)
    expect(reports[0]!.firstAudioMs).toBeGreaterThan(reports[0]!.firstTokenMs!)
    expect(reports[0]!.realTimeFactor).toBeGreaterThan(0)
    const spent = reports[0]!.stages
    expect(Object.values(spent).reduce((sum, one) => sum + one, 0)).toBeCloseTo(reports[0]!.totalMs)
    expect(Object.keys(spent)).toEqual(expect.arrayContaining(['prefill', 'decode', 'sampling']))
    // Steps that a family tells of are kept apart; others are speech as a whole.
    const networks = speaksBy === talkerSpeech ? ['talker', 'code-predictor'] : ['speech']
    expect(Object.keys(spent)).toEqual(expect.arrayContaining(networks))
  })
})
