import { describe, expect, it } from 'vitest'
import { ContinuousClock } from './clock.ts'

/** Times on the continuous clock for [stream, time] pairs; each packet lasts 0.1 s. */
const run = (packets: readonly (readonly [number, number | undefined])[], discontinuous = true) => {
  const clock = new ContinuousClock(discontinuous)
  const times = packets.map(([stream, time]) => {
    const offset = clock.offset(stream, time, 0.1)
    return time === undefined ? undefined : Math.round((time + offset) * 1000) / 1000
  })
  return { times, jumps: clock.jumps }
}

describe('a continuous clock', () => {
  it('leaves a clock without jumps unchanged, with its pauses', () => {
    expect(
      run([
        [0, 7],
        [1, 7.05],
        [0, 7.1],
        [1, 9.9],
        [0, 10],
      ]),
    ).toEqual({ times: [7, 7.05, 7.1, 9.9, 10], jumps: 0 })
  })

  it('removes a jump forward from both streams by the same offset', () => {
    expect(
      run([
        [0, 0],
        [1, 0.02],
        [0, 5000],
        [1, 5000.02],
        [0, 5000.1],
      ]),
    ).toEqual({
      times: [0, 0.02, 0.12, 0.14, 0.22],
      jumps: 1,
    })
  })

  it('continues after a restart at zero', () => {
    expect(
      run([
        [0, 0],
        [1, 0],
        [0, 0.9],
        [1, 0.9],
        [0, 0],
        [1, 0],
        [0, 0.1],
      ]),
    ).toMatchObject({
      times: [0, 0, 0.9, 0.9, 1, 1, 1.1],
      jumps: 1,
    })
  })

  it('accepts a late packet from before the jump', () => {
    expect(
      run([
        [0, 3],
        [1, 3],
        [0, 9000],
        [1, 3.1],
        [1, 9000],
      ]),
    ).toEqual({ times: [3, 3, 3.1, 3.1, 3.1], jumps: 1 })
  })

  it('does not treat a pause of one stream as a jump while the other continues', () => {
    const video = Array.from({ length: 30 }, (_, i) => [0, i] as const)
    expect(run([[1, 0], ...video, [1, 29]])).toMatchObject({ jumps: 0 })
  })

  it('recovers after a single wrong timestamp', () => {
    expect(
      run([
        [0, 1],
        [0, 90_000],
        [0, 1.2],
        [0, 1.3],
      ]),
    ).toMatchObject({ times: [1, 1.1, 1.2, 1.3] })
  })

  it('accepts pauses of up to a minute in formats with a continuous clock', () => {
    expect(
      run(
        [
          [0, 0],
          [0, 50],
        ],
        false,
      ).jumps,
    ).toBe(0)
    expect(
      run(
        [
          [0, 0],
          [0, 5000],
        ],
        false,
      ),
    ).toEqual({ times: [0, 0.1], jumps: 1 })
  })

  it('gives packets without timestamps the offset of their stream', () => {
    expect(
      run([
        [0, 5000],
        [0, undefined],
        [0, 0],
        [0, undefined],
        [0, 0.1],
      ]).times,
    ).toEqual([5000, undefined, 5000.1, undefined, 5000.2])
  })
})
