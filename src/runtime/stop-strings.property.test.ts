import { expect, it } from 'vitest'
import { fc, runs } from '../../testing/property.ts'
import { createStopStrings } from './stop-strings.ts'

// Few letters, so that beginnings of stop strings are common.
const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'é', '😀'), maxLength: 6 })

it('cuts at the stop string that begins first, however the text arrives, and sends nothing of it', () => {
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 12 }), fc.array(letters, { maxLength: 4 }), (pieces, stops) => {
      const cutter = createStopStrings(stops)
      const whole = pieces.join('')
      let sent = ''
      let stopped = false
      let given = ''
      for (const piece of pieces) {
        given += piece
        const result = cutter.push(piece)
        sent += result.text
        stopped = result.stopped
        if (stopped) break
      }
      if (!stopped) sent += cutter.flush()
      const real = stops.filter((stop) => stop !== '')
      const places = real.map((stop) => given.indexOf(stop)).filter((at) => at >= 0)
      expect(stopped).toBe(places.length > 0)
      expect(sent).toBe(stopped ? given.slice(0, Math.min(...places)) : whole)
    }),
    runs(1000),
  )
})

it('holds back no more than a stop string less one letter', () => {
  fc.assert(
    fc.property(fc.array(letters), fc.array(letters, { minLength: 1, maxLength: 4 }), (pieces, stops) => {
      const cutter = createStopStrings(stops)
      const longest = Math.max(1, ...stops.map((stop) => stop.length))
      let held = 0
      for (const piece of pieces) {
        const { text, stopped } = cutter.push(piece)
        if (stopped) return
        held += piece.length - text.length
        expect(held).toBeLessThan(longest)
      }
    }),
  )
})
