/**
 * The number of sampled frames of a video. Pure.
 *
 * Reference: `smart_nframes` of the Qwen-Omni guide (December 2025).
 */

/** The number of frames is even: the vision encoder's temporal patch has two frames. */
export const frameFactor = 2

export interface FrameSampling {
  /** Requested frames per second. */
  readonly fps: number
  readonly minFrames: number
  readonly maxFrames: number
}

/**
 * @param totalFrames frames in the video
 * @param videoFps the video's frames per second, positive
 * @returns undefined when the video is too short: half a second or less, or fewer than two frames
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
