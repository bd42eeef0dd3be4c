/** Concurrent streams: each carries its own state, in one device buffer once the state's layout is known. */

import { afterAll, beforeAll, expect, it } from 'vitest'

import { formulaCodes } from '../../../testing/formula-media.ts'
import { loadTinyModel, type TinyModel } from '../../../testing/tiny-model.ts'

let tiny: TinyModel

beforeAll(async () => {
  tiny = await loadTinyModel('tiny-moe')
})

afterAll(() => {
  tiny[Symbol.dispose]()
})

it('later streams carry theirs in one buffer, and give the same samples', async () => {
  const code2wav = tiny.model.code2wav!
  const { num_quantizers: groups, codebook_size: size } = (
    tiny.config as { code2wav_config: { num_quantizers: number; codebook_size: number } }
  ).code2wav_config
  const codes = formulaCodes(groups, 9, size)
  const halves = [codes.subarray(0, 5 * groups), codes.subarray(5 * groups)]
  const first = code2wav.newStream()
  const wanted = [await first.push(halves[0]!), await first.push(halves[1]!)]
  const { objects } = tiny.backend.memory
  const second = code2wav.newStream()
  const third = code2wav.newStream()
  // A buffer and its records each.
  expect(tiny.backend.memory.objects - objects).toBe(4)
  const samples: Float32Array[][] = [[], []]
  for (const half of halves)
    for (const [i, stream] of [second, third].entries()) samples[i]!.push(await stream.push(half))
  expect(samples[0]).toEqual(wanted)
  expect(samples[1]).toEqual(wanted)
  for (const stream of [first, second, third]) stream[Symbol.dispose]()
})
