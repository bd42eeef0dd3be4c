import { describe, expect, it } from 'vitest'
import { RunningClock } from './clock.ts'

/** Times on the running clock of [stream, time] pairs, packets of 0.1 s. */
const run = (packets: readonly (readonly [number, number | undefined])[], discontinuous = true) => {
  const clock = new RunningClock(discontinuous)
  const times = packets.map(([stream, time]) => {
    const offset = clock.offset(stream, time, 0.1)
    return time === undefined ? undefined : Math.round((time + offset) * 1000) / 1000
  })
  return { times, jumps: clock.jumps }
}

describe('a running clock', () => {
  it('leaves a steady clock as it is, pauses included', () => {
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

  it('closes a jump forward, both streams by the same', () => {
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

  it('keeps a packet of the old clock that comes late', () => {
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

  it('takes no pause of one stream for a jump while the other continues', () => {
    const video = Array.from({ length: 30 }, (_, i) => [0, i] as const)
    expect(run([[1, 0], ...video, [1, 29]])).toMatchObject({ jumps: 0 })
  })

  it('comes back from one wrong time', () => {
    expect(
      run([
        [0, 1],
        [0, 90_000],
        [0, 1.2],
        [0, 1.3],
      ]),
    ).toMatchObject({ times: [1, 1.1, 1.2, 1.3] })
  })

  it('trusts a format with a steady clock up to a minute', () => {
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

  it('packets without times follow their stream', () => {
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
