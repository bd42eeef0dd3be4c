/** Audio encoded in parts before its end was there gives what encoding at once gives, in both families. */

import { afterAll, describe, expect, it } from 'vitest'
import { loadTiny25Model, loadTinyModel } from '../../testing/tiny-model.ts'
import { formulaLogMel } from '../../testing/formula-media.ts'
import type { AudioEncoderStage } from './stages.ts'

const checkpoints = {
  'tiny-moe': () => loadTinyModel('tiny-moe'),
  'tiny25-grouped': () => loadTiny25Model('tiny25-grouped'),
  // Odd chunks: two of them make a window.
  'tiny25-even': () => loadTiny25Model('tiny25-even'),
}

describe.each(Object.entries(checkpoints))('%s', async (_, load) => {
  const tiny = await load()
  afterAll(() => tiny[Symbol.dispose]())
  const encoder: AudioEncoderStage = tiny.model.audioEncoder!
  const windows = encoder.windows!

  it.each([0.4, 1, 1.3, 2, 2.79])('%f windows', async (share) => {
    const frames = Math.round(windows.frames * share)
    const mel = formulaLogMel(128, frames)
    const wanted = await encoder.encode(mel, frames)
    const part = (from: number, count: number): Float32Array => {
      const out = new Float32Array(128 * count)
      for (let band = 0; band < 128; band++)
        out.set(mel.subarray(band * frames + from, band * frames + from + count), band * count)
      return out
    }
    const { chunkFrames = Infinity } = windows
    const chunks = new Map<number, Float32Array>()
    for (let from = 0; from + chunkFrames <= frames; from += chunkFrames)
      chunks.set(from, await windows.chunk!(part(from, chunkFrames)))
    const whole = new Map<number, Float32Array>()
    for (let from = 0; from + windows.frames <= frames; from += windows.frames) {
      const known = [...chunks].filter(([at]) => at >= from && at < from + windows.frames).map(([, chunk]) => chunk)
      const output = await windows.window(part(from, windows.frames), known)
      expect(output.length).toBe(windows.tokens * tiny.model.thinker.hiddenSize)
      expect(await windows.window(part(from, windows.frames), known.slice(0, 3))).toEqual(output)
      whole.set(from, output)
    }
    const given: number[] = []
    const ahead = {
      window: (from: number) => {
        given.push(from)
        return whole.get(from)
      },
      chunk: (from: number) => chunks.get(from),
    }
    const output = await encoder.encode(mel, frames, { ahead })
    expect(output).toEqual(wanted)
    expect(given.length).toBe(Math.ceil(frames / windows.frames))
    // Where not all windows are known, those that are not are computed.
    whole.delete(0)
    expect(await encoder.encode(mel, frames, { ahead })).toEqual(wanted)
  })
})
