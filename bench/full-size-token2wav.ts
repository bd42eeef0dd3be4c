/**
 * Token2wav of Qwen2.5-Omni at real size with random weights, streamed as in a reply: real-time factor by weight type,
 * windows and solver, and the diffusion transformer's share.
 */

import { availableParallelism } from 'node:os'

import type { SolverSettings } from '../src/models/qwen2_5-omni/token2wav/mel-sampler.ts'
import { normalNoise } from '../src/models/qwen2_5-omni/token2wav/noise.ts'
import { Token2Wav } from '../src/models/qwen2_5-omni/token2wav/token2wav.ts'
import { loadBackend, type Backend, type TensorType } from '../src/tensor/index.ts'
import { type Benchmark, type BenchmarkContext, type Row } from './harness.ts'
import { uniform } from './random-weights.ts'
import { randomToken2Wav, realConfig } from './token2wav-weights.ts'

const { mels, conditionWidth } = realConfig.dit
const EULER: SolverSettings = { solver: 'euler', points: 10, guidance: 0.5 }
const CODES_PER_SECOND = 50

interface Case {
  readonly name: string
  readonly windowBlocks: readonly number[]
  readonly settings: SolverSettings
}

const CASES: readonly Case[] = [
  { name: 'Euler 10, windows of 72', windowBlocks: [3], settings: EULER },
  { name: 'Euler 10, windows of 72, 144, 288', windowBlocks: [3, 6, 12], settings: EULER },
  { name: '3/8 rule 10, windows of 72, 144, 288', windowBlocks: [3, 6, 12], settings: { ...EULER, solver: 'rk4' } },
]

async function speak(stage: Token2Wav, { windowBlocks, settings }: Case, seconds: number, type: string): Promise<Row> {
  const random = uniform(3)
  const voice = {
    name: 'random',
    bosToken: 0,
    condition: normalNoise(random, conditionWidth)(0, 1),
    referenceMel: normalNoise(random, mels)(0, 400).map((value) => 2 * value - 4),
    referenceFrames: 400,
  }
  const codes = Int32Array.from({ length: seconds * CODES_PER_SECOND }, () => Math.floor(random() * 8193))
  using stream = stage.newStream({ voice, noise: normalNoise(random, mels), settings, windowBlocks })
  const begun = performance.now()
  const used = process.cpuUsage()
  let first = Number.POSITIVE_INFINITY
  let samples = 0
  for (let at = 0; at <= codes.length; at++) {
    const piece = at < codes.length ? await stream.push(codes.subarray(at, at + 1)) : await stream.finish()
    if (piece.length > 0) first = Math.min(first, performance.now() - begun)
    samples += piece.length
  }
  const { user, system } = process.cpuUsage(used)
  const duration = samples / stage.sampleRate
  return {
    case: `${type}, ${duration} s`,
    'first audio s': first / 1000,
    RTF: (performance.now() - begun) / 1000 / duration,
    'processor s per s': (user + system) / 1e6 / duration,
  }
}

async function measureType(backend: Backend, type: TensorType, context: BenchmarkContext): Promise<Row[]> {
  using weights = await randomToken2Wav(backend, { dit: type, vocoder: 'q8_0' })
  using stage = new Token2Wav(backend, weights.model)
  const seconds = context.quick ? 2 : 6
  const rows: Row[] = []
  for (const one of context.quick ? CASES.slice(1, 2) : CASES) {
    context.signal.throwIfAborted()
    context.log(`${type}, ${one.name}`)
    const row = await speak(stage, one, seconds, `DiT ${type}, ${one.name}`)
    rows.push(row)
  }
  return rows
}

export const benchmark: Benchmark = {
  name: 'full-size-token2wav',
  title: 'token2wav of Qwen2.5-Omni as a reply streams, by type, windows and solver',
  long: true,
  async run(context) {
    const threads = Number(process.env['TOKEN2WAV_THREADS'] ?? availableParallelism())
    using backend = await loadBackend({ device: 'cpu', threads })
    const rows: Row[] = []
    for (const type of ['q8_0', 'q4_0'] as const) rows.push(...(await measureType(backend, type, context)))
    return rows
  },
}
