/**
 * The camera during a conversation: one JPEG frame a second, small enough for the realtime API.
 *
 * In: a video element to show it in. Out: frames as Base64. Rejects with {@link RecorderError}.
 */
import { openDevice } from '../audio/recorder.ts'
import { drawJpeg } from '../media/frames.ts'

const FRAME_MS = 1000
const LONGEST_SIDE = 640

async function base64(blob: Blob): Promise<string> {
  let text = ''
  for (const byte of new Uint8Array(await blob.arrayBuffer())) text += String.fromCharCode(byte)
  return btoa(text)
}

export class TalkCamera implements Disposable {
  readonly stream: MediaStream
  readonly #video: HTMLVideoElement
  readonly #timer: ReturnType<typeof setInterval>

  private constructor(stream: MediaStream, onFrame: (jpeg: string) => void, onEnd: () => void) {
    this.stream = stream
    stream.getVideoTracks()[0]?.addEventListener('ended', onEnd)
    this.#video = document.createElement('video')
    this.#video.muted = true
    this.#video.playsInline = true
    this.#video.srcObject = stream
    void this.#video.play().catch(() => {})
    this.#timer = setInterval(() => {
      if (this.#video.videoWidth === 0) return
      void drawJpeg(this.#video, LONGEST_SIDE, 0.75)
        .then(({ blob }) => base64(blob))
        // A frame that cannot be encoded is left out; the next one comes in a second.
        .then(onFrame, () => {})
    }, FRAME_MS)
  }

  /** `onEnd`: the device was removed. */
  static async open(onFrame: (jpeg: string) => void, onEnd: () => void): Promise<TalkCamera> {
    const stream = await openDevice({ video: { facingMode: 'environment', width: { ideal: 1280 } } })
    return new TalkCamera(stream, onFrame, onEnd)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.#video.srcObject = null
    for (const track of this.stream.getTracks()) track.stop()
  }
}
