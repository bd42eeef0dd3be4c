/**
 * Multimodal rotary positions of a prompt: positions of text increase on all three axes, and vision tokens have a time,
 * a row and a column.
 *
 * In: the prompt as a list of spans. Out: [3, tokens] and the reply's first position.
 *
 * Positions are fractions if the duration of a temporal patch is not an integer in position ids. It is an integer at 2,
 * 1 or 0.5 frames per second: 13, 26 or 52. Tokens after such a video continue from a fraction, as in transformers.
 *
 * Reference: transformers `Qwen3OmniMoePreTrainedModelForConditionalGeneration.get_rope_index`.
 */

import { interleave, videoTokenTimes } from './placeholders.ts'
import type { Grid } from '../../../prompt/vision-patches.ts'
import { type PromptPositions, type Span, tokenPlaces } from '../../prompt/spans.ts'

export interface PositionOptions {
  /** spatial_merge_size */
  readonly merge: number
  /** position_id_per_seconds */
  readonly rate: number
}

/**
 * `next` is the position of the first generated token on all axes: one past the prompt's last token, which is text, as
 * in `generate` (`_update_model_kwargs_for_generation`). The largest position of all can be beyond that, in a wide
 * video with little audio.
 */
export function ropePositions(
  spans: readonly Span[],
  { merge, rate }: PositionOptions,
): PromptPositions {
  const axes: [number[], number[], number[]] = [[], [], []]
  // One past the largest position of the last piece, which need not be the largest of all.
  let start = 0
  const put = (t: number, h: number, w: number): number => {
    axes[0].push(t)
    axes[1].push(h)
    axes[2].push(w)
    return Math.max(t, h, w)
  }
  const count = (tokens: number): void => {
    for (let i = 0; i < tokens; i++) put(start + i, start + i, start + i)
    start += tokens
  }
  for (const span of spans) {
    switch (span.type) {
      case 'text':
      case 'audio':
        count(span.tokens)
        break
      case 'vision': {
        const video = visionPositions(span.grid, span.secondsPerPatch, merge, rate)
        let top = start - 1
        for (let i = 0; i < video.length; i++) {
          top = Math.max(top, put(start + video.t[i]!, start + video.h[i]!, start + video.w[i]!))
        }
        start = top + 1
        break
      }
      case 'video-with-audio': {
        const video = visionPositions(span.grid, span.secondsPerPatch, merge, rate)
        const order = interleave(video.t, span.audioTokens)
        let v = 0
        let a = 0
        let top = start - 1
        for (const isVideo of order) {
          // Each token is a piece of its own, until one of the two has ended; the others are one piece.
          const inTail = v === video.length || a === span.audioTokens
          let here: number
          if (isVideo) {
            here = put(start + video.t[v]!, start + video.h[v]!, start + video.w[v]!)
            v++
          } else {
            here = put(start + a, start + a, start + a)
            a++
          }
          top = inTail ? Math.max(top, here) : start - 1
        }
        start = top + 1
        break
      }
      default:
        span satisfies never
    }
  }
  return { positions: Float32Array.from([...axes[0], ...axes[1], ...axes[2]]), next: start }
}

function visionPositions(
  grid: Grid,
  secondsPerPatch: number,
  merge: number,
  rate: number,
): { length: number; t: Float64Array; h: Int32Array; w: Int32Array } {
  const { length, perFrame, h, w } = tokenPlaces(grid, merge)
  return { length, t: videoTokenTimes(grid[0], perFrame, secondsPerPatch, rate), h, w }
}
