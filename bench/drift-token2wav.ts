/**
 * Effect of weight types and solvers on token2wav's mel and samples: against f32 and the reference solver (3/8 rule, 10
 * times), at real size with random weights. The same noise, codes and voice throughout.
 *
 * Random weights have no learned flow: they show rounding, and of solvers only the speed of convergence on such a
 * field.
 */

import type { SolverSettings } from '../src/models/qwen2_5-omni/token2wav/mel-sampler.ts'
import { givenNoise, normalNoise } from '../src/models/qwen2_5-omni/token2wav/noise.ts'
import { evaluationCount } from '../src/models/qwen2_5-omni/token2wav/solver.ts'
import { Token2Wav } from '../src/models/qwen2_5-omni/token2wav/token2wav.ts'
import { loadBackend, type Backend, type TensorType } from '../src/tensor/index.ts'
import { signalToNoise } from '../testing/golden.ts'
import { type Benchmark, type BenchmarkContext, type Row } from './harness.ts'
import { uniform } from './random-weights.ts'
import { randomToken2Wav, realConfig } from './token2wav-weights.ts'

const { mels, repeats, conditionWidth, block } = realConfig.dit
const REFERENCE: SolverSettings = { solver: 'rk4', points: 10, guidance: 0.5 }
const EULER: SolverSettings = { ...REFERENCE, solver: 'euler' }
/** Decibels of a natural logarithm of amplitude. */
const DECIBELS = 20 / Math.log(10)

interface Material {
  readonly codes: Int32Array
  readonly noise: Float32Array
  readonly referenceMel: Float32Array
  readonly condition: Float32Array
}

function material(blocks: number): Material {
  const random = uniform(11)
  const frames = blocks * block
  const normal = normalNoise(random, mels)
  return {
    codes: Int32Array.from({ length: frames / repeats }, () => Math.floor(random() * 8193)),
    noise: normal(0, frames),
    referenceMel: normal(frames, 200).map((value) => 2 * value - 4),
    condition: normalNoise(random, conditionWidth)(0, 1),
  }
}

/** Root of the mean square difference of two mels, in decibels. */
function melDifference(a: Float32Array, b: Float32Array): number {
  return DECIBELS * Math.sqrt(a.reduce((sum, value, i) => sum + (value - (b[i] ?? 0)) ** 2, 0) / a.length)
}

interface Made {
  readonly settings: SolverSettings
  readonly mel: Float32Array
}

async function melsOf(
  backend: Backend,
  type: TensorType,
  { codes, noise, referenceMel, condition }: Material,
  list: readonly SolverSettings[],
  context: BenchmarkContext,
): Promise<Made[]> {
  using weights = await randomToken2Wav(
    backend,
    { dit: type, vocoder: 'q8_0' },
    {
      ...realConfig,
      vocoder: { ...realConfig.vocoder, width: 192 },
    },
  )
  using stage = new Token2Wav(backend, weights.model)
  const voice = await stage.sampler.prepareVoice(referenceMel, condition)
  const made: Made[] = []
  for (const settings of list) {
    context.log(`mel in ${type}, ${settings.solver} ${settings.points}`)
    const window = { codes, noise: givenNoise(noise, mels)(0, noise.length / mels), voice, settings }
    made.push({ settings, mel: await stage.sampler.sample(window, { signal: context.signal }) })
  }
  return made
}

async function samplesOf(backend: Backend, type: TensorType, list: readonly Float32Array[]): Promise<Float32Array[]> {
  using weights = await randomToken2Wav(
    backend,
    { dit: 'q8_0', vocoder: type },
    {
      ...realConfig,
      dit: { ...realConfig.dit, layers: 1, codes: 1 },
    },
  )
  using stage = new Token2Wav(backend, weights.model)
  const all: Float32Array[] = []
  for (const mel of list) all.push(await stage.vocoder.decode({ mel, frames: mel.length / mels, before: 0, after: 0 }))
  return all
}

export const benchmark: Benchmark = {
  name: 'drift-token2wav',
  title: 'mel and samples of token2wav by weight type and solver, against f32 and the 3/8 rule with 10 times',
  long: true,
  async run(context) {
    using backend = await loadBackend({ device: 'cpu', threads: 1 })
    const given = material(context.quick ? 2 : 3)
    const solvers: readonly SolverSettings[] = context.quick
      ? [REFERENCE, EULER]
      : [
          REFERENCE,
          EULER,
          { ...EULER, points: 5 },
          { ...EULER, points: 7 },
          { ...EULER, points: 19 },
          { ...REFERENCE, points: 3 },
          { ...REFERENCE, points: 5 },
        ]
    const rows: Row[] = []
    const exact = await melsOf(backend, 'f32', given, solvers, context)
    const whole = exact.map(({ mel }) => mel)
    const waves = await samplesOf(backend, 'f32', whole)
    const [mel = new Float32Array()] = whole
    const [wave = new Float32Array()] = waves
    const describe = ({ solver, points }: SolverSettings): string =>
      `${solver} ${points} times, ${evaluationCount(solver, points)} evaluations`
    for (const [i, { settings, mel: other }] of exact.entries()) {
      rows.push({
        case: `f32, ${describe(settings)}`,
        'mel SNR dB': signalToNoise(other, mel),
        'mel off by dB': melDifference(other, mel),
        'samples SNR dB': signalToNoise(waves[i] ?? wave, wave),
      })
    }
    for (const type of ['bf16', 'q8_0', 'q4_0'] as const) {
      const made = await melsOf(backend, type, given, [REFERENCE, EULER], context)
      const spoken = await samplesOf(
        backend,
        'f32',
        made.map((one) => one.mel),
      )
      for (const [i, { settings, mel: other }] of made.entries()) {
        const same = whole[i] ?? mel
        rows.push({
          case: `${type} against f32, ${describe(settings)}`,
          'mel SNR dB': signalToNoise(other, same),
          'mel off by dB': melDifference(other, same),
          'samples SNR dB': signalToNoise(spoken[i] ?? wave, waves[i] ?? wave),
        })
      }
    }
    for (const type of ['bf16', 'f16', 'q8_0'] as const) {
      const [other = new Float32Array()] = await samplesOf(backend, type, [mel])
      rows.push({ case: `vocoder ${type} against f32`, 'samples SNR dB': signalToNoise(other, wave) })
    }
    return rows
  },
}
