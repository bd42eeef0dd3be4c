/**
 * Silero VAD: the probability that a window of audio is speech.
 *
 * In: windows of 512 samples (32 ms at 16 kHz). Out: a probability. Each stream has its own state (the recurrent cell
 * and the last 64 samples); weights are shared. Reference: snakers4/silero-vad, version 6, 16 kHz branch; goldens by
 * onnxruntime (`reference/silero-vad`).
 */
import { readFile } from 'node:fs/promises'

export const WINDOW_SAMPLES = 512

const CONTEXT = 64
const FRAMES = 4
const BINS = 129
const STFT = 256
const HOP = 128
const CELLS = 128

interface Convolution {
  /** [out, 3, in] */
  readonly weight: Float32Array
  readonly bias: Float32Array
  readonly stride: 1 | 2
}

interface Weights {
  /** [2 x 129, 256]: cosines, then sines, both windowed. */
  readonly stft: Float32Array
  readonly encoder: readonly Convolution[]
  /** [4 x 128, 128]: input, forget, cell and output gates. */
  readonly inputGates: Float32Array
  readonly stateGates: Float32Array
  readonly gateBias: Float32Array
  readonly output: Float32Array
  readonly outputBias: number
}

const FILE = new URL('../../../models/silero-vad/silero-vad.safetensors', import.meta.url)

let shared: Promise<VoiceModel> | undefined

/** Loads the model that is part of the package. It is read once. */
export function loadVoiceModel(): Promise<VoiceModel> {
  shared ??= readWeights(FILE).then((weights) => new VoiceModel(weights))
  return shared
}

export class VoiceModel {
  readonly #weights: Weights

  constructor(weights: Weights) {
    this.#weights = weights
  }

  /** A new stream. */
  stream(): VoiceStream {
    return new VoiceStream(this.#weights)
  }
}

export class VoiceStream {
  readonly #weights: Weights
  readonly #input = new Float32Array(CONTEXT + WINDOW_SAMPLES + CONTEXT)
  readonly #spectrum = new Float32Array(BINS * FRAMES)
  readonly #products = new Float64Array(FRAMES)
  readonly #hidden = new Float32Array(CELLS)
  readonly #cell = new Float32Array(CELLS)

  constructor(weights: Weights) {
    this.#weights = weights
  }

  /** Probability of speech in the next {@link WINDOW_SAMPLES} samples, 16 kHz mono in [-1, 1]. */
  push(samples: Float32Array): number {
    const input = this.#input
    const end = CONTEXT + WINDOW_SAMPLES
    input.copyWithin(0, end - CONTEXT, end)
    input.set(samples, CONTEXT)
    for (let i = 0; i < CONTEXT; i += 1) input[end + i] = input[end - 2 - i]!
    this.#takeSpectrum()
    let values: Float32Array = this.#spectrum
    let frames = FRAMES
    for (const layer of this.#weights.encoder) {
      values = convolve(values, frames, layer)
      frames = Math.ceil(frames / layer.stride)
    }
    this.#advance(values)
    const { output, outputBias } = this.#weights
    let sum = outputBias
    for (let i = 0; i < CELLS; i += 1) sum += output[i]! * Math.max(0, this.#hidden[i]!)
    return sigmoid(sum)
  }

  /** Magnitude spectrum of four frames, [4, 129]. All frames are multiplied with one row of the transform at a time. */
  #takeSpectrum(): void {
    const { stft } = this.#weights
    const spectrum = this.#spectrum
    for (let bin = 0; bin < BINS; bin += 1) {
      const real = this.#project(stft, bin * STFT)
      const [r0, r1, r2, r3] = [real[0]!, real[1]!, real[2]!, real[3]!]
      const imaginary = this.#project(stft, (bin + BINS) * STFT)
      spectrum[bin] = Math.sqrt(r0 * r0 + imaginary[0]! * imaginary[0]!)
      spectrum[BINS + bin] = Math.sqrt(r1 * r1 + imaginary[1]! * imaginary[1]!)
      spectrum[2 * BINS + bin] = Math.sqrt(r2 * r2 + imaginary[2]! * imaginary[2]!)
      spectrum[3 * BINS + bin] = Math.sqrt(r3 * r3 + imaginary[3]! * imaginary[3]!)
    }
  }

  /** Dot products of one row with each frame. */
  #project(stft: Float32Array, row: number): Float64Array {
    const input = this.#input
    let [a, b, c, d] = [0, 0, 0, 0]
    for (let i = 0; i < STFT; i += 1) {
      const w = stft[row + i]!
      a += w * input[i]!
      b += w * input[i + HOP]!
      c += w * input[i + 2 * HOP]!
      d += w * input[i + 3 * HOP]!
    }
    this.#products[0] = a
    this.#products[1] = b
    this.#products[2] = c
    this.#products[3] = d
    return this.#products
  }

