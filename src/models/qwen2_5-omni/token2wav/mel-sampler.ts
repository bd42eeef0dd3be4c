/**
 * Generates mel spectrograms from codes: runs the diffusion transformer with an ODE solver, window by window.
 *
 * In: a window's codes and noise, a prepared voice. Out: mel [frames, mels] (natural logarithm of amplitude). Graphs
 * are cached by window length, and modulations by solver, because they depend only on the times.
 */

import { GraphCache, type Backend, type Inputs, type RunOptions } from '../../../tensor/index.ts'
import { blockInputs } from './block-attention.ts'
import { TIME_FEATURES, type DitModel, type VelocityShape } from './dit.ts'
import { evaluationTimes, integrate, type SolverName } from './solver.ts'

/** How mel is sampled from noise. */
export interface SolverSettings {
  readonly solver: SolverName
  /** Number of times from noise to speech, inclusive: one more than steps. The reference uses 10. */
  readonly points: number
  /** Scale of classifier-free guidance. 0: the unguided row is not computed. The reference uses 0.5. */
  readonly guidance: number
}

/** A voice's parts of the input, [hidden] each. */
export interface PreparedVoice {
  readonly guided: Float32Array
  readonly free: Float32Array
}

export interface MelWindow {
  /** One code per `repeats` frames. */
  readonly codes: Int32Array
  /** [frames, mels] */
  readonly noise: Float32Array
  readonly voice: PreparedVoice
  readonly settings: SolverSettings
}

/** Below this scale, the reference does not compute the unguided row. */
const LEAST_GUIDANCE = 1e-5
/** Most solver settings whose modulations are cached. */
const KEPT = 4

export class MelSampler implements Disposable {
  readonly #model: DitModel
  readonly #graphs: GraphCache
  readonly #modulations = new Map<string, Promise<ReadonlyMap<number, Float32Array>>>()

  constructor(backend: Backend, model: DitModel) {
    this.#model = model
    this.#graphs = new GraphCache(backend, { capacity: 16, maxNodes: 80 * model.config.layers + 400 })
  }

