/**
 * The engine contract as a vitest suite: `import { describeEngine } from 'omniserve/contract/testing'`.
 *
 * In: a way to make the engine. Its model must generate long replies, because the suite asks for them and leaves early.
 * What an engine does not support (`EngineCapabilities`) is not tested.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  EngineError,
  type Engine,
  type EngineCapabilities,
  type EngineEvent,
  type GenerationRequest,
  type ReplyCounts,
  type SamplingOptions,
} from '../index.ts'
import { makeRequest, readReply, type Reply } from './requests.ts'

export { makeRequest, readReply } from './requests.ts'

export interface EngineSubject<T extends Engine = Engine> {
  /** A new engine. */
  readonly create: () => Promise<T>
  readonly model: string
  /** A voice it supports, when it has speech. */
  readonly voice?: string
  /** A request whose reply is at least 100 tokens long. */
  readonly long: Partial<GenerationRequest> & { text?: string }
  /** Requests it accepts at once, to see one more refused with `overloaded`; not tested when absent. */
  readonly slots?: number
  /** Native memory held now, in bytes. */
  readonly nativeBytes?: (engine: T) => Promise<number>
  /** Ends its process as a failed assertion would. */
  readonly crash?: (engine: T) => void
  /** Whether sampling with different seeds gives different replies. */
  readonly samples?: boolean
  /**
   * False where speech depends on timing and on what else runs, so that a seed decides the text of a request alone
   * only.
   */
  readonly steady?: boolean
  /** In place of what the suite samples with, where the engine cannot honour all of it. */
  readonly sampling?: Partial<SamplingOptions>
}

const never = new AbortController().signal

