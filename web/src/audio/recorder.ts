/**
 * Records the microphone into a 16 kHz mono WAV file.
 *
 * In: permission. Out: the level while recording, then the file. Throws {@link RecorderError}, whose `reason` says why.
 * The audio graph resamples (an offline context), so the result does not depend on the device's rate.
 */
import workletUrl from './recorder-worklet.ts?worker&url'
import { toInt16 } from '../../../src/arithmetic/pcm.ts'
import { encodeWav } from './wav.ts'

export const RECORDING_RATE = 16_000

export type DeviceProblem = 'insecure' | 'denied' | 'missing' | 'busy' | 'failed'

export class RecorderError extends Error {
  readonly reason: DeviceProblem
  constructor(reason: DeviceProblem, message: string) {
    super(message)
    this.name = 'RecorderError'
    this.reason = reason
  }
}

/** Opens a microphone or camera; the browser's refusals are distinguished. */
export async function openDevice(constraints: MediaStreamConstraints): Promise<MediaStream> {
  if (!isSecureContext || navigator.mediaDevices === undefined)
    throw new RecorderError('insecure', 'Browsers open the microphone and camera only on https or localhost.')
  try {
    return await navigator.mediaDevices.getUserMedia(constraints)
  } catch (error) {
    const name = error instanceof DOMException ? error.name : ''
    const text = error instanceof Error ? error.message : String(error)
    if (name === 'NotAllowedError' || name === 'SecurityError') throw new RecorderError('denied', text)
    if (name === 'NotFoundError' || name === 'OverconstrainedError') throw new RecorderError('missing', text)
    if (name === 'NotReadableError') throw new RecorderError('busy', text)
    throw new RecorderError('failed', text)
  }
}

async function resample(samples: Float32Array<ArrayBuffer>, rate: number): Promise<Float32Array> {
  if (rate === RECORDING_RATE || samples.length === 0) return samples
  const length = Math.max(1, Math.round((samples.length * RECORDING_RATE) / rate))
  const context = new OfflineAudioContext(1, length, RECORDING_RATE)
  const buffer = new AudioBuffer({ length: samples.length, sampleRate: rate, numberOfChannels: 1 })
  buffer.copyToChannel(samples, 0)
  const source = new AudioBufferSourceNode(context, { buffer })
  source.connect(context.destination)
  source.start()
  return (await context.startRendering()).getChannelData(0)
}

export interface Recording {
  blob: Blob
  /** Seconds. */
  duration: number
  /** Loudest sample, 0 to 1: near 0 means the microphone is muted. */
  peak: number
}

export class Recorder {
  readonly #context: AudioContext
  readonly #stream: MediaStream
  readonly #pieces: Float32Array[] = []
  #length = 0
  #level = 0

  private constructor(context: AudioContext, stream: MediaStream) {
    this.#context = context
    this.#stream = stream
  }

  static async start(): Promise<Recorder> {
    const stream = await openDevice({ audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true } })
    const context = new AudioContext()
    const recorder = new Recorder(context, stream)
    try {
      await context.audioWorklet.addModule(workletUrl)
    } catch (error) {
      recorder.#release()
      throw new RecorderError('failed', error instanceof Error ? error.message : String(error))
    }
    const node = new AudioWorkletNode(context, 'recorder', { numberOfOutputs: 0 })
    node.port.addEventListener('message', (event: MessageEvent<Float32Array>) => recorder.#take(event.data))
    node.port.start()
    context.createMediaStreamSource(stream).connect(node)
    await context.resume()
    return recorder
  }

  #take(samples: Float32Array): void {
    this.#pieces.push(samples)
    this.#length += samples.length
    let peak = 0
    for (const sample of samples) peak = Math.max(peak, Math.abs(sample))
    this.#level = Math.max(peak, this.#level * 0.9)
  }

  /** Loudness now, 0 to 1, falling slowly. */
  get level(): number {
    return this.#level
  }

  /** Seconds recorded. */
  get seconds(): number {
    return this.#length / this.#context.sampleRate
  }

  #release(): void {
    for (const track of this.#stream.getTracks()) track.stop()
    if (this.#context.state !== 'closed') void this.#context.close()
  }

  cancel(): void {
    this.#release()
  }

  async stop(): Promise<Recording> {
    const rate = this.#context.sampleRate
    this.#release()
    const all = new Float32Array(this.#length)
    let offset = 0
    for (const piece of this.#pieces) {
      all.set(piece, offset)
      offset += piece.length
    }
    const samples = await resample(all, rate)
    let peak = 0
    for (const sample of samples) peak = Math.max(peak, Math.abs(sample))
    return { blob: encodeWav(toInt16(samples), RECORDING_RATE), duration: samples.length / RECORDING_RATE, peak }
  }
}
