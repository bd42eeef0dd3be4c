/**
 * Placeholder tokens of media: how many, and in which order for a video with audio.
 *
 * Reference: transformers `Qwen3OmniMoeProcessor.replace_*_token`, `_get_feat_extract_output_lengths`.
 */

/** Audio tokens for `frames` mel frames. `window` is the encoder's n_window; each 2 * window frames give 13 tokens. */
export function audioTokens(frames: number, window: number): number {
  const chunk = window * 2
  const rest = frames % chunk
  let tokens = Math.floor((rest - 1) / 2) + 1
  tokens = Math.floor((tokens - 1) / 2) + 1
  tokens = Math.floor((tokens - 1) / 2) + 1
  return tokens + Math.floor(frames / chunk) * 13
}

/**
 * Merges a video's frame tokens with its audio's tokens in time.
 *
 * @param videoTimes Time of each frame token, in position ids, ascending.
 * @param audioCount Audio tokens: one position id each, from 0.
 * @returns For each token in order, whether it belongs to the video.
 */
export function interleave(videoTimes: Float64Array, audioCount: number): boolean[] {
  const order: boolean[] = []
  let video = 0
  let audio = 0
  while (video < videoTimes.length && audio < audioCount) {
    if (videoTimes[video]! <= audio) {
      order.push(true)
      video++
    } else {
      order.push(false)
      audio++
    }
  }
  for (; video < videoTimes.length; video++) order.push(true)
  for (; audio < audioCount; audio++) order.push(false)
  return order
}

/** Times of a video's tokens: all tokens of a temporal patch share its start. */
export function videoTokenTimes(
  temporal: number,
  perPatch: number,
  secondsPerPatch: number,
  rate: number,
): Float64Array {
  const times = new Float64Array(temporal * perPatch)
  for (let t = 0; t < temporal; t++) times.fill(t * secondsPerPatch * rate, t * perPatch, (t + 1) * perPatch)
  return times
}
