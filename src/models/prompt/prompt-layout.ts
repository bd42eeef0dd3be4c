/**
 * The layout of a prompt: token ids with expanded placeholders, the rows of each medium, spans for positions, and token
 * counts per modality. It does not need pixels or samples.
 *
 * Reference: transformers `Qwen3OmniMoeProcessor.__call__`, `Qwen2_5OmniProcessor.__call__`.
 */

import { EngineError, type PromptUsage } from '../../contract/index.ts'
import { type Grid, gridTokens } from '../../prompt/vision-patches.ts'
import type { ProcessorConfig } from './processor-config.ts'
import type { Span, VideoWithAudio } from './spans.ts'

/** The size of one medium, in the order of the messages. */
export type MediumShape =
  | { readonly type: 'image'; readonly grid: Grid }
  | { readonly type: 'audio'; readonly tokens: number }
  | {
      readonly type: 'video'
      readonly grid: Grid
      readonly secondsPerPatch: number
      /** Tokens of the video's audio, when it has any. */
      readonly audioTokens?: number
    }

/** Token rows of one medium. */
interface MediumRows {
  readonly vision?: Int32Array
  readonly audio?: Int32Array
}

export interface PromptLayout {
  readonly tokenIds: Int32Array
  readonly spans: readonly Span[]
  /** One for each medium, in the same order. */
  readonly rows: readonly MediumRows[]
  readonly usage: PromptUsage
}

/**
 * Expands the placeholders in `ids` (the tokenized template) for `media`. `videoOrder`: for each token of a video with
 * audio, whether it belongs to a frame.
 *
 * Throws `bad_checkpoint` when the template does not have exactly one placeholder per medium.
 */
export function layOutPrompt(
  ids: readonly number[] | Int32Array,
  media: readonly MediumShape[],
  config: ProcessorConfig,
  videoOrder: (video: VideoWithAudio) => boolean[],
): PromptLayout {
  const { tokens } = config
  const entries = media.map((medium, index) => ({ medium, index }))
  const queues = {
    image: entries.flatMap(({ medium, index }) => (medium.type === 'image' ? [{ medium, index }] : [])),
    audio: entries.flatMap(({ medium, index }) => (medium.type === 'audio' ? [{ medium, index }] : [])),
    video: entries.flatMap(({ medium, index }) => (medium.type === 'video' ? [{ medium, index }] : [])),
  }
  const out: number[] = []
  const spans: Span[] = []
  const rows: MediumRows[] = media.map(() => ({}))
  const counts = { text: 0, image: 0, audio: 0, video: 0 }
  let text = 0
  const markup = (id: number, modality: keyof typeof counts): void => {
    out.push(id)
    counts[modality]++
    text++
  }
  const span = (piece: Span): void => {
    if (text > 0) spans.push({ type: 'text', tokens: text })
    text = 0
    spans.push(piece)
  }
  const fill = (id: number, count: number, modality: keyof typeof counts): Int32Array => {
    const first = out.length
    for (let i = 0; i < count; i++) out.push(id)
    counts[modality] += count
    return Int32Array.from({ length: count }, (_, i) => first + i)
  }

  for (const [at, id] of ids.entries()) {
    if (id === tokens.image) {
      const { medium, index } = next(queues.image, 'image')
      span({ type: 'vision', grid: medium.grid, secondsPerPatch: 1 })
      rows[index] = { vision: fill(id, gridTokens(medium.grid, config.image.mergeSize), 'image') }
    } else if (id === tokens.audio) {
      const { medium, index } = next(queues.audio, 'audio')
      span({ type: 'audio', tokens: medium.tokens })
      rows[index] = { audio: fill(id, medium.tokens, 'audio') }
    } else if (id === tokens.video) {
      const { medium, index } = next(queues.video, 'video')
      const { grid, secondsPerPatch, audioTokens } = medium
      const count = gridTokens(grid, config.video.mergeSize)
      if (audioTokens === undefined) {
        span({ type: 'vision', grid, secondsPerPatch })
        rows[index] = { vision: fill(id, count, 'video') }
      } else {
        if (tokens.audioEnd < 0) {
          throw new EngineError('bad_checkpoint', 'config.json: thinker_config lacks audio_end_token_id')
        }
        markup(tokens.audioStart, 'audio')
        span({ type: 'video-with-audio', grid, secondsPerPatch, audioTokens })
        const vision: number[] = []
        const audio: number[] = []
        for (const isVideo of videoOrder({ grid, secondsPerPatch, audioTokens })) {
          ;(isVideo ? vision : audio).push(out.length)
          out.push(isVideo ? tokens.video : tokens.audio)
        }
        counts.video += vision.length
        counts.audio += audio.length
        rows[index] = { vision: Int32Array.from(vision), audio: Int32Array.from(audio) }
        markup(tokens.audioEnd, 'audio')
      }
    } else {
      markup(id, markerModality(ids, at, config))
    }
  }
  if (text > 0) spans.push({ type: 'text', tokens: text })
  for (const type of ['image', 'audio', 'video'] as const) if (queues[type].length > 0) throw misplaced(type)
  return { tokenIds: Int32Array.from(out), spans, rows, usage: { total: out.length, ...counts } }
}

function next<T>(queue: T[], type: string): T {
  const first = queue.shift()
  if (first === undefined) throw misplaced(type)
  return first
}

function misplaced(type: string): EngineError {
  return new EngineError(
    'bad_checkpoint',
    `the chat template did not place each ${type} once; chat_template.jinja or chat_template.json must write one placeholder per ${type} part`,
  )
}

/** Start and end markers next to a placeholder count towards its modality. */
function markerModality(
  ids: readonly number[] | Int32Array,
  at: number,
  { tokens }: ProcessorConfig,
): 'text' | 'image' | 'audio' | 'video' {
  const id = ids[at]
  const opens = id === tokens.visionStart || id === tokens.audioStart
  const closes = id === tokens.visionEnd || id === tokens.audioEnd
  if (!opens && !closes) return 'text'
  const neighbour = opens ? ids[at + 1] : ids[at - 1]
  if (neighbour === tokens.image) return 'image'
  if (neighbour === tokens.audio) return 'audio'
  if (neighbour === tokens.video) return 'video'
  return 'text'
}
