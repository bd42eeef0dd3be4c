/**
 * One reply's streaming vocoder: converts pieces of codes of any size to the samples that they complete.
 */

import {
  allocateTensors,
  GraphCache,
  HALF_NEGATIVE_INFINITY,
  type Backend,
  type Tensor,
  type TensorBuffer,
  type TensorSpec,
} from '../../tensor/index.ts'
import type { DecodeOptions, VocoderStream } from '../speech.ts'
import type { Code2WavModel, StreamState } from './code2wav.ts'
import type { Code2WavStage } from './speech/stages.ts'

/** Most frames per computation, to limit working memory and the latency of an abort. */
const LONGEST_PIECE = 4

/**
 * Bytes of idle streams that are cached with their graphs for later replies, because describing a graph is slow. A few
 * streams are always cached.
 */
const KEPT_BYTES = 64e6
const KEPT = 4
/** Graphs of all streams: each has one for its first piece, one for those that follow, and often one for its last. */
const GRAPHS = 192

let nextNumber = 1

/** A stream's state between pieces, and the number that identifies it in graphs. One stream at a time owns it. */
class Carried implements Disposable {
  readonly number = nextNumber++
  readonly #backend: Backend
  readonly #known: Map<string, TensorSpec>
  readonly #buffers: TensorBuffer[] = []
  readonly #tensors = new Map<string, Tensor<'f32'>>()

  /** `known`: the state's layout, from earlier streams. It is then one buffer, because GPUs limit their number. */
  constructor(backend: Backend, known: Map<string, TensorSpec>) {
    this.#backend = backend
    this.#known = known
    if (known.size > 0) this.#allocate(Object.fromEntries(known))
  }

  tensor(name: string, channels: number, frames: number): Tensor<'f32'> {
    if (!this.#tensors.has(name)) {
      const spec: TensorSpec = { type: 'f32', shape: [channels, frames] }
      this.#known.set(name, spec)
      this.#allocate({ [name]: spec })
    }
    return this.#tensors.get(name)!
  }

