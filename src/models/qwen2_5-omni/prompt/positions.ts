/**
 * TMRoPE: rotary positions of a prompt, and the interleaved order of a video's tokens and its audio's tokens.
 *
 * In: the prompt as a list of spans. Out: [3, tokens] integers, and the reply's first position. Positions of text
 * increase on all three axes. Vision tokens have a time in steps of 1/25 s, a row and a column. A video and its audio
 * start at the same position and are interleaved in chunks of two seconds.
 *
 * Reference: transformers `Qwen2_5OmniPreTrainedModelForConditionalGeneration.get_rope_index`.
 */

import { type PromptPositions, type Span, tokenPlaces, type VideoWithAudio } from '../../prompt/spans.ts'

export interface PositionOptions {
  /** spatial_merge_size */
  readonly merge: number
  /** position_id_per_seconds */
  readonly rate: number
  /** seconds_per_chunk */
  readonly chunkSeconds: number
}

/** Runs of tokens of one kind, in prompt order. `from` and `until` count tokens of that kind. */
interface Run {
  readonly video: boolean
  readonly from: number
  readonly until: number
}

/** For each token of a video with audio, whether it belongs to the video. */
export function videoOrder(video: VideoWithAudio, options: PositionOptions): boolean[] {
  return videoRuns(video, options).flatMap(({ video: own, from, until }) => Array.from({ length: until - from }, () => own))
}

/**
 * `next` is one past the prompt's last token, which is text, as in `generate` (`_update_model_kwargs_for_generation`).
 * The largest position of all can be beyond that, in a tall video with little audio.
 */
export function ropePositions(spans: readonly Span[], options: PositionOptions): PromptPositions {
  const axes: [number[], number[], number[]] = [[], [], []]
  // One past the largest position of the last piece, which need not be the largest of all.
  let start = 0
  const put = (t: number, h: number, w: number): number => {
    axes[0].push(t)
    axes[1].push(h)
    axes[2].push(w)
    return Math.max(t, h, w)
  }
  const same = (position: number): number => put(position, position, position)
  for (const [index, span] of spans.entries()) {
    switch (span.type) {
      case 'text': {
        // A video with audio starts and ends with two markers that share one position.
        const before = spans[index - 1]?.type === 'video-with-audio'
        const after = spans[index + 1]?.type === 'video-with-audio'
        for (let i = 0; i < span.tokens; i++) {
          if ((before && i === 1) || (after && i === span.tokens - 1)) start--
          same(start++)
        }
        break
      }
      case 'audio':
        for (let i = 0; i < span.tokens; i++) same(start++)
        break
      case 'vision': {
        const { length, perFrame, h, w } = tokenPlaces(span.grid, options.merge)
        const times = frameTimes(span.grid[0], span.secondsPerPatch, options.rate)
        let top = start - 1
        for (let i = 0; i < length; i++)
          top = Math.max(top, put(start + times[Math.floor(i / perFrame)]!, start + h[i]!, start + w[i]!))
        start = top + 1
        break
      }
      case 'video-with-audio': {
        const { perFrame, h, w } = tokenPlaces(span.grid, options.merge)
        const times = frameTimes(span.grid[0], span.secondsPerPatch, options.rate)
        let top = start - 1
        for (const { video, from, until } of videoRuns(span, options)) {
          top = -1
          for (let i = from; i < until; i++)
            top = Math.max(
              top,
              video ? put(start + times[Math.floor(i / perFrame)]!, start + h[i]!, start + w[i]!) : same(start + i),
            )
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

/**
 * Time of each frame of a grid. As in transformers, only the product is truncated, in single precision.
 */
function frameTimes(frames: number, secondsPerPatch: number, rate: number): Int32Array {
  const seconds = Math.fround(secondsPerPatch)
  return Int32Array.from({ length: frames }, (_, frame) => Math.trunc(Math.fround(Math.fround(frame * seconds) * rate)))
}

/**
 * Alternates chunks of the video and of its audio, starting with the video. Remaining chunks of the longer one follow.
 */
function videoRuns({ grid, secondsPerPatch, audioTokens }: VideoWithAudio, options: PositionOptions): Run[] {
  const { merge, rate, chunkSeconds } = options
  const { length, perFrame } = tokenPlaces(grid, merge)
  const times = frameTimes(grid[0], secondsPerPatch, rate)
  const perChunk = Math.trunc(rate * chunkSeconds)
  const video = chunksOf(length, perChunk, (i) => times[Math.floor(i / perFrame)]!)
  const audio = chunksOf(audioTokens, perChunk, (i) => i)
  const runs: Run[] = []
  for (let i = 0; i < Math.max(video.length, audio.length); i++) {
    const [ofVideo, ofAudio] = [video[i], audio[i]]
    if (ofVideo) runs.push({ video: true, from: ofVideo[0], until: ofVideo[1] })
    if (ofAudio) runs.push({ video: false, from: ofAudio[0], until: ofAudio[1] })
  }
  return runs
}

/**
 * Divides `count` tokens where their time reaches the next multiple of `perChunk`. There is at most one boundary per
 * token, so a video with few frames lags behind its audio, as in transformers' `get_chunked_index`.
 */
function chunksOf(count: number, perChunk: number, timeOf: (token: number) => number): [number, number][] {
  const chunks: [number, number][] = []
  let from = 0
  for (let token = 0; token < count; token++) {
    if (timeOf(token) >= (chunks.length + 1) * perChunk) {
      chunks.push([from, token])
      from = token
    }
  }
  chunks.push([from, count])
  return chunks
}
