/**
 * Which frames of a clip are looked at: how many, and which indices. Pure.
 *
 * How many: the guide's own rule (`smart_nframes`), so that frames and the token count agree. Which: evenly from the
 * first to the last, as Qwen's `qwen-omni-utils` picks them (`torch.linspace(0, total - 1, n).round()`), rounding
 * included: single precision, built from both ends, halves to even.
 */

export interface FrameSampling {
  /** Frames per second wanted. */
  readonly fps: number
  readonly minFrames: number
  readonly maxFrames: number
}

/** Frames come in pairs: the vision encoder's temporal patch. */
const frameFactor = 2

/**
 * Number of frames to take.
 *
 * @param totalFrames frames in the clip
 * @param videoFps the clip's frames per second, positive
 * @returns undefined when the clip is too short: half a second or less, or fewer than two frames
 */
export function sampledFrameCount(totalFrames: number, videoFps: number, sampling: FrameSampling): number | undefined {
  const least = Math.ceil(sampling.minFrames / frameFactor) * frameFactor
  const most = Math.floor(Math.min(sampling.maxFrames, totalFrames) / frameFactor) * frameFactor
  const duration = totalFrames / videoFps
  const whole = Math.trunc(duration)
  const counted = Math.ceil((duration - whole > 1 / sampling.fps ? duration : whole) * videoFps)
  const wanted = (counted / videoFps) * sampling.fps
  const count = Math.trunc(Math.min(Math.max(wanted, least), most, counted))
  return count >= frameFactor && count <= counted ? count : undefined
}

/** Indices of `count` frames out of `totalFrames`, ascending, first and last included. */
export function sampledFrameIndices(totalFrames: number, count: number): number[] {
  const last = totalFrames - 1
  if (count === 1) return [0]
  const step = Math.fround(last / (count - 1))
  const half = Math.trunc(count / 2)
  return Array.from({ length: count }, (_, i) =>
    roundHalfToEven(i < half ? Math.fround(step * i) : Math.fround(last - Math.fround(step * (count - i - 1)))),
  )
}

function roundHalfToEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  if (rest < 0.5) return floor
  if (rest > 0.5) return floor + 1
  return floor % 2 === 0 ? floor : floor + 1
}