/** Runs the suite under the engine's name. */
export function describeEngine<T extends Engine>(name: string, subject: EngineSubject<T>): void {
  describe(`engine contract: ${name}`, () => {
    let engine: T
    let can: EngineCapabilities
    beforeAll(async () => {
      engine = await subject.create()
      const models = await engine.models()
      can = models.find(({ id }) => id === subject.model)!.capabilities
    })
    afterAll(async () => {
      await engine.close()
    })

    const request = (overrides: Parameters<typeof makeRequest>[0] = {}): GenerationRequest =>
      makeRequest({ model: subject.model, maxTokens: 24, ...overrides })
    const long = (overrides: Parameters<typeof makeRequest>[0] = {}): GenerationRequest =>
      request({ maxTokens: 400, ...subject.long, ...overrides })
    const spoken = subject.voice === undefined ? {} : { voice: subject.voice }

    it('says what it can do', async () => {
      const models = await engine.models()
      const model = models.find(({ id }) => id === subject.model)
      expect(model).toBeDefined()
      expect(model!.input).toContain('text')
      expect(model!.output.includes('audio')).toBe(subject.voice !== undefined)
      expect(model!.contextLength).toBeGreaterThan(0)
      expect(model!.maxOutputTokens).toBeLessThanOrEqual(model!.contextLength)
      if (subject.voice !== undefined) expect(model!.voices.map((voice) => voice.name)).toContain(subject.voice)
      expect(engine.status()).toMatchObject({ ready: true, active: 0, waiting: 0 })
    })

    it('starts, writes, ends, and counts what it wrote', async () => {
      const reply = await readReply(engine, request(spoken))
      checkOrder(reply, subject.voice !== undefined)
      if (!can.countsPrompt) return
      const counted = await engine.countPrompt(request(spoken))
      expect({ ...reply.usage.prompt, cached: undefined }).toEqual({ ...counted, cached: undefined })
      if (can.promptByModality)
        expect(counted.total).toBe(counted.text! + counted.image! + counted.audio! + counted.video!)
    })

    it('counts along, so that a reply that is cut off is accounted for', async () => {
      let last: ReplyCounts | undefined
      let deltas = 0
      for await (const event of engine.generate(long(spoken), never)) {
        if (event.type === 'start' || event.type === 'end') continue
        // Text may be counted at the end only.
        if (event.counts?.textTokens === undefined) return
        if (event.type === 'text-delta') deltas += 1
        for (const kind of ['textTokens', 'reasoningTokens', 'audioTokens'] as const)
          expect(event.counts[kind] ?? 0).toBeGreaterThanOrEqual(last?.[kind] ?? 0)
        last = event.counts
        if (deltas === 10) break
      }
      expect(last?.textTokens).toBeGreaterThanOrEqual(10)
    })

    it('keeps to max tokens', async () => {
      const reply = await readReply(engine, long({ maxTokens: 7 }))
      expect(reply.reason).toBe('length')
      expect(reply.usage.textTokens).toBe(7)
    })

    it('sends no part of a stop string', async () => {
      const whole = await readReply(engine, long({ maxTokens: 60 }))
      const stop = whole.text.slice(20, 24)
      const cut = await readReply(engine, long({ maxTokens: 60, stop: [stop] }))
      expect(cut.reason).toBe('stop')
      expect(cut.text).toBe(whole.text.slice(0, whole.text.indexOf(stop)))
    })

    it('speaks nothing when no speech is asked for', async () => {
      const reply = await readReply(engine, request())
      expect(reply.pcm.length).toBe(0)
      expect(reply.usage.audioTokens).toBe(0)
    })

    it('gives the same reply for the same seed, alone and among others', async () => {
      if (!can.seed) return
      const usual = { temperature: 1, topP: 0.9, topK: 50, presencePenalty: 0.2, repetitionPenalty: 1.05, seed: 42 }
      const sampling = { ...usual, ...subject.sampling }
      const one = request({ ...spoken, sampling })
      const alone = await readReply(engine, one)
      const [among] = await Promise.all([
        readReply(engine, one),
        readReply(engine, request({ ...spoken, text: 'Another.', sampling: { ...sampling, seed: 43 } })),
        readReply(engine, request({ ...spoken, text: 'And one more.', sampling: { ...sampling, seed: 44 } })),
      ])
      const again = subject.steady === false ? await readReply(engine, one) : among
      expect(again.text).toBe(alone.text)
      if (subject.steady === false) return
      expect(Buffer.from(again.pcm.buffer).equals(Buffer.from(alone.pcm.buffer))).toBe(true)
      if (!subject.samples) return
      const other = await readReply(engine, { ...one, sampling: { ...sampling, seed: 4242 } })
      expect(other.text).not.toBe(alone.text)
    })

    it('works on four requests at once', async () => {
      const order: string[] = []
      await Promise.all(
        [1, 2, 3, 4].map(async (number) => {
          for await (const event of engine.generate(long({ maxTokens: 60, text: `Number ${number}.` }), never)) {
            if (event.type === 'start' || event.type === 'end') order.push(event.type)
          }
        }),
      )
      expect(order.lastIndexOf('start')).toBeLessThan(order.indexOf('end'))
    })

    it('lets a slow reader slow only itself', async () => {
      const slow = engine.generate(long({ ...spoken, text: 'Slowly.' }), never)[Symbol.asyncIterator]()
      expect((await slow.next()).value).toMatchObject({ type: 'start' })
      const fast = await readReply(engine, request(spoken))
      checkOrder(fast, subject.voice !== undefined)
      const event: IteratorResult<EngineEvent> = await slow.next()
      expect(event.done).toBe(false)
      await slow.return?.()
    })

    it('stops at an abort with its reason and is idle at once', async () => {
      const controller = new AbortController()
      const reason = new Error('The client went away.')
      const seen: EngineEvent[] = []
      const reading = (async () => {
        for await (const event of engine.generate(long(spoken), controller.signal)) {
          seen.push(event)
          if (seen.filter(({ type }) => type === 'text-delta').length === 3) controller.abort(reason)
        }
      })()
      await expect(reading).rejects.toBe(reason)
      expect(seen.at(-1)!.type).not.toBe('end')
      expect(engine.status()).toMatchObject({ active: 0, waiting: 0 })
    })

    it('does not start for a signal that has fired', async () => {
      const reason = new Error('Too late.')
      await expect(readReply(engine, request(), AbortSignal.abort(reason))).rejects.toBe(reason)
      if (can.countsPrompt) await expect(engine.countPrompt(request(), AbortSignal.abort(reason))).rejects.toBe(reason)
    })

    it('takes an early return as an abort', async () => {
      for await (const event of engine.generate(long(spoken), never)) if (event.type === 'text-delta') break
      expect(engine.status()).toMatchObject({ active: 0, waiting: 0 })
    })

    it('refuses an unknown model, an unknown voice and what does not fit', async () => {
      const refuses = (asked: GenerationRequest, code: EngineError['code'], param: string): Promise<void> =>
        expectRefusal(engine, asked, code, param, can.countsPrompt)
      await refuses(request({ model: 'no-such-model' }), 'unknown_model', 'model')
      if (subject.voice !== undefined) await refuses(request({ voice: 'No Such Voice' }), 'unsupported', 'audio.voice')
      const { contextLength } = (await engine.models())[0]!
      await refuses(request({ maxTokens: contextLength }), 'context_overflow', 'max_tokens')
      const endless = request({ text: 'word '.repeat(contextLength) })
      // An engine that does not count prompts may not know whether this one would fit without an answer.
      const param = can.countsPrompt ? 'messages' : (expect.stringMatching(/^(messages|max_tokens)$/) as string)
      await refuses(endless, 'context_overflow', param)
    })

    it('counts prompts, or says that it does not', async () => {
      const counting = engine.countPrompt(request())
      if (can.countsPrompt) expect((await counting).total).toBeGreaterThan(0)
      else await expect(counting).rejects.toMatchObject({ code: 'unsupported' })
    })

    it.runIf(subject.slots !== undefined)('refuses a request beyond its capacity', async () => {
      const slots = subject.slots ?? 0
      const live = Array.from({ length: slots }, () => engine.generate(long(), never)[Symbol.asyncIterator]())
      const first = live.map((iterator) => iterator.next())
      await first[0]
      const taken = (): number => {
        const { active, waiting } = engine.status()
        return active + waiting
      }
      while (taken() < slots) await new Promise((resolve) => setTimeout(resolve, 5))
      await expect(readReply(engine, request())).rejects.toMatchObject({ code: 'overloaded' })
      // Those that wait for a slot get one as the others leave.
      for (const [index, iterator] of live.entries()) {
        await first[index]
        await iterator.return?.()
      }
      expect((await readReply(engine, request())).events.length).toBeGreaterThan(1)
    })

    it.runIf(subject.nativeBytes)('holds no more memory after fifty requests than before', async () => {
      const round = async (): Promise<void> => {
        await Promise.all([
          ...[1, 2, 3].map(() => readReply(engine, request({ ...spoken, maxTokens: 4 }))),
          ...[1, 2].map(async () => {
            for await (const event of engine.generate(long(spoken), never)) if (event.type === 'text-delta') break
          }),
        ])
      }
      // Graphs and working memory that are kept are made here. Their number depends on which requests share a step, so
      // the largest total counts.
      let before = 0
      for (let warm = 0; warm < 8; warm += 1) {
        await round()
        before = Math.max(before, await subject.nativeBytes!(engine))
      }
      for (let count = 0; count < 10; count += 1) await round()
      // What leaks stays in every round.
      let after = Infinity
      for (let more = 0; more < 5; more += 1) {
        await round()
        after = Math.min(after, await subject.nativeBytes!(engine))
      }
      expect(after).toBeLessThanOrEqual(before * 1.1)
    })

    it.runIf(subject.crash)(
      'ends replies with an error when it crashes, and holds new requests until it is back',
      async () => {
        const crashing = await subject.create()
        try {
          let killed = false
          const reading = (async () => {
            for await (const event of crashing.generate(long(spoken), never)) {
              if (event.type === 'text-delta' && !killed) {
                killed = true
                subject.crash!(crashing)
              }
            }
          })()
          const error = await reading.catch((caught: unknown) => caught)
          expect(error).toBeInstanceOf(EngineError)
          expect(error).toMatchObject({ code: 'engine_crashed' })
          expect(crashing.status().ready).toBe(false)
          expect(error).toMatchObject({ retryable: true })
          checkOrder(await readReply(crashing, request(spoken)), subject.voice !== undefined)
        } finally {
          await crashing.close()
        }
      },
    )

    it('ends what is live when closed, and stays closed', async () => {
      const closing = await subject.create()
      const live = closing.generate(long(spoken), never)[Symbol.asyncIterator]()
      await live.next()
      const rest = (async () => {
        while (!(await live.next()).done);
      })()
      const outcome = expect(rest).rejects.toMatchObject({ code: 'engine_closed' })
      await closing.close()
      await outcome
      await closing.close()
      expect(closing.status().ready).toBe(false)
      await expect(readReply(closing, request())).rejects.toMatchObject({ code: 'engine_closed' })
    })
  })
}

