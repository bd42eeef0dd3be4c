/**
 * The microphone as a stream of 16 kHz mono pieces of 100 ms, with the echo of the page's own audio cancelled by the
 * browser.
 *
 * In: permission. Out: pieces, the current level. Rejects with {@link RecorderError}. Muted, it sends silence, so that
 * time advances.
 */
import workletUrl from '../audio/recorder-worklet.ts?worker&url'
import { openDevice, RecorderError } from '../audio/recorder.ts'
import { toInt16 } from '../../../src/arithmetic/pcm.ts'
import { StreamResampler } from './resampler.ts'

export const TALK_RATE = 16_000
const PIECE = TALK_RATE / 10

export class Microphone implements Disposable {
  readonly #context: AudioContext
  readonly #stream: MediaStream
  readonly #onPiece: (samples: Int16Array) => void
  readonly #resampler: StreamResampler
  #waiting = new Float32Array(PIECE)
  #filled = 0
  #level = 0
  /** A call, or a locked screen, suspends the page's audio; it resumes when the page is visible again. */
  readonly #onSeen = (): void => {
    if (document.visibilityState === 'visible' && this.#context.state !== 'running') void this.#resume()
  }

  private constructor(context: AudioContext, stream: MediaStream, onPiece: (samples: Int16Array) => void) {
    this.#context = context
    this.#stream = stream
    this.#onPiece = onPiece
    this.#resampler = new StreamResampler(context.sampleRate, TALK_RATE)
  }

  /** `onEnd`: the device was removed. */
  static async open(onPiece: (samples: Int16Array) => void, onEnd: () => void): Promise<Microphone> {
    const stream = await openDevice({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    })
    const context = new AudioContext({ latencyHint: 'interactive' })
    const microphone = new Microphone(context, stream, onPiece)
    try {
      await context.audioWorklet.addModule(workletUrl)
      const node = new AudioWorkletNode(context, 'recorder', { numberOfOutputs: 0 })
      node.port.addEventListener('message', (event: MessageEvent<Float32Array>) => microphone.#take(event.data))
      node.port.start()
      context.createMediaStreamSource(stream).connect(node)
      await context.resume()
    } catch (error) {
      microphone[Symbol.dispose]()
      throw new RecorderError('failed', error instanceof Error ? error.message : String(error))
    }
    stream.getAudioTracks()[0]?.addEventListener('ended', onEnd)
    document.addEventListener('visibilitychange', microphone.#onSeen)
    return microphone
  }

  set muted(muted: boolean) {
    for (const track of this.#stream.getAudioTracks()) track.enabled = !muted
  }

  /** Current loudness, 0 to 1, falling slowly. */
  get level(): number {
    return this.#level
  }

  #take(samples: Float32Array): void {
    let peak = 0
    for (const sample of samples) peak = Math.max(peak, Math.abs(sample))
    this.#level = Math.max(peak, this.#level * 0.96)
    for (const sample of this.#resampler.push(samples)) {
      this.#waiting[this.#filled++] = sample
      if (this.#filled < PIECE) continue
      this.#filled = 0
      this.#onPiece(toInt16(this.#waiting))
    }
  }

  async #resume(): Promise<void> {
    if (this.#context.state !== 'closed') await this.#context.resume().catch(() => {})
  }

  [Symbol.dispose](): void {
    document.removeEventListener('visibilitychange', this.#onSeen)
    for (const track of this.#stream.getTracks()) track.stop()
    if (this.#context.state !== 'closed') void this.#context.close()
  }
}
