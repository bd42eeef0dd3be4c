/**
 * The embedded checkpoint over HTTP: its replies to held-out input drawn by the grammars of `reference/nano`
 * (`testdata/nano`), and the same greedy answers as transformers on a hundred held-out prompts.
 *
 * The limits are slightly below the results of the published weights; the whole evaluation is
 * `reference/nano/evaluate.py`.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeWav } from '../src/media/index.ts'
import { readReply, type Reply } from './support/reply.ts'
import { serve, type ServeProcess } from './support/serve.ts'

const folder = fileURLToPath(new URL('../testdata/nano', import.meta.url))

interface Case {
  readonly skill: string
  readonly kind: 'image' | 'images' | 'audio' | 'frames' | 'video'
  readonly files: readonly string[]
  readonly question: string
  readonly answer: string
}

interface Golden {
  readonly think: boolean
  readonly messages: readonly { readonly role: string; readonly content: string }[]
  readonly answer: string
}

const read = <T>(name: string): T => JSON.parse(readFileSync(path.join(folder, name), 'utf8')) as T
const dataUri = (name: string): string => `data:;base64,${readFileSync(path.join(folder, name)).toString('base64')}`

function mediaParts({ kind, files }: Case): object[] {
  const uris = files.map((name) => dataUri(name))
  const images = uris.map((uri) => uri.replace('data:;', 'data:image/jpeg;'))
  switch (kind) {
    case 'image':
    case 'images':
      return images.map((url) => ({ type: 'image_url', image_url: { url } }))
    case 'audio':
      return [{ type: 'input_audio', input_audio: { data: uris[0], format: 'ogg' } }]
    case 'frames':
      return [{ type: 'video', video: images }]
    case 'video':
      return [{ type: 'video_url', video_url: { url: uris[0] } }]
  }
}

/** Words of English, characters of Chinese, without punctuation. */
const units = (text: string): string[] => text.toLowerCase().match(/[\u4E00-\u9FFF]|[a-z0-9']+/g) ?? []

/** Word (or Chinese character) error rate. */
function errorRate(wanted: string, got: string): number {
  const a = units(wanted)
  const b = units(got)
  let row = b.map((_, i) => i + 1)
  for (const [i, x] of a.entries()) {
    const next: number[] = []
    for (const [j, y] of b.entries()) {
      const diagonal = j === 0 ? i : row[j - 1]!
      next.push(Math.min(row[j]! + 1, (next[j - 1] ?? i + 1) + 1, diagonal + Number(x !== y)))
    }
    row = next
  }
  return (row.at(-1) ?? a.length) / Math.max(1, a.length)
}

describe('nano', () => {
  let server: ServeProcess
  beforeAll(async () => {
    server = await serve()
  })
  afterAll(() => server[Symbol.asyncDispose]())

  async function ask(messages: readonly object[], change: object = {}): Promise<Reply> {
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'qwen3-omni-flash-2025-12-01',
        stream: true,
        modalities: ['text'],
        messages,
        ...change,
      }),
    })
    expect(response.status, await (response.ok ? '' : response.clone().text())).toBe(200)
    return readReply(response)
  }

  const askAbout = (one: Case): Promise<Reply> => {
    const text = one.question === '' ? [] : [{ type: 'text', text: one.question }]
    return ask([{ role: 'user', content: [...mediaParts(one), ...text] }])
  }

  it("gives transformers' greedy answers with default sampling", async () => {
    const wrong: object[] = []
    for (const { think, messages, answer } of read<Golden[]>('answers.json')) {
      const reply = await ask(messages, { enable_thinking: think })
      const whole = think ? `${reply.reasoning}</think>\n\n${reply.text}` : reply.text
      if (whole.replaceAll(/\s/g, '') !== answer.replaceAll(/\s/g, '')) wrong.push({ messages, answer, whole })
    }
    expect(wrong, JSON.stringify(wrong, null, 1)).toEqual([])
  })

  it('bounds reasoning and answer together by max_completion_tokens, the answer alone by max_tokens', async () => {
    const think = (change: object): Promise<Reply> =>
      ask([{ role: 'user', content: 'What is 2+2?' }], {
        enable_thinking: true,
        temperature: 0,
        stream_options: { include_usage: true },
        ...change,
      })
    const counts = ({ usage, finish }: Reply): object => ({
      all: usage!.completion_tokens,
      reasoning: usage!.completion_tokens_details?.reasoning_tokens ?? 0,
      finish,
    })
    const whole = await think({})
    const all = whole.usage!.completion_tokens
    const reasoning = whole.usage!.completion_tokens_details!.reasoning_tokens!
    expect([whole.finish, all - reasoning >= 4]).toEqual(['stop', true])
    // Within the reasoning; within the answer, whose beginning also takes the marks between; not at all.
    expect(counts(await think({ max_completion_tokens: 5 }))).toEqual({ all: 5, reasoning: 5, finish: 'length' })
    const cut = await think({ max_completion_tokens: all - 1 })
    expect(counts(cut)).toMatchObject({ reasoning, finish: 'length' })
    expect(cut.usage!.completion_tokens).toBeLessThan(all)
    expect([whole.text.startsWith(cut.text), cut.text !== '']).toEqual([true, true])
    expect(counts(await think({ max_tokens: 2 }))).toEqual({ all: reasoning + 2, reasoning, finish: 'length' })
  })

  const cases = read<Case[]>('cases.json')
  it.each(Object.entries(read<Record<string, number>>('floors.json')))(
    'answers about what it was not trained on: %s (at least %f right)',
    async (skill, floor) => {
      const asked = cases.filter((one) => one.skill === skill)
      expect(asked.length).toBeGreaterThan(0)
      let right = 0
      const wrong: string[] = []
      for (const one of asked) {
        const { text } = await askAbout(one)
        const share =
          one.skill === 'speech' ? 1 - Math.min(1, errorRate(one.answer, text)) : Number(text === one.answer)
        right += share
        if (share < 1) wrong.push(`${one.files[0]}: ${one.answer} / ${text}`)
      }
      expect(right / asked.length, wrong.join('\n')).toBeGreaterThanOrEqual(floor)
    },
  )

  it('transcribes its own spoken replies', async () => {
    const rates: number[] = []
    for (const [question, voice] of [
      ['Who are you?', 'Cherry'],
      ['Hello', 'Ethan'],
      ['What is 3 plus 4?', 'Cherry'],
      ['Thank you', 'Jennifer'],
      ['Good night', 'Serena'],
      ['你好', 'Cherry'],
      ['你是谁?', 'Ethan'],
      ['谢谢', 'Serena'],
    ] as const) {
      const reply = await ask([{ role: 'user', content: question }], {
        modalities: ['text', 'audio'],
        audio: { voice, format: 'wav' },
        seed: 7,
      })
      const seconds = reply.samples.length / 24_000
      const loudest = reply.samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0)
      expect(seconds, question).toBeGreaterThan(0.08 * units(reply.text).length)
      expect(seconds, question).toBeLessThan(1 + 0.9 * units(reply.text).length)
      expect(loudest, question).toBeGreaterThan(2000)
      expect(loudest, question).toBeLessThan(32_767)
      const wav = `data:;base64,${Buffer.from(encodeWav(reply.samples, 24_000)).toString('base64')}`
      const chinese = /[\u4E00-\u9FFF]/.test(reply.text)
      const transcript = await ask([
        {
          role: 'user',
          content: [
            { type: 'input_audio', input_audio: { data: wav, format: 'wav' } },
            { type: 'text', text: chinese ? '我说了什么?' : 'What did I say?' },
          ],
        },
      ])
      rates.push(Math.min(1, errorRate(reply.text, transcript.text)))
    }
    expect(rates.reduce((sum, rate) => sum + rate, 0) / rates.length, rates.join(' ')).toBeLessThan(0.15)
  })
})