/** Start first, end last, text before its speech, nothing empty. */
function checkOrder(reply: Reply, speech: boolean): void {
  const types = reply.events.map((event) => event.type)
  expect(types[0]).toBe('start')
  expect(types.at(-1)).toBe('end')
  expect(types.filter((type) => type === 'start' || type === 'end')).toHaveLength(2)
  expect(reply.text.length).toBeGreaterThan(0)
  expect(reply.usage.textTokens).toBeGreaterThan(0)
  for (const event of reply.events) {
    if (event.type === 'text-delta') expect(event.text).not.toBe('')
    if (event.type === 'audio-delta') expect(event.pcm.length).toBeGreaterThan(0)
  }
  if (!speech) return
  expect(types.indexOf('audio-delta')).toBeGreaterThan(types.indexOf('text-delta'))
  expect(reply.usage.audioTokens).toBeGreaterThan(0)
  expect(reply.pcm.length).toBeGreaterThan(0)
}

/** Both `generate` and, unless the engine cannot count, `countPrompt` refuse, with the same error, before any event. */
async function expectRefusal(
  engine: Engine,
  request: GenerationRequest,
  code: EngineError['code'],
  param: string,
  counts: boolean,
): Promise<void> {
  const events: EngineEvent[] = []
  const reading = (async () => {
    for await (const event of engine.generate(request, never)) events.push(event)
  })()
  const error = await reading.catch((caught: unknown) => caught)
  expect(error).toBeInstanceOf(EngineError)
  expect(error).toMatchObject({ code, param })
  expect(events).toEqual([])
  if (counts) await expect(engine.countPrompt(request)).rejects.toMatchObject({ code, param })
}
