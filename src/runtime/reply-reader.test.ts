import { describe, expect, it } from 'vitest'
import { fakeIds, fakeTokenizer } from '../../testing/fake-model.ts'
import { ReplyReader, type ReplyReaderOptions } from './reply-reader.ts'
import { createStopStrings } from './stop-strings.ts'

const think = { open: fakeIds.thinkOpen, close: fakeIds.thinkClose }

/** Tokens that are texts of several characters, for stop strings that begin inside a token. */
function pieces(...texts: string[]): Pick<ReplyReaderOptions, 'tokenizer'> & { ids: number[] } {
  return {
    ids: texts.map((_, index) => 500 + index),
    tokenizer: {
      ...fakeTokenizer,
      createDetokenizer: () => ({ push: (id) => texts[id - 500] ?? '', finish: () => '' }),
    },
  }
}

function readAll(
  ids: readonly number[],
  options: Partial<ReplyReaderOptions> = {},
): { text: string; reasoning: string; spoken: number[]; stopped: boolean; sent: string[]; reader: ReplyReader } {
  const reader = new ReplyReader({ tokenizer: fakeTokenizer, stop: [], think, ...options })
  const out = { text: '', reasoning: '', spoken: [] as number[], stopped: false, sent: [] as string[], reader }
  const take = (step: ReturnType<ReplyReader['push']>): void => {
    for (const piece of step.pieces) {
      out[piece.channel] += piece.text
      out.sent.push(piece.text)
    }
    out.spoken.push(...step.spoken.map(({ id }) => id))
    out.stopped = step.stopped
  }
  for (const id of ids) {
    take(reader.push(id))
    if (out.stopped) return out
  }
  take(reader.finish())
  return out
}

const idsOf = (step: ReturnType<ReplyReader['push']>): number[] => step.spoken.map(({ id }) => id)

const bytes = (text: string): number[] => [...new TextEncoder().encode(text)]

describe('characters', () => {
  it('sends no half of a character', () => {
    const { sent, text } = readAll(bytes('héllo 你好 👋🏽'))
    expect(text).toBe('héllo 你好 👋🏽')
    expect(sent.join('')).not.toContain('\uFFFD')
  })

  it('marks a character that was cut off', () => {
    expect(readAll(bytes('好').slice(0, 2)).text).toBe('\uFFFD')
  })
})

describe('stop strings', () => {
  it('ends before the stop string and never sends a part of it', () => {
    const { text, stopped, sent } = readAll(bytes('one\n\nUser: two'), { stop: ['\nUser:'] })
    expect(text).toBe('one\n')
    expect(stopped).toBe(true)
    expect(sent.join('')).toBe('one\n')
  })

  it('sends what only looked like one', () => {
    expect(readAll(bytes('a<b<c'), { stop: ['<|'] }).text).toBe('a<b<c')
    expect(readAll(bytes('a<'), { stop: ['<|'] }).text).toBe('a<')
  })

  it('takes the earliest of several, whatever the pieces', () => {
    const text = 'xx stop yy end zz'
    for (let width = 1; width <= text.length; width += 1) {
      const stops = createStopStrings(['end', 'stop y', ''])
      let out = ''
      let stopped = false
      for (let at = 0; at < text.length && !stopped; at += width) {
        const step = stops.push(text.slice(at, at + width))
        out += step.text
        stopped = step.stopped
      }
      expect(out).toBe('xx ')
    }
  })
})

describe('reasoning', () => {
  const reply = [fakeIds.thinkOpen, ...bytes('\nhm, 好\n'), fakeIds.thinkClose, ...bytes('\n\nYes.')]

  it('goes to its own channel without markers and edges, and is never spoken', () => {
    const out = readAll(reply)
    expect(out.reasoning).toBe('hm, 好\n')
    expect(out.text).toBe('Yes.')
    expect(out.spoken).toEqual(bytes('Yes.'))
    expect(out.reader.reasoningTokens).toBe(bytes('\nhm, 好\n').length)
    expect(out.reader.textTokens).toBe(4)
  })

  it('may have been opened by the prompt', () => {
    const out = readAll(reply.slice(1), { startsInReasoning: true })
    expect([out.reasoning, out.text]).toEqual(['hm, 好\n', 'Yes.'])
  })

  it('is not looked at for stop strings', () => {
    expect(readAll(reply, { stop: ['hm'] }).text).toBe('Yes.')
  })

  it('is plain text where the markers are unknown', () => {
    const out = readAll([fakeIds.thinkOpen, ...bytes('a')], { think: undefined })
    expect(out.text).toBe('a')
    expect(out.spoken).toEqual([fakeIds.thinkOpen, ...bytes('a')])
  })
})

describe('speech', () => {
  it('is given every token of the answer, once its text is out', () => {
    const reader = new ReplyReader({ tokenizer: fakeTokenizer, stop: ['\nUser'], think })
    expect(idsOf(reader.push(97))).toEqual([97])
    expect(idsOf(reader.push(10))).toEqual([])
    expect(idsOf(reader.push(98))).toEqual([10, 98])
  })

  it('holds the bytes of an unfinished character back together', () => {
    const [first, second, third] = bytes('好') as [number, number, number]
    const reader = new ReplyReader({ tokenizer: fakeTokenizer, stop: [], think })
    expect(idsOf(reader.push(first))).toEqual([])
    expect(idsOf(reader.push(second))).toEqual([])
    expect(idsOf(reader.push(third))).toEqual([first, second, third])
  })

  it('speaks the shown part of a token that runs into a stop string', () => {
    const { ids, tokenizer } = pieces('Hi', ' there. EN', 'D now')
    const out = readAll(ids, { tokenizer, stop: ['END'] })
    expect(out.text).toBe('Hi there. ')
    expect(out.spoken).toEqual([500, ...bytes(' there. ')])
  })

  it('leaves out a token on request', () => {
    const reader = new ReplyReader({ tokenizer: fakeTokenizer, stop: [], think })
    expect(reader.push(97, { speak: false })).toEqual({
      pieces: [{ channel: 'text', text: 'a' }],
      spoken: [],
      stopped: false,
    })
    expect(idsOf(reader.finish())).toEqual([])
  })
})
