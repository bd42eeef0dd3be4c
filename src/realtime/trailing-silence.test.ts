import { expect, it } from 'vitest'
import { TrailingSilence } from './trailing-silence.ts'

const WINDOW = 512
const LOUD = 0.5

/** Windows of the given amplitudes; from window `since` on they belong to a pause. */
function after(amplitudes: readonly number[], since: number | undefined): number | undefined {
  const silence = new TrailingSilence()
  amplitudes.forEach((amplitude, number) => {
    const pause = since === undefined || number < since ? undefined : { since: since * WINDOW, until: 99_999 }
    silence.push(number * WINDOW, new Float32Array(WINDOW).fill(amplitude), pause)
  })
  return silence.from
}

it('begins some windows after the last speech, as quiet as the room may be', () => {
  expect(after([LOUD, LOUD, 0.04, 0.04], 2)).toBe(8 * WINDOW)
  expect(after([LOUD, LOUD, ...Array.from({ length: 12 }, () => 0.04)], 2)).toBe(8 * WINDOW)
  expect(after([LOUD, LOUD, LOUD], undefined)).toBeUndefined()
})

it('is none where something is loud that is not speech', () => {
  expect(after([LOUD, LOUD, ...Array.from({ length: 6 }, () => 0.3), 0.01], 2)).toBe(8 * WINDOW)
  expect(after([LOUD, LOUD, ...Array.from({ length: 8 }, () => 0.01), 0.06, 0.01], 2)).toBeUndefined()
})

it('is over when somebody speaks, and begins anew', () => {
  const silence = new TrailingSilence()
  const push = (number: number, amplitude: number, since?: number): void => {
    const pause = since === undefined ? undefined : { since: since * WINDOW, until: 99_999 }
    silence.push(number * WINDOW, new Float32Array(WINDOW).fill(amplitude), pause)
  }
  push(0, LOUD)
  for (let number = 1; number < 9; number += 1) push(number, 0.01, 1)
  expect(silence.from).toBe(7 * WINDOW)
  push(9, LOUD)
  expect(silence.from).toBeUndefined()
  push(10, 0.01, 10)
  expect(silence.from).toBe(16 * WINDOW)
  silence.reset()
  expect(silence.from).toBeUndefined()
})
