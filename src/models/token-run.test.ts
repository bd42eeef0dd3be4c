import { describe, expect, it } from 'vitest'

import { commonPrefix, type MediaRows, runOf, type TokenRun } from './token-run.ts'

function run(ids: readonly number[], media: readonly MediaRows[] = [], shift = 0): TokenRun {
  return {
    tokenIds: Int32Array.from(ids),
    positions: Float32Array.from({ length: 3 * ids.length }, (_, i) => (i % ids.length) + shift),
    media,
  }
}

const at = (key: string | undefined, ...rows: number[]): MediaRows => ({ key, rows: Int32Array.from(rows) })

describe('common prefix', () => {
  it('ends where ids or positions differ', () => {
    expect(commonPrefix(run([1, 2, 3, 4]), run([1, 2, 3, 5, 6]))).toBe(3)
    expect(commonPrefix(run([1, 2]), run([1, 2, 3]))).toBe(2)
    expect(commonPrefix(run([]), run([1]))).toBe(0)
    const moved = run([1, 2, 3, 4])
    moved.positions[4 + 2] = 9
    expect(commonPrefix(moved, run([1, 2, 3, 4]))).toBe(2)
    expect(commonPrefix(run([1, 2], [], 1), run([1, 2]))).toBe(0)
  })

  it('ends before a medium with another key or without one', () => {
    const ids = [1, 9, 9, 2, 9, 9, 3]
    const first = [at('a', 1, 2), at('b', 4, 5)]
    expect(commonPrefix(run(ids, first), run(ids, first))).toBe(7)
    expect(commonPrefix(run(ids, first), run(ids, [at('a', 1, 2), at('c', 4, 5)]))).toBe(4)
    expect(commonPrefix(run(ids, [at(undefined, 1, 2)]), run(ids, [at(undefined, 1, 2)]))).toBe(1)
    expect(commonPrefix(run(ids, first), run(ids, [at('a', 1, 2)]))).toBe(4)
    expect(commonPrefix(run(ids, [at('a', 1, 2)]), run(ids, first))).toBe(4)
  })

  it('ends where a medium spreads over other rows', () => {
    const ids = [1, 9, 9, 9, 9, 2]
    const one = run(ids, [at('v', 1, 2, 4), at('s', 3)])
    expect(commonPrefix(one, run(ids, [at('v', 1, 2, 3), at('s', 4)]))).toBe(3)
  })
})

it('a run holds the prompt and what was generated, up to what was computed', () => {
  const prompt = {
    tokenIds: Int32Array.of(5, 6, 7),
    positions: Float32Array.of(0, 1, 1.5, 0, 1, 2, 0, 1, 1),
    nextPosition: 4.5,
  }
  const media = [at('m', 1), at('n', 2)]
  const whole = runOf(prompt, media, [8, 9, 10], 5)
  expect(Array.from(whole.tokenIds)).toEqual([5, 6, 7, 8, 9])
  expect(Array.from(whole.positions)).toEqual([0, 1, 1.5, 4.5, 5.5, 0, 1, 2, 4.5, 5.5, 0, 1, 1, 4.5, 5.5])
  const cut = runOf(prompt, media, [8], 2)
  expect(Array.from(cut.tokenIds)).toEqual([5, 6])
  expect(cut.media).toEqual([media[0]])
})
