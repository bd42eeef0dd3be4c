import { describe, expect, it } from 'vitest'
import { chatCompletionChunkSchema } from '../../protocol/index.ts'
import { AudioPieces } from './audio-pieces.ts'
import { ChunkWriter, type ReplyFacts } from './chunk-writer.ts'

const facts: ReplyFacts = {
  requestId: 'a68eca3b-c67e-4666-a72f-73c0b4919860',
  created: 1757647879,
  model: 'qwen3-omni-flash',
  thinking: false,
  speaks: true,
  spokenTextIn: 'content',
}

const events = (text: string): string[] => text.split('\n\n').filter((line) => line !== '')
const parse = (text: string) => events(text).map((line) => JSON.parse(line.slice('data: '.length)))

describe('chunks', () => {
  it('are the guide’s, byte for byte', () => {
    // A line as printed in the guide.
    expect(new ChunkWriter(facts).text('我')).toBe(
      'data: {"choices":[{"delta":{"content":"我"},"finish_reason":null,"index":0,"logprobs":null}],"object":"chat.completion.chunk","usage":null,"created":1757647879,"system_fingerprint":null,"model":"qwen3-omni-flash","id":"chatcmpl-a68eca3b-c67e-4666-a72f-73c0b4919860"}\n\n',
    )
    const [audio] = parse(new ChunkWriter(facts).audio(new Int16Array([-2, 0, 0])))
    expect(audio.choices[0].delta).toEqual({
      audio: { data: '/v8AAAAA', expires_at: 1757647879, id: 'audio_a68eca3b-c67e-4666-a72f-73c0b4919860' },
    })
  })

  it('open, reason, answer and close as in the thinking sample', () => {
    const writer = new ChunkWriter({ ...facts, thinking: true, speaks: false })
    const chunks = parse(
      writer.role() +
        writer.reasoning('嗯') +
        writer.text('告訴我') +
        writer.end('stop', undefined).replace('data: [DONE]\n\n', ''),
    )
    expect(chunks.map((chunk) => chunk.choices[0].delta)).toEqual([
      { content: null, role: 'assistant', reasoning_content: '' },
      { content: null, reasoning_content: '嗯' },
      { content: '告訴我' },
      { content: '', reasoning_content: null },
    ])
    expect(chunks.at(-1).choices[0].finish_reason).toBe('stop')
    for (const chunk of chunks) expect(chatCompletionChunkSchema.strict().safeParse(chunk).error).toBeUndefined()
  })

  it('carry usage only when asked, with no choices', () => {
    const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }
    const ending = new ChunkWriter(facts).end('length', usage)
    const lines = events(ending)
    expect(lines).toHaveLength(3)
    expect(JSON.parse(lines[1]?.slice(6) ?? '')).toMatchObject({ choices: [], usage, created: facts.created })
    expect(lines[2]).toBe('data: [DONE]')
    expect(events(new ChunkWriter(facts).end('stop', undefined))).toHaveLength(2)
  })

  it.each([
    ['content', { content: 'x' }],
    ['transcript', { audio: { transcript: 'x' } }],
    ['both', { content: 'x', audio: { transcript: 'x' } }],
  ] as const)('put spoken text in %s', (spokenTextIn, delta) => {
    expect(parse(new ChunkWriter({ ...facts, spokenTextIn }).text('x'))[0].choices[0].delta).toEqual(delta)
    // Text without speech is content, whatever the setting.
    const written = new ChunkWriter({ ...facts, spokenTextIn, speaks: false }).text('x')
    expect(parse(written)[0].choices[0].delta).toEqual({ content: 'x' })
  })

  it('escape what JSON must', () => {
    const text = '"\\\n\u2028\u0000😀'
    expect(parse(new ChunkWriter(facts).text(text))[0].choices[0].delta.content).toBe(text)
  })
})

describe('audio pieces', () => {
  it('join as strings and decode one by one, whatever sizes come in', () => {
    let seed = 1
    const random = (): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
      return seed / 2_147_483_648
    }
    for (let round = 0; round < 50; round += 1) {
      const cutter = new AudioPieces()
      const all: number[] = []
      const pieces: string[] = []
      for (let event = 0; event < 20; event += 1) {
        const pcm = Int16Array.from({ length: Math.floor(random() * (round % 5 === 0 ? 9000 : 40)) }, () =>
          Math.floor(random() * 65_536 - 32_768),
        )
        all.push(...pcm)
        pieces.push(...cutter.push(pcm))
      }
      pieces.push(...cutter.end())
      expect(cutter.samples).toBe(all.length)
      const joined = Buffer.from(pieces.join(''), 'base64')
      expect(Array.from({ length: joined.length / 2 }, (_, index) => joined.readInt16LE(index * 2))).toEqual(all)
      for (const piece of pieces.slice(0, -1)) {
        expect(piece).not.toContain('=')
        expect(Buffer.from(piece, 'base64').length % 6).toBe(0)
        expect(Buffer.from(piece, 'base64').length).toBeLessThanOrEqual(11_520)
      }
    }
  })

  it('reads only within a view into a larger buffer', () => {
    const whole = new Int16Array([9, 9, 1, 2, 3, 9])
    expect([...new AudioPieces().push(whole.subarray(2, 5))]).toEqual(['AQACAAMA'])
  })
})
