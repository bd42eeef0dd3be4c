/**
 * Replies that reuse earlier requests equal those computed from scratch: token for token, code for code.
 *
 * Tiny random checkpoints, greedy. Each request runs twice in one runtime: with a scope, and without one, which reuses
 * nothing.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { goldenMessages, type GoldenCase, tinyCheckpoint } from '../../../testing/golden-conversations.ts'
import { makeRequest, readReply, type Reply } from '../../../testing/requests.ts'
import type { GenerationMessage } from '../../contract/index.ts'
import type { RequestMetrics } from '../../runtime/request-metrics.ts'
import { loadHostedModel } from './load-model.ts'
import type { HostedModel } from './process-host.ts'

type Parts = GoldenCase['messages'][number]['content']

const system: Parts = [{ type: 'text', text: 'You answer in few words, and always in the language you are asked in.' }]
const text = (words: string): Parts[number] => ({ type: 'text', text: words })
const image = (seed: number): Parts[number] => ({ type: 'image', width: 96, height: 64, seed })
const audio = (samples: number, seed: number): Parts[number] => ({ type: 'audio', samples, seed })
const video = (audioSamples: number, seed: number): Parts[number] => ({
  type: 'video',
  width: 64,
  height: 64,
  frames: 6,
  fps: 2,
  audioSamples,
  seed,
})

/**
 * User turns by kind of content; the first audio of each is the longest, because a longer one changes how the others
 * are padded.
 */
const conversations: Record<string, readonly Parts[]> = {
  text: [[text('Where does the river begin?')], [text('And where does it end?')], [text('Is it long?')]],
  image: [[image(1), text('What is this?')], [text('And its colour?')], [image(2), text('The same?')]],
  audio: [[audio(40_000, 1), text('Who speaks?')], [text('What is said?')], [audio(20_000, 2)]],
  'video with audio': [[video(48_000, 3), text('What happens?')], [text('When?')], [video(16_000, 4), image(5)]],
  everything: [
    [audio(33_000, 6), image(7)],
    [video(20_000, 8), text('And now?')],
    [audio(9000, 9), text('So?')],
  ],
}

let number = 0

