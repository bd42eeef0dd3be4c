import { describe, expect, it } from 'vitest'
import { fakeIds } from '../../../../testing/fake-model.ts'
import { fakeSpeechConfig as config } from '../../../../testing/fake-talker.ts'
import type { PromptFeature } from '../../../prompt/prepared-prompt.ts'
import { planTalkerPrompt } from './talker-prompt.ts'

/** Positions of all three axes from (temporal, height, width) triples or plain numbers. */
function axes(values: readonly (number | readonly [number, number, number])[]): Float32Array {
  const triple = (value: number | readonly [number, number, number]): readonly number[] =>
    typeof value === 'number' ? [value, value, value] : value
  return Float32Array.from([0, 1, 2].flatMap((axis) => values.map((value) => triple(value)[axis]!)))
}

const { imStart, imEnd, user, assistant, system, media } = fakeIds
const turn = (role: number, ...content: number[]): number[] => [imStart, role, 10, ...content, imEnd, 10]
const header = [imStart, assistant, 10]
const load = (): Promise<Float32Array> => Promise.resolve(new Float32Array())

describe('planTalkerPrompt', () => {
  it('keeps user turns and the last header with consecutive positions', () => {
    const ids = [...turn(system, 1, 2), ...turn(user, 3), ...turn(assistant, 4, 5, 6), ...turn(user, 7, 8), ...header]
    const plan = planTalkerPrompt(
      { tokenIds: Int32Array.from(ids), positions: axes([...ids.keys()]), nextPosition: ids.length, features: [] },
      config,
    )
    expect(Array.from(plan.userRows, (row) => ids[row])).toEqual([...turn(user, 3), ...turn(user, 7, 8)])
    expect(Array.from(plan.header)).toEqual(header)
    expect(Array.from(plan.positions)).toEqual(Array.from(axes(Array.from({ length: 13 + 9 }, (_, row) => row))))
    expect(plan.nextPosition).toBe(22)
  })

  it("shifts an image's positions with its turn", () => {
    const ids = [...turn(system), ...turn(user, media, media, 3), ...header]
    // The grid of two starts at 8 and is one high: text continues at 10.
    const places: (number | [number, number, number])[] = [0, 1, 2, 3, 4, 5, 6, 7, [8, 8, 8], [8, 8, 9]]
    const rest = [10, 11, 12, 13, 14, 15]
    const features: PromptFeature[] = [
      { type: 'vision', load, grid: [1, 1, 2], rows: Int32Array.of(8, 9) },
    ]
    const plan = planTalkerPrompt(
      { tokenIds: Int32Array.from(ids), positions: axes([...places, ...rest]), nextPosition: 16, features },
      config,
    )
    expect(Array.from(plan.isMedia)).toEqual([0, 0, 0, 1, 1, 0, 0, 0])
    const opening = Array.from({ length: 9 }, (_, row) => 8 + row)
    expect(Array.from(plan.positions)).toEqual(Array.from(axes([0, 1, 2, [3, 3, 3], [3, 3, 4], 5, 6, 7, ...opening])))
  })

  it('gives a video with audio positions like text, unless an image follows', () => {
    const video: (number | [number, number, number])[] = [[3, 3, 3], [3, 3, 4], 3, 4, [16, 3, 3], [16, 3, 4]]
    const videoFeatures = (from: number): PromptFeature[] => [
      {
        type: 'vision',
        load,
        grid: [2, 1, 2],
        rows: Int32Array.of(from, from + 1, from + 4, from + 5),
      },
      { type: 'audio', load, frames: 0, rows: Int32Array.of(from + 2, from + 3) },
    ]
    const six = [media, media, media, media, media, media]
    const alone = [...turn(user, ...six), ...header]
    const plan = planTalkerPrompt(
      {
        tokenIds: Int32Array.from(alone),
        positions: axes([0, 1, 2, ...video, 17, 18, 19, 20, 21]),
        nextPosition: 22,
        features: videoFeatures(3),
      },
      config,
    )
    expect(Array.from(plan.positions)).toEqual(Array.from(axes(Array.from({ length: 11 + 9 }, (_, row) => row))))

    const followed = [...turn(user, ...six, media), ...header]
    const both = planTalkerPrompt(
      {
        tokenIds: Int32Array.from(followed),
        positions: axes([0, 1, 2, ...video, 17, 18, 19, 20, 21, 22]),
        nextPosition: 23,
        features: [
          ...videoFeatures(3),
          { type: 'vision', load, grid: [1, 1, 1], rows: Int32Array.of(9) },
        ],
      },
      config,
    )
    const opening = Array.from({ length: 9 }, (_, row) => 20 + row)
    expect(Array.from(both.positions)).toEqual(Array.from(axes([0, 1, 2, ...video, 17, 18, 19, ...opening])))
  })

  it('refuses a prompt without an assistant header', () => {
    const ids = turn(user, 3)
    expect(() =>
      planTalkerPrompt(
        { tokenIds: Int32Array.from(ids), positions: axes([...ids.keys()]), nextPosition: 6, features: [] },
        config,
      ),
    ).toThrow('assistant header')
  })
})
