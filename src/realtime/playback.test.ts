import { describe, expect, it } from 'vitest'
import { Playback, playedText } from './playback.ts'

describe('playback', () => {
  it('runs in real time from the first piece on', () => {
    const playback = new Playback()
    expect(playback.playedMs(5)).toBe(0)
    playback.sent(400, 100)
    playback.sent(600, 110)
    expect([playback.playedMs(350), playback.playedMs(9000), playback.sentMs]).toEqual([250, 1000, 1000])
  })
})

describe('the text that was played', () => {
  it.each([
    ['nothing of it', 'one two three', 0, 1000, ''],
    ['all of it', 'one two three', 1000, 1000, 'one two three'],
    ['whole words', 'one two three', 500, 1000, 'one'],
    ['an estimate where the length is unknown', 'one two three', 65 * 7, undefined, 'one two'],
    ['Han characters one by one', '你好世界', 440, undefined, '你好'],
  ] as const)('is %s', (_, text, played, whole, kept) => {
    expect(playedText(text, played, whole).trim()).toBe(kept)
  })
})