  /** One step of the recurrent cell. */
  #advance(input: Float32Array): void {
    const { inputGates, stateGates, gateBias } = this.#weights
    const gates = new Float32Array(4 * CELLS)
    for (let gate = 0; gate < 4 * CELLS; gate += 1) {
      const row = gate * CELLS
      const fromInput = dot(inputGates, row, input, 0, CELLS)
      gates[gate] = gateBias[gate]! + fromInput + dot(stateGates, row, this.#hidden, 0, CELLS)
    }
    for (let i = 0; i < CELLS; i += 1) {
      const kept = sigmoid(gates[CELLS + i]!) * this.#cell[i]!
      const cell = kept + sigmoid(gates[i]!) * Math.tanh(gates[2 * CELLS + i]!)
      this.#cell[i] = cell
      this.#hidden[i] = sigmoid(gates[3 * CELLS + i]!) * Math.tanh(cell)
    }
  }
}

/** Convolution of width 3 with padding 1, then ReLU: [frames, in] to [frames / stride, out]. */
function convolve(input: Float32Array, frames: number, { weight, bias, stride }: Convolution): Float32Array {
  const outputs = bias.length
  const inputs = input.length / frames
  const length = Math.ceil(frames / stride)
  const out = new Float32Array(outputs * length)
  for (let t = 0; t < length; t += 1) {
    // Taps in the padding are skipped.
    const first = t * stride === 0 ? 1 : 0
    const last = t * stride + 1 < frames ? 3 : 2
    const from = (t * stride - 1 + first) * inputs
    for (let o = 0; o < outputs; o += 1) {
      const sum = dot(weight, (o * 3 + first) * inputs, input, from, (last - first) * inputs)
      out[t * outputs + o] = Math.max(0, sum + bias[o]!)
    }
  }
  return out
}

/** Dot product with four accumulators, so that additions do not depend on each other. */
function dot(a: Float32Array, atA: number, b: Float32Array, atB: number, length: number): number {
  let [s0, s1, s2, s3] = [0, 0, 0, 0]
  let i = 0
  for (; i + 3 < length; i += 4) {
    s0 += a[atA + i]! * b[atB + i]!
    s1 += a[atA + i + 1]! * b[atB + i + 1]!
    s2 += a[atA + i + 2]! * b[atB + i + 2]!
    s3 += a[atA + i + 3]! * b[atB + i + 3]!
  }
  for (; i < length; i += 1) s0 += a[atA + i]! * b[atB + i]!
  return s0 + s1 + (s2 + s3)
}

/** [out, in, 3] to [out, 3, in], so that the products of a window read adjacent values. */
function tapsFirst(weight: Float32Array, outputs: number): Float32Array {
  const inputs = weight.length / outputs / 3
  const out = new Float32Array(weight.length)
  for (let o = 0; o < outputs; o += 1)
    for (let i = 0; i < inputs; i += 1)
      for (let k = 0; k < 3; k += 1) out[(o * 3 + k) * inputs + i] = weight[(o * inputs + i) * 3 + k]!
  return out
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x))
}

/** Reads the safetensors file: a JSON header, then 32-bit floats. */
async function readWeights(file: URL): Promise<Weights> {
  const bytes = await readFile(file)
  const headerBytes = Number(bytes.readBigUInt64LE(0))
  const start = 8 + headerBytes
  const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<
    string,
    { readonly data_offsets: readonly [number, number] }
  >
  const tensor = (name: string): Float32Array => {
    const entry = header[name]
    if (entry === undefined) throw new Error(`models/silero-vad lacks the tensor ${name}; reinstall omniserve`)
    const [from, to] = entry.data_offsets
    return new Float32Array(bytes.buffer.slice(bytes.byteOffset + start + from, bytes.byteOffset + start + to))
  }
  const inputBias = tensor('lstm.bias_ih')
  const stateBias = tensor('lstm.bias_hh')
  return {
    stft: tensor('stft.weight'),
    encoder: ([1, 2, 2, 1] as const).map((stride, index) => {
      const bias = tensor(`encoder.${index}.bias`)
      return { weight: tapsFirst(tensor(`encoder.${index}.weight`), bias.length), bias, stride }
    }),
    inputGates: tensor('lstm.weight_ih'),
    stateGates: tensor('lstm.weight_hh'),
    gateBias: inputBias.map((value, index) => value + stateBias[index]!),
    output: tensor('output.weight'),
    outputBias: tensor('output.bias')[0]!,
  }
}