describe.each(['tiny-moe', 'tiny-dense', 'tiny25-grouped'])('%s', (name) => {
  // Qwen2.5-Omni speaks under a system turn of its own, so text-only and spoken prompts begin differently.
  const oneSystemTurn = !name.startsWith('tiny25')
  let hosted: HostedModel
  const metrics = new Map<string, RequestMetrics>()
  const tokens = new Map<string, number[]>()
  const frames = new Map<string, number[][]>()

  beforeAll(async () => {
    hosted = await loadHostedModel(
      { checkpoint: tinyCheckpoint(name), id: name, device: 'cpu', threads: 1, exact: true, maxSpeechFrames: 8 },
      (one) => metrics.set(one.id, one),
      {
        token: (request, id) => void tokens.set(request, [...(tokens.get(request) ?? []), id]),
        frame: (request, codes) => void frames.set(request, [...(frames.get(request) ?? []), [...codes]]),
      },
    )
  })
  afterAll(async () => {
    await hosted.runtime.close()
    expect(hosted.nativeBytes()).toBeGreaterThan(0)
    hosted.dispose()
  })

  const ask = (messages: readonly GenerationMessage[], scope: string | undefined, voice: string | undefined) => {
    const request = makeRequest({
      model: name,
      messages,
      maxTokens: 10,
      ...(voice !== undefined && { voice }),
      ...(scope !== undefined && { cacheScope: scope }),
    })
    return { request, reply: readReply(hosted.runtime, request) }
  }

  /** Asks with and without reuse; the replies are equal. Returns the reply and how many tokens were reused. */
  async function both(
    messages: readonly GenerationMessage[],
    scope: string,
    voice: string | undefined,
  ): Promise<{ reply: Reply; cached: number; total: number }> {
    const reused = ask(messages, scope, voice)
    const reply = await reused.reply
    const fresh = ask(messages, undefined, voice)
    const wanted = await fresh.reply
    expect(tokens.get(reused.request.id)).toEqual(tokens.get(fresh.request.id))
    expect(frames.get(reused.request.id)).toEqual(frames.get(fresh.request.id))
    expect(reply.text).toBe(wanted.text)
    expect(wanted.usage.prompt?.cached).toBeUndefined()
    const { cached = 0, total = 0 } = reply.usage.prompt ?? {}
    expect(metrics.get(reused.request.id)?.reusedTokens).toBe(cached)
    expect(reply.events[0]).toEqual({ type: 'start', prompt: reply.usage.prompt })
    return { reply, cached, total }
  }

  const conversation = (turns: readonly Parts[], replies: readonly string[]): GenerationMessage[] =>
    goldenMessages({
      messages: [
        { role: 'system', content: system },
        ...turns.flatMap((content, turn): GoldenCase['messages'] => [
          { role: 'user', content },
          ...(turn < turns.length - 1
            ? [{ role: 'assistant', content: [text(replies[turn] ?? '')] } as GoldenCase['messages'][number]]
            : []),
        ]),
      ],
    })

  // What is written without speech does not depend on the family's speech: one checkpoint shows it.
  describe.each(name === 'tiny-moe' ? [undefined, 'Ethan'] : ['Ethan'])('voice %s', (voice) => {
    it.each(Object.entries(conversations))('three turns of %s', async (_, turns) => {
      const scope = `conversation ${number++}`
      const replies: string[] = []
      let before = 0
      for (const turn of turns.keys()) {
        const { reply, cached, total } = await both(conversation(turns.slice(0, turn + 1), replies), scope, voice)
        // All of the last turn's prompt but its end, which opened the reply.
        expect(cached).toBeGreaterThanOrEqual(turn === 0 ? 0 : before - 4)
        if (turn === 0) expect(cached).toBe(0)
        replies.push(reply.text)
        before = total
      }
    })
  })

  it('edited turns reuse what comes before the edit', async () => {
    const scope = `conversation ${number++}`
    const first = await both(conversation([[audio(30_000, 1), text('Who?')]], []), scope, 'Ethan')
    const turns = [
      [audio(30_000, 1), text('Who?')],
      [image(3), text('Like this?')],
    ]
    const second = await both(conversation(turns, [first.reply.text]), scope, 'Ethan')
    const other = await both(
      conversation([turns[0]!, [image(4), text('Like this?')]], [first.reply.text]),
      scope,
      'Ethan',
    )
    expect(other.cached).toBeGreaterThanOrEqual(first.total - 4)
    expect(other.cached).toBeLessThan(second.total)
    const question = await both(conversation([[audio(30_000, 1), text('What?')]], []), scope, 'Ethan')
    expect(question.cached).toBeGreaterThan(first.total - 12)
    const longer = await both(conversation([[audio(30_000, 1), audio(60_000, 2)]], []), scope, 'Ethan')
    // In Qwen3-Omni a longer audio changes how the first is padded: only what comes before it is left.
    if (oneSystemTurn) expect(longer.cached).toBeLessThan(first.total - 20)
    else expect(longer.cached).toBeGreaterThan(first.total - 12)
  })

  it('another voice, and text after speech and before it, reuse all of what is the same', async () => {
    const scope = `conversation ${number++}`
    const messages = conversation([[video(16_000, 1), text('What?')]], [])
    const silent = await both(messages, scope, undefined)
    const first = oneSystemTurn ? silent : await both(messages, scope, hosted.speakers.at(-1))
    for (const voice of hosted.speakers) {
      const { cached } = await both(messages, scope, voice)
      expect(cached).toBe(first.total - 1)
    }
    expect((await both(messages, scope, undefined)).cached).toBe(silent.total - 1)
  })

  it('an aborted reply leaves what was computed', async () => {
    const scope = `conversation ${number++}`
    const messages = conversation([[image(1), text('What is it, and why? '.repeat(20))]], [])
    const abort = new AbortController()
    const request = makeRequest({ model: name, messages, maxTokens: 10, voice: 'Ethan', cacheScope: scope })
    const cut = (async () => {
      for await (const event of hosted.runtime.generate(request, abort.signal))
        if (event.type === 'text-delta' || event.type === 'audio-delta') abort.abort(new Error('enough'))
    })()
    await expect(cut).rejects.toThrow('enough')
    const { cached, total } = await both(messages, scope, 'Ethan')
    expect(cached).toBe(total - 1)
  })

  it('what one scope sent is not found by another', async () => {
    const messages = conversation([[image(9), text('Mine?')]], [])
    await both(messages, 'one', 'Ethan')
    expect((await both(messages, 'another', 'Ethan')).cached).toBe(0)
    expect((await both(messages, 'one', 'Ethan')).cached).toBeGreaterThan(0)
  })

  it.runIf(oneSystemTurn)('a shared prompt is found by all, and stays', async () => {
    const shared = goldenMessages({
      messages: [{ role: 'system', content: [text('Speak as people speak, in short sentences. '.repeat(6))] }],
    })
    const user = (words: string): GenerationMessage[] => [
      ...shared,
      { role: 'user', content: [{ type: 'text', text: words }] },
    ]
    const scopes = ['one', 'two', 'three']
    const fresh: (readonly number[])[] = []
    for (const scope of scopes) {
      const { request, reply } = ask(user(`I am ${scope}.`), undefined, 'Ethan')
      await reply
      fresh.push([...tokens.get(request.id)!, ...frames.get(request.id)!.flat()])
    }
    await hosted.runtime.share(shared, new AbortController().signal)
    for (const [index, scope] of scopes.entries()) {
      const { request, reply } = ask(user(`I am ${scope}.`), scope, 'Ethan')
      expect((await reply).usage.prompt?.cached).toBeGreaterThan(40)
      expect([...tokens.get(request.id)!, ...frames.get(request.id)!.flat()]).toEqual(fresh[index])
    }
    // A request without a scope finds only the server's own prefixes.
    const unscoped = await ask(user('I am nobody.'), undefined, undefined).reply
    expect(unscoped.usage.prompt?.cached).toBeGreaterThan(40)
  })
})

it('prefills the system prompts it is loaded with, where the context is long enough', async () => {
  const text = 'You speak as people speak: short sentences, everyday words, a friendly tone.'
  const options = { checkpoint: tinyCheckpoint('tiny-moe'), id: 'tiny', device: 'cpu', threads: 1 } as const
  for (const [minContext, kept] of [
    [100, 1],
    [1e6, 0],
  ] as const) {
    const hosted = await loadHostedModel({ ...options, systemPrompts: [{ text, minContext }] }, () => undefined)
    try {
      const { prefixes, tokens: shared } = hosted.runtime.cached
      expect(prefixes).toBe(kept)
      expect(shared).toBeGreaterThanOrEqual(20 * kept)
      const messages: GenerationMessage[] = [
        { role: 'system', content: [{ type: 'text', text }] },
        { role: 'user', content: [{ type: 'text', text: 'Hello.' }] },
      ]
      const reply = await readReply(hosted.runtime, makeRequest({ messages, maxTokens: 2, cacheScope: 'me' }))
      expect(reply.usage.prompt?.cached ?? 0).toBe(shared)
    } finally {
      await hosted.runtime.close()
      hosted.dispose()
    }
  }
})
