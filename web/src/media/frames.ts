/**
 * Extracts frames from a video, and draws images smaller.
 *
 * In: a file the browser can play, times. Out: JPEG frames. Throws when the browser cannot play the video.
 */

const LONGEST_SIDE = 768

function once(element: HTMLElement, event: string, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    element.addEventListener(event, () => resolve(), { once: true })
    element.addEventListener('error', () => reject(new Error('The browser cannot play this video.')), { once: true })
    signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
}

function toJpeg(canvas: HTMLCanvasElement, quality: number): Promise<Blob> {
  return new Promise((resolve, reject) => {
    canvas.toBlob(
      (blob) => (blob ? resolve(blob) : reject(new Error('The frame could not be drawn.'))),
      'image/jpeg',
      quality,
    )
  })
}

/** Draws an image or a video's current frame as JPEG, its longest side at most `longest` pixels. */
export async function drawJpeg(
  source: HTMLVideoElement | ImageBitmap,
  longest = LONGEST_SIDE,
  quality = 0.85,
): Promise<{ blob: Blob; width: number; height: number }> {
  const width = source instanceof HTMLVideoElement ? source.videoWidth : source.width
  const height = source instanceof HTMLVideoElement ? source.videoHeight : source.height
  const scale = Math.min(1, longest / Math.max(width, height))
  const canvas = document.createElement('canvas')
  canvas.width = Math.max(1, Math.round(width * scale))
  canvas.height = Math.max(1, Math.round(height * scale))
  const context = canvas.getContext('2d')
  if (context === null) throw new Error('The browser gives no canvas.')
  context.fillStyle = '#fff'
  context.fillRect(0, 0, canvas.width, canvas.height)
  context.drawImage(source, 0, 0, canvas.width, canvas.height)
  return { blob: await toJpeg(canvas, quality), width: canvas.width, height: canvas.height }
}

/** A smaller copy of an image that fits `bytes`. */
export async function shrinkImage(blob: Blob, bytes: number): Promise<{ blob: Blob; width: number; height: number }> {
  const bitmap = await createImageBitmap(blob)
  try {
    for (const [longest, quality] of [
      [4096, 0.9],
      [2048, 0.9],
      [1280, 0.85],
      [768, 0.8],
    ] as const) {
      const result = await drawJpeg(bitmap, longest, quality)
      if (result.blob.size <= bytes) return result
    }
    throw new Error('The image could not be made small enough.')
  } finally {
    bitmap.close()
  }
}

/** Times of `count` frames spread over a video of `duration` seconds, each in the middle of its interval. */
export function frameTimes(duration: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => ((index + 0.5) * duration) / count)
}

/** Frames of a video at the given times, in order. `onFrame` is called after each. */
export async function extractFrames(
  file: Blob,
  times: readonly number[],
  onFrame: (done: number) => void,
  signal: AbortSignal,
): Promise<Blob[]> {
  const video = document.createElement('video')
  video.muted = true
  video.playsInline = true
  video.preload = 'auto'
  const url = URL.createObjectURL(file)
  try {
    const loaded = once(video, 'loadeddata', signal)
    video.src = url
    await loaded
    const frames: Blob[] = []
    for (const time of times) {
      signal.throwIfAborted()
      const seeked = once(video, 'seeked', signal)
      video.currentTime = Math.min(time, Math.max(0, video.duration - 0.01))
      await seeked
      frames.push((await drawJpeg(video)).blob)
      onFrame(frames.length)
    }
    return frames
  } finally {
    video.removeAttribute('src')
    URL.revokeObjectURL(url)
  }
}