  get bytes(): number {
    return this.#buffers.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  clear(): void {
    for (const buffer of this.#buffers) buffer.clear()
  }

  #allocate(specs: Readonly<Record<string, TensorSpec>>): void {
    const buffer = allocateTensors(this.#backend, specs)
    this.#buffers.push(buffer)
    for (const [name, tensor] of Object.entries(buffer.tensors)) this.#tensors.set(name, tensor as Tensor<'f32'>)
  }

  [Symbol.dispose](): void {
    for (const buffer of this.#buffers) buffer[Symbol.dispose]()
  }
}

/** A queue of computations, and the graphs that run there. */
interface Lane {
  readonly backend: Backend
  readonly graphs: GraphCache
}

export interface Code2WavOptions {
  /** Frames per computation. */
  readonly longestPiece?: number
  /** Bytes of idle streams cached for later replies, beyond the first few. Default: 64 MB on a CPU, otherwise none. */
  readonly keptBytes?: number
  /** Decodes as well, while it has nothing else to do. */
  readonly spare?: Backend
}

export class Code2Wav implements Code2WavStage {
  readonly samplesPerFrame: number
  readonly sampleRate = 24_000
  readonly #backend: Backend
  readonly #model: Code2WavModel
  readonly #lanes: readonly Lane[]
  readonly #longestPiece: number
  readonly #keptBytes: number
  readonly #kept: Carried[] = []
  readonly #known = new Map<string, TensorSpec>()
  #disposed = false

  constructor(backend: Backend, model: Code2WavModel, options: Code2WavOptions = {}) {
    const { longestPiece = LONGEST_PIECE, keptBytes = backend.kind === 'cpu' ? KEPT_BYTES : 0, spare } = options
    this.#backend = backend
    this.#model = model
    this.#longestPiece = longestPiece
    this.#keptBytes = keptBytes
    const { layers, codeGroups, upsampleRates, upsamplingRatios } = model.config
    const maxNodes = 80 * layers + 4 * codeGroups + 60 * upsamplingRatios.length + 420 * upsampleRates.length + 300
    this.#lanes = [backend, ...(spare ? [spare] : [])].map((own) => ({
      backend: own,
      // On a GPU each graph holds working memory of its own.
      graphs: new GraphCache(own, { maxNodes, ...(own.kind === 'cpu' && { capacity: GRAPHS }) }),
    }))
    this.samplesPerFrame = model.samplesPerFrame
  }

  get model(): Code2WavModel {
    return this.#model
  }

  newStream(): VocoderStream {
    const kept = this.#kept.pop()
    kept?.clear()
    const carried = kept ?? new Carried(this.#backend, this.#known)
    return new Stream(this.#model, this.#lanes, this.#longestPiece, carried, (whole) => {
      if (whole && !this.#disposed && this.#keeps(carried)) this.#kept.push(carried)
      else this.#drop(carried)
    })
  }

  #keeps(carried: Carried): boolean {
    const bytes = this.#kept.reduce((sum, kept) => sum + kept.bytes, carried.bytes)
    return this.#kept.length < KEPT || bytes <= this.#keptBytes
  }

  #drop(carried: Carried): void {
    const own = `wav${carried.number}:`
    for (const { graphs } of this.#lanes) graphs.evict((key) => key.startsWith(own))
    carried[Symbol.dispose]()
  }

  [Symbol.dispose](): void {
    this.#disposed = true
    for (const carried of this.#kept.splice(0)) this.#drop(carried)
    for (const { graphs } of this.#lanes) graphs[Symbol.dispose]()
  }
}

/** The lane of the next piece: the first one, unless it is busy and another is idle. */
function laneFor([first, ...others]: readonly Lane[], useAllThreads: (() => boolean) | undefined): GraphCache {
  if (!first) throw new TypeError('a vocoder without a backend')
  const busy = first.backend.queued > 0
  const other = busy && useAllThreads?.() === true ? others.find(({ backend }) => backend.queued === 0) : undefined
  return (other ?? first).graphs
}

class Stream implements VocoderStream {
  readonly #model: Code2WavModel
  readonly #lanes: readonly Lane[]
  readonly #longestPiece: number
  readonly #carried: Carried
  readonly #release: (whole: boolean) => void
  #decoding = false
  /** Frames decoded. */
  #decoded = 0
  /** Codes of the first frames, which do not complete a sample: group ids, frame by frame. */
  #waiting: number[] = []
  #state: 'open' | 'broken' | 'disposed' = 'open'

  /** `release` releases the state when the stream ends. `whole`: another stream may reuse it. */
  constructor(
    model: Code2WavModel,
    lanes: readonly Lane[],
    longestPiece: number,
    carried: Carried,
    release: (whole: boolean) => void,
  ) {
    this.#model = model
    this.#lanes = lanes
    this.#longestPiece = longestPiece
    this.#carried = carried
    this.#release = release
  }

  async push(codes: Int32Array, options: DecodeOptions = {}): Promise<Float32Array> {
    if (this.#state !== 'open') throw new Error(`this vocoder stream is ${this.#state}`)
    const { codeGroups, codebookSize } = this.#model.config
    if (codes.length % codeGroups !== 0)
      throw new RangeError(`${codes.length} codes are no frames of ${codeGroups} groups`)
    for (const code of codes) {
      if (code < 0 || code >= codebookSize) throw new RangeError(`code ${code} is not in a codebook of ${codebookSize}`)
      this.#waiting.push(code)
    }
    const pieces: Float32Array[] = []
    while (this.#waiting.length > 0) {
      const frames = Math.min(this.#longestPiece, this.#waiting.length / codeGroups)
      if (this.#decoded === 0 && this.#model.samplesAfter(frames) < 1) break
      const piece = this.#waiting.slice(0, frames * codeGroups)
      this.#decoding = true
      try {
        pieces.push(await this.#decode(piece, frames, options))
      } catch (error) {
        // The state may be inconsistent: partly of this piece, partly of the previous one.
        this.#state = 'broken'
        throw error
      } finally {
        this.#decoding = false
      }
      this.#waiting.splice(0, frames * codeGroups)
      this.#decoded += frames
    }
    return join(pieces)
  }

  /** Returns no samples: a decode of the whole sequence also discards what would follow. */
  finish({ signal }: DecodeOptions = {}): Promise<Float32Array> {
    return signal?.aborted ? Promise.reject(signal.reason as Error) : Promise.resolve(new Float32Array())
  }

  async #decode(codes: readonly number[], frames: number, options: DecodeOptions): Promise<Float32Array> {
    const { codeGroups, codebookSize, window } = this.#model.config
    const ids = new Int32Array(codes.length)
    for (let frame = 0; frame < frames; frame++) {
      for (let group = 0; group < codeGroups; group++)
        ids[group * frames + frame] = group * codebookSize + (codes[frame * codeGroups + group] ?? 0)
    }
    const past = this.#model.carriedFrames
    const started = this.#decoded > 0
    const state: StreamState = { started, carried: (name, channels, count) => this.#carried.tensor(name, channels, count) }
    const { samples } = await laneFor(this.#lanes, options.useAllThreads).run(
      `wav${this.#carried.number}: ${frames} ${started}`,
      (g) => ({ samples: this.#model.forward(g, frames, state) }),
      {
        codes: ids,
        positions: Int32Array.from({ length: frames }, (_, i) => this.#decoded + i),
        mask: windowMask(this.#decoded, frames, past, window),
      },
      options,
    )
    clamp(samples)
    return samples
  }

  [Symbol.dispose](): void {
    if (this.#state === 'disposed') return
    const whole = this.#state === 'open' && !this.#decoding
    this.#state = 'disposed'
    this.#release(whole)
  }
}

/** f16 [past + frames, frames]: the frame at `start + row` sees frames that exist, up to itself, `window` at most. */
function windowMask(start: number, frames: number, past: number, window: number): Uint16Array {
  const width = past + frames
  const mask = new Uint16Array(width * frames).fill(HALF_NEGATIVE_INFINITY)
  for (let row = 0; row < frames; row++) {
    const own = past + row
    const oldest = Math.max(own - window + 1, past - start, 0)
    mask.fill(0, row * width + oldest, row * width + own + 1)
  }
  return mask
}

/**
 * Clamps to [-1, 1], in place. Not in the graph, whose clamp turns NaN into 1. Throws for values that are not finite.
 */
function clamp(samples: Float32Array): void {
  for (let i = 0; i < samples.length; i++) {
    const sample = samples[i]!
    if (sample >= -1 && sample <= 1) continue
    if (!Number.isFinite(sample)) throw new Error('the vocoder produced no finite samples: its weights or inputs are broken')
    samples[i] = Math.sign(sample)
  }
}

function join(pieces: readonly Float32Array[]): Float32Array {
  if (pieces.length === 1 && pieces[0]) return pieces[0]
  const joined = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    joined.set(piece, at)
    at += piece.length
  }
  return joined
}
