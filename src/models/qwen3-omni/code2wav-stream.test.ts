/** Concurrent streams: each carries its own state, in one device buffer once the state's layout is known. */

import { afterAll, beforeAll, expect, it } from 'vitest'

import { formulaCodes } from '../../../testing/formula-media.ts'
import { loadTinyModel, type TinyModel } from '../../../testing/tiny-model.ts'
import { declareParameters, loadedParameters, type Parameters } from '../../nn/index.ts'
import { loadBackend, loadWeights } from '../../tensor/index.ts'
import { Code2Wav } from './code2wav-stream.ts'
import { Code2WavModel } from './code2wav.ts'
import { parseConfig } from './config.ts'

let tiny: TinyModel

beforeAll(async () => {
  tiny = await loadTinyModel('tiny-moe')
})

afterAll(() => {
  tiny[Symbol.dispose]()
})

it('later streams keep their state in one buffer and give the same samples', async () => {
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

it('decodes on a second backend while its own is busy, with the same samples', async () => {
  const config = parseConfig(tiny.config).speech!.code2wav
  const construct = (parameters: Parameters): Code2WavModel => new Code2WavModel(parameters, config)
  using main = await loadBackend({ device: 'cpu', threads: 1, parallelThreads: 1 })
  using weights = await loadWeights(
    main,
    declareParameters(construct).map(({ name, shape, use }, i) => {
      const count = shape.reduce((product, extent) => product * extent, 1)
      const scale = 1 / Math.sqrt(shape[0])
      const source = Float32Array.from({ length: count }, (_, at) => scale * Math.sin(12.9898 * (at + 1) + 78.233 * i))
      return { name, type: 'f32', shape, use, source }
    }),
  )
  const model = construct(loadedParameters(weights))
  const codes = formulaCodes(config.codeGroups, 12, config.codebookSize)
  const pieces = [0, 1, 2].map((i) => codes.subarray(4 * i * config.codeGroups, 4 * (i + 1) * config.codeGroups))
  using plain = new Code2Wav(main.parallel(), model)
  using alone = plain.newStream()
  const wanted: Float32Array[] = []
  for (const piece of pieces) wanted.push(await alone.push(piece))
  using code2wav = new Code2Wav(main.parallel(), model, { spare: main })
  for (const idle of [true, false]) {
    using first = code2wav.newStream()
    using second = code2wav.newStream()
    for (const [i, piece] of pieces.entries()) {
      // Which of them gets the spare one changes from piece to piece.
      const streams = i % 2 === 0 ? [first, second] : [second, first]
      const decoding = streams.map((stream) => stream.push(piece, { useAllThreads: () => idle }))
      expect(main.queued).toBe(idle ? 1 : 0)
      for (const samples of await Promise.all(decoding)) expect(samples).toEqual(wanted[i])
    }
  }
})
