/** Divides a prompt into spans with rotary positions, for families with media input. */

import type { Grid } from '../../prompt/vision-patches.ts'

/** A video whose audio is interleaved with its frames. */
export interface VideoWithAudio {
  readonly grid: Grid
  readonly secondsPerPatch: number
  readonly audioTokens: number
}

/** A span of the prompt. Start and end markers are text. */
export type Span =
  | { readonly type: 'text'; readonly tokens: number }
  | { readonly type: 'audio'; readonly tokens: number }
  | { readonly type: 'vision'; readonly grid: Grid; readonly secondsPerPatch: number }
  | ({ readonly type: 'video-with-audio' } & VideoWithAudio)

export interface PromptPositions {
  /** [3, tokens]: temporal, height, width. */
  readonly positions: Float32Array
  /** Position of the first generated token, on all axes. */
  readonly next: number
}

/** Row and column of each token of a grid, frame by frame. `merge`: patches per side of a token. */
export function tokenPlaces(
  [temporal, height, width]: Grid,
  merge: number,
): { length: number; perFrame: number; h: Int32Array; w: Int32Array } {
  const rows = Math.floor(height / merge)
  const columns = Math.floor(width / merge)
  const length = temporal * rows * columns
  const h = new Int32Array(length)
  const w = new Int32Array(length)
  for (let i = 0; i < length; i++) {
    h[i] = Math.floor(i / columns) % rows
    w[i] = i % columns
  }
  return { length, perFrame: rows * columns, h, w }
}
