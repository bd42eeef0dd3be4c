/**
 * Plays 24 kHz mono speech while it is still arriving, without a gap between its pieces.
 *
 * In: 16-bit samples, any number at a time. Out: audio, through one audio context at 24 kHz, so nothing is resampled
 * here and each piece starts exactly one sample after the last. Scheduled buffers are used rather than a worklet,
 * because worklets need a secure page, which a server on the local network often is not. When pieces arrive late,
 * playback pauses briefly. Reference: Web Audio API, AudioBufferSourceNode.start.
 */
import { toFloat32 } from '../../../src/arithmetic/pcm.ts'

export const SPEECH_RATE = 24_000
/** Seconds buffered before the first sample, against jitter. */
const START_LEAD = 0.06
/** Seconds buffered after an underrun. */
const REFILL_LEAD = 0.25

interface Segment {
  /** Context time in samples, and the position in the speech, in samples. */
  at: number
  offset: number
  length: number
}

interface PlayerState {
  /** What is playing, or undefined. */
  id: string | undefined
  status: 'idle' | 'playing' | 'paused'
}

interface PlayerStatistics {
  /** Samples given to the audio graph since the page was opened, and the loudest of them. */
  scheduled: number
  peak: number
  /** Underruns while playing. */
  underruns: number
  /** Milliseconds (performance clock) at which the first sample of the latest speech is played. */
  startsAt: number
}

class SpeechPlayer {
  readonly statistics: PlayerStatistics = { scheduled: 0, peak: 0, underruns: 0, startsAt: 0 }
  #context: AudioContext | undefined
  #output: GainNode | undefined
  #meter: AnalyserNode | undefined
  #state: PlayerState = { id: undefined, status: 'idle' }
  #segments: Segment[] = []
  #sources = new Set<AudioBufferSourceNode>()
  #next = 0
  #offset = 0
  #complete = false
  readonly #listeners = new Set<() => void>()

  get state(): PlayerState {
    return this.#state
  }

  /** The node that all playback passes through; tests tap it. Undefined until the first playback. */
  get output(): AudioNode | undefined {
    return this.#output
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  readonly getState = (): PlayerState => this.#state

  /** Call in a click or key handler, so that the browser lets audio play later. */
  unlock(): AudioContext {
    if (this.#context === undefined) {
      this.#context = new AudioContext({ sampleRate: SPEECH_RATE, latencyHint: 'interactive' })
      this.#output = new GainNode(this.#context)
      this.#output.connect(this.#context.destination)
      this.#meter = new AnalyserNode(this.#context, { fftSize: 1024 })
      this.#output.connect(this.#meter)
    }
    if (this.#context.state === 'suspended') void this.#context.resume()
    return this.#context
  }

  /** Begins a speech whose pieces will be pushed. Current playback stops. */
  begin(id: string, offset = 0): void {
    this.stop()
    this.unlock()
    this.#offset = offset
    this.#complete = false
    this.#set({ id, status: 'playing' })
  }

  /** Adds the next samples of speech `id`; ignored when another speech is playing. */
  push(id: string, samples: Int16Array): void {
    const context = this.#context
    if (this.#state.id !== id || context === undefined || this.#output === undefined || samples.length === 0) return
    const buffer = context.createBuffer(1, samples.length, SPEECH_RATE)
    buffer.copyToChannel(toFloat32(samples), 0)
    const now = Math.ceil(context.currentTime * SPEECH_RATE)
    const first = this.#segments.length === 0
    if (first) this.#next = now + START_LEAD * SPEECH_RATE
    else if (this.#next < now) {
      this.#next = now + REFILL_LEAD * SPEECH_RATE
      this.statistics.underruns++
    }
    if (first) this.statistics.startsAt = performance.now() + (this.#next / SPEECH_RATE - context.currentTime) * 1000
    const source = new AudioBufferSourceNode(context, { buffer })
    source.connect(this.#output)
    source.addEventListener('ended', () => {
      this.#sources.delete(source)
      source.disconnect()
      this.#finishWhenDone()
    })
    source.start(this.#next / SPEECH_RATE)
    this.#sources.add(source)
    this.#segments.push({ at: this.#next, offset: this.#offset, length: samples.length })
    this.#next += samples.length
    this.#offset += samples.length
    this.statistics.scheduled += samples.length
    for (const sample of samples) this.statistics.peak = Math.max(this.statistics.peak, Math.abs(sample) / 32768)
  }

  /** No more pieces will come. */
  end(id: string): void {
    if (this.#state.id !== id) return
    this.#complete = true
    this.#finishWhenDone()
  }

  /** Plays a whole speech from `seconds` on. */
  play(id: string, samples: Int16Array, seconds = 0): void {
    const from = Math.max(0, Math.min(samples.length, Math.round(seconds * SPEECH_RATE)))
    this.begin(id, from)
    this.push(id, samples.subarray(from))
    this.end(id)
  }

  pause(): void {
    if (this.#state.status !== 'playing') return
    void this.#context?.suspend()
    this.#set({ ...this.#state, status: 'paused' })
  }

  resume(): void {
    if (this.#state.status !== 'paused') return
    void this.#context?.resume()
    this.#set({ ...this.#state, status: 'playing' })
  }

  stop(): void {
    for (const source of this.#sources) {
      source.stop()
      source.disconnect()
    }
    this.#sources.clear()
    this.#segments = []
    if (this.#state.status === 'paused') void this.#context?.resume()
    if (this.#state.id !== undefined) this.#set({ id: undefined, status: 'idle' })
  }

  /** Current loudness, 0 to 1. */
  level(): number {
    if (this.#meter === undefined || this.#state.status !== 'playing') return 0
    const samples = new Float32Array(this.#meter.fftSize)
    this.#meter.getFloatTimeDomainData(samples)
    return samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0)
  }

  /** Seconds of the speech played so far. */
  position(): number {
    const context = this.#context
    if (context === undefined) return 0
    const now = context.currentTime * SPEECH_RATE
    let place = this.#segments[0]?.offset ?? 0
    for (const segment of this.#segments) {
      if (segment.at > now) break
      place = segment.offset + Math.min(now - segment.at, segment.length)
    }
    return place / SPEECH_RATE
  }

  #finishWhenDone(): void {
    if (this.#complete && this.#sources.size === 0 && this.#state.id !== undefined) {
      this.#segments = []
      this.#set({ id: undefined, status: 'idle' })
    }
  }

  #set(state: PlayerState): void {
    this.#state = state
    for (const listener of this.#listeners) listener()
  }
}

export const player = new SpeechPlayer()
