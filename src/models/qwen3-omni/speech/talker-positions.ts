/**
 * Positions of the prompt's user turns in the talker's sequence.
 *
 * In: a prepared prompt and the user turns' row ranges. Out: [3, rows] and the next text's position. Pure.
 *
 * A turn has its positions in the thinker, minus the rows that the talker skips. One exception: transformers computes
 * the talker's positions without `use_audio_in_video`, so positions of a video with audio increase like those of text,
 * unless an image or a silent video follows. This is also the case here. Reference: transformers
 * `Qwen3OmniMoePreTrainedModelForConditionalGeneration.get_rope_index` as called by
 * `Qwen3OmniMoeTalkerForConditionalGeneration._prepare_position_ids_for_generation`.
 */

import type { PreparedPrompt } from '../../../prompt/prepared-prompt.ts'

/** Rows [from, until) of the prompt. */
export interface RowRange {
  readonly from: number
  readonly until: number
}

type Medium = RowRange & { readonly kind: 'image' | 'video' | 'video-with-audio' | 'audio' }

export function talkerPositions(
  prompt: Pick<PreparedPrompt, 'positions' | 'nextPosition' | 'features'>,
  turns: readonly RowRange[],
): { positions: Float32Array; next: number } {
  const length = prompt.positions.length / 3
  const rows = turns.reduce((sum, { from, until }) => sum + until - from, 0)
  const flat = countedAsText(prompt.features, turns)
  const positions = new Float32Array(3 * rows)
  let out = 0
  let next = 0
  for (const { from, until } of turns) {
    let shift = next - (prompt.positions[from] ?? 0)
    let row = from
    while (row < until) {
      const medium = flat.find((range) => range.from === row)
      if (medium) {
        let position = row === from ? next : 1 + positions[out - 1]!
        for (; row < medium.until; row += 1) {
          for (let axis = 0; axis < 3; axis += 1) positions[axis * rows + out] = position
          position += 1
          out += 1
        }
        shift = position - (row < length ? prompt.positions[row]! : prompt.nextPosition)
        continue
      }
      for (let axis = 0; axis < 3; axis += 1)
        positions[axis * rows + out] = prompt.positions[axis * length + row]! + shift
      row += 1
      out += 1
    }
    next = shift + (until < length ? prompt.positions[until]! : prompt.nextPosition)
  }
  return { positions, next }
}

/** Videos with audio whose positions increase like those of text in transformers' talker, in order. */
function countedAsText(features: PreparedPrompt['features'], turns: readonly RowRange[]): RowRange[] {
  const media = listMedia(features).filter(({ from }) => turns.some((turn) => from >= turn.from && from < turn.until))
  let images = media.filter(({ kind }) => kind === 'image').length
  let videos = media.filter(({ kind }) => kind === 'video').length
  const flat: RowRange[] = []
  for (const medium of media) {
    switch (medium.kind) {
      case 'image':
        images -= 1
        break
      case 'video':
        videos -= 1
        break
      case 'video-with-audio':
        if (images > 0 || videos > 0) videos -= 1
        else flat.push(medium)
        break
      case 'audio':
        break
      default:
        medium.kind satisfies never
    }
  }
  return flat
}

function listMedia(features: PreparedPrompt['features']): Medium[] {
  const spans = features.map((feature) => ({
    feature,
    from: feature.rows[0] ?? 0,
    until: (feature.rows.at(-1) ?? -1) + 1,
  }))
  const vision = spans.filter(({ feature }) => feature.type === 'vision')
  const media: Medium[] = []
  for (const { feature, from, until } of spans) {
    if (feature.type === 'audio') {
      const video = vision.find((span) => touches(span, { from, until }))
      if (!video) media.push({ kind: 'audio', from, until })
      continue
    }
    const audio = spans.find((span) => span.feature.type === 'audio' && touches(span, { from, until }))
    if (audio)
      media.push({
        kind: 'video-with-audio',
        from: Math.min(from, audio.from),
        until: Math.max(until, audio.until),
      })
    else media.push({ kind: feature.grid[0] > 1 ? 'video' : 'image', from, until })
  }
  return media.toSorted((left, right) => left.from - right.from)
}

/**
 * Whether two media share a span of the prompt: there is no marker between a video's frames and its audio.
 */
function touches(left: RowRange, right: RowRange): boolean {
  return left.from <= right.until && right.from <= left.until
}
