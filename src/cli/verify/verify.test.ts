import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { chooseVoices, correlation, signalToNoise } from './checks.ts'
import { edits, quoted, units } from './error-rate.ts'
import { lettering } from './lettering.ts'
import { makeTasks } from './tasks.ts'

describe('edits', () => {
  it('counts English words and Chinese characters without punctuation', () => {
    expect(units("It's 5 o'clock, 你好！")).toEqual(["it's", '5', "o'clock", '你', '好'])
    expect(edits('The cat sees a ball.', 'the cat sees a ball')).toBe(0)
    expect(edits('The cat sees a ball.', 'The dog sees the big ball.')).toBe(3)
    expect(edits('我很好，谢谢你。', '我很高谢你')).toBe(2)
    expect(edits('one two', '')).toBe(2)
    expect(edits('', 'one two')).toBe(2)
  })

  it('uses the quoted part of a reply', () => {
    expect(quoted("The original content of this audio is: 'It's noon.'")).toBe("It's noon.")
    expect(quoted('内容是：“你好。”')).toBe('你好。')
    expect(quoted('The ferry leaves: at noon.')).toBe('The ferry leaves: at noon.')
  })
})

describe('lettering', () => {
  const bytesOf = async (text: string): Promise<{ ink: number; all: number; edge: number }> => {
    const [width, height] = [200, 120]
    const svg = lettering({ text, width, height, ink: '#000000', paper: '#ffffff' })
    const { data } = await sharp(Buffer.from(svg)).greyscale().raw().toBuffer({ resolveWithObject: true })
    const dark = [...data.keys()].filter((i) => data[i]! < 128)
    const edge = dark.filter((i) => {
      const [x, y] = [i % width, Math.floor(i / width)]
      return x < 3 || y < 3 || x >= width - 3 || y >= height - 3
    })
    return { ink: dark.length, all: data.length, edge: edge.length }
  }

  it('draws each character inside the image and differently', async () => {
    const characters = '0123456789abcdefghijklmnopqrstuvwxyz'.split('')
    const drawn = new Set<number>()
    for (const character of characters) {
      const { ink, all, edge } = await bytesOf(character)
      expect(ink, character).toBeGreaterThan(100)
      expect(ink, character).toBeLessThan(all / 2)
      expect(edge, character).toBe(0)
      drawn.add(ink)
    }
    expect(drawn.size).toBeGreaterThan(24)
    expect((await bytesOf('98765')).edge).toBe(0)
  })

  it('does not need a font', () => {
    expect(lettering({ text: 'star 42', width: 90, height: 60, ink: 'red', paper: 'white' })).not.toMatch(/<text|font/)
    expect(() => lettering({ text: 'é', width: 90, height: 60, ink: 'red', paper: 'white' })).toThrow('no glyph')
  })
})

describe('tasks', () => {
  it('are the same for the same seed and can all be drawn', () => {
    for (const level of ['demo', 'full'] as const) {
      expect(makeTasks(level, 7)).toEqual(makeTasks(level, 7))
      expect(makeTasks(level, 7)).not.toEqual(makeTasks(level, 8))
      for (let seed = 0; seed < 40; seed += 1) {
        const { drawings, sums } = makeTasks(level, seed)
        expect(new Set(drawings.filter(({ kind }) => kind === 'word').map(({ shown }) => shown)).size).toBe(6)
        for (const drawing of drawings) lettering({ ...drawing, text: drawing.shown })
        for (const { text, answer } of sums) {
          const [a = 0, b = 0] = (text.match(/\d+/g) ?? []).map(Number)
          expect(answer).toBe(String(a + b))
        }
      }
    }
  })
})

it('chooses two voices if there are two', () => {
  expect(chooseVoices(['aiden', 'chelsie', 'ethan'])).toEqual(['chelsie', 'ethan'])
  expect(chooseVoices(['ann', 'bob', 'carl'])).toEqual(['ann', 'carl'])
  expect(chooseVoices(['ann'])).toEqual(['ann'])
  expect(chooseVoices([])).toEqual([])
})

it('computes the signal-to-noise ratio and the correlation', () => {
  const wave = Float32Array.from({ length: 1000 }, (_, i) => Math.sin(i / 9))
  expect(signalToNoise(wave, wave)).toBe(120)
  expect(
    signalToNoise(
      wave,
      wave.map((sample) => sample * 1.01),
    ),
  ).toBeCloseTo(40, 1)
  expect(correlation([1, 2, 3], [2, 4, 6])).toBeCloseTo(1)
  expect(correlation([1, 2, 3], [3, 2, 1])).toBeCloseTo(-1)
  expect(correlation([1, 1], [1, 2])).toBe(0)
})