  /** `mel`: [frames, mels] of the voice's reference; `condition`: its vector. */
  prepareVoice(mel: Float32Array, condition: Float32Array, options: RunOptions = {}): Promise<PreparedVoice> {
    const { mels, conditionWidth } = this.#model.config
    if (mel.length === 0 || mel.length % mels !== 0)
      throw new RangeError(`a reference of ${mel.length} values is not a mel of ${mels} bands`)
    if (condition.length !== conditionWidth)
      throw new RangeError(`the voice's cond has ${condition.length} values, the model needs ${conditionWidth}`)
    const frames = mel.length / mels
    return this.#graphs.run(
      `voice ${frames}`,
      (g) => this.#model.voice(g, frames),
      { mel, silence: new Float32Array(mel.length), condition, code: new Int32Array(1) },
      options,
    )
  }

  /** Only the speaker encoder: mel [frames, mels] to a vector. */
  async encodeSpeaker(mel: Float32Array, options: RunOptions = {}): Promise<Float32Array> {
    const frames = mel.length / this.#model.config.mels
    const graph = await this.#graphs.run(
      `speaker ${frames}`,
      (g) => ({ vector: this.#model.speaker(g, frames) }),
      { mel },
      options,
    )
    return graph.vector
  }

  /** Mel [frames, mels] of one window. Rejects with the signal's reason when aborted, between or within evaluations. */
  async sample(window: MelWindow, options: RunOptions = {}): Promise<Float32Array> {
    const { solver, points, guidance } = window.settings
    const modulations = await this.#modulationsOf(solver, points, options)
    const evaluate = await this.#evaluator(window, guidance >= LEAST_GUIDANCE, options)
    return integrate(solver, points, window.noise, async (time, state) => {
      const modulation = modulations.get(time)
      if (!modulation) throw new RangeError(`no modulation of time ${time}`)
      const [guided, free] = await evaluate(state, modulation)
      return free ? guided.map((value, i) => value + (value - (free[i] ?? 0)) * guidance) : guided
    })
  }

  /** Velocities [frames, mels] at one time: guided, and unguided when asked for. */
  async velocity(window: MelWindow, time: number, options: RunOptions = {}): Promise<readonly Float32Array[]> {
    const guided = window.settings.guidance >= LEAST_GUIDANCE
    const modulation = (await this.#modulate([time], options)).get(Math.fround(time))
    if (!modulation) throw new RangeError(`no modulation of time ${time}`)
    return (await this.#evaluator(window, guided, options))(window.noise, modulation)
  }

  /** Prepares the common inputs of a window's evaluations. */
  async #evaluator(
    { codes, noise, voice }: MelWindow,
    guided: boolean,
    options: RunOptions,
  ): Promise<(state: Float32Array, modulation: Float32Array) => Promise<readonly [Float32Array, ...Float32Array[]]>> {
    const { config } = this.#model
    const { mels, repeats, block, mostFrames } = config
    const real = codes.length * repeats
    if (real === 0) throw new RangeError('a window without codes')
    if (real > mostFrames) throw new RangeError(`${real} mel frames are more than the model's ${mostFrames}`)
    if (noise.length !== real * mels)
      throw new RangeError(`noise of ${noise.length} values for ${real} frames of ${mels} bands`)
    const frames = Math.ceil(real / block) * block
    const shape: VelocityShape = { frames, empty: frames - real, guided }
    const ids = new Int32Array(frames)
    for (let frame = 0; frame < real; frame++) ids[frame] = codes[Math.floor(frame / repeats)] ?? 0
    const { condition } = await this.#graphs.run(
      `condition ${frames}`,
      (g) => ({ condition: this.#model.condition(g, frames) }),
      { codes: ids, guided: voice.guided },
      options,
    )
    const constant: Inputs = { ...this.#layoutInputs(shape), condition, ...(guided && { free: voice.free }) }
    const padded = (state: Float32Array): Float32Array => {
      if (shape.empty === 0) return state
      const all = new Float32Array(frames * mels)
      all.set(state)
      return all
    }
    return async (state, modulation) => {
      const { velocity } = await this.#graphs.run(
        `velocity ${frames} ${shape.empty} ${guided}`,
        (g) => ({ velocity: this.#model.velocity(g, shape) }),
        { ...constant, state: padded(state), modulation },
        options,
      )
      const row = (index: number): Float32Array =>
        velocity.subarray(index * frames * mels, index * frames * mels + real * mels)
      return guided ? [row(0), row(1)] : [row(0)]
    }
  }

  /** Positions and masks, which depend only on the shape. */
  #layoutInputs({ frames, empty, guided }: VelocityShape): Inputs {
    const { block, layers } = this.#model.config
    const rows = guided ? 2 : 1
    const inputs: Record<string, Inputs[string]> = {
      positions: Int32Array.from({ length: frames * rows }, (_, i) => i % frames),
    }
    const known = new Set<string>()
    for (const { reach } of this.#model.layers.slice(0, layers)) {
      const key = `${reach.back} ${reach.ahead}`
      if (known.has(key)) continue
      known.add(key)
      Object.assign(inputs, blockInputs({ block, blocks: (frames * rows) / block, empty, reach }, rows))
    }
    return inputs
  }

  #modulationsOf(solver: SolverName, points: number, options: RunOptions): Promise<ReadonlyMap<number, Float32Array>> {
    const key = `${solver} ${points}`
    const known = this.#modulations.get(key)
    if (known) return known
    // Without a signal: the result is shared, so the first request must not abort it.
    const { signal: _, ...rest } = options
    const made = this.#modulate(evaluationTimes(solver, points), rest)
    this.#modulations.set(key, made)
    made.catch(() => this.#modulations.delete(key))
    for (const oldest of this.#modulations.keys()) {
      if (this.#modulations.size <= KEPT) break
      this.#modulations.delete(oldest)
    }
    return made
  }

  /** Modulations by time, with 1 added to the scales. */
  async #modulate(times: readonly number[], options: RunOptions): Promise<ReadonlyMap<number, Float32Array>> {
    const { hidden, layers } = this.#model.config
    const features = new Float32Array(times.length * TIME_FEATURES)
    for (const [i, time] of times.entries()) features.set(timeFeatures(time), i * TIME_FEATURES)
    const parts = await this.#graphs.run(
      `modulations ${times.length}`,
      (g) => this.#model.modulations(g, times.length),
      { features },
      options,
    )
    const result = new Map<number, Float32Array>()
    for (const [i, time] of times.entries()) {
      const all = new Float32Array(this.#model.modulationSize)
      const take = (name: string, at: number, chunks: number, scales: readonly number[]): void => {
        const width = chunks * hidden
        const values = (parts[name] ?? new Float32Array()).subarray(i * width, (i + 1) * width)
        all.set(values, at)
        for (const scale of scales)
          for (let j = 0; j < hidden; j++) all[at + scale * hidden + j] = 1 + (values[scale * hidden + j] ?? 0)
      }
      // Of six: shift, scale and gate, twice. Of the last two: scale, then shift.
      for (let layer = 0; layer < layers; layer++) take(`layer.${layer}`, 6 * layer * hidden, 6, [1, 4])
      take('last', 6 * layers * hidden, 2, [0])
      result.set(Math.fround(time), all)
    }
    return result
  }

  [Symbol.dispose](): void {
    this.#graphs[Symbol.dispose]()
  }
}

/** Sines, then cosines, of 1000 time at falling frequencies; rounded to f32 where the reference rounds. */
function timeFeatures(time: number): Float32Array {
  const { fround } = Math
  const half = TIME_FEATURES / 2
  const features = new Float32Array(TIME_FEATURES)
  const step = fround(-Math.log(10_000) / (half - 1))
  const scaled = fround(1000 * fround(time))
  for (let i = 0; i < half; i++) {
    const angle = fround(scaled * fround(Math.exp(fround(i * step))))
    features[i] = Math.sin(angle)
    features[half + i] = Math.cos(angle)
  }
  return features
}
