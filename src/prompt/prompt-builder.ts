/**
 * A checkpoint's tokenizer, chat template and preprocessing behind two functions.
 *
 * In: messages. Out: a {@link PreparedPrompt}, or only its token counts.
 *
 * Reference: transformers `Qwen3OmniMoeProcessor.apply_chat_template` and `get_rope_index`.
 */

import {
  type AudioFacts,
  EngineError,
  type GenerationMessage,
  type MonoPcm,
  type PromptUsage,
} from '../contract/index.ts'
import { loadChatTemplate } from './chat-template.ts'
import {
  type DecodedMedium,
  decodedSize,
  decodeMedium,
  mediaParts,
  type MediumSize,
  statedSize,
} from './decoded-messages.ts'
import { logMel, melFrames, paddedLength } from './log-mel.ts'
import { audioTokens } from './placeholders.ts'
import { ropePositions } from './positions.ts'
import type { PreparedPrompt, PromptFeature } from './prepared-prompt.ts'
import { loadProcessorConfig, type ProcessorConfig } from './processor-config.ts'
import { folderFiles, type PromptFiles } from './prompt-files.ts'
import { layOutPrompt, type MediumShape, type PromptLayout } from './prompt-layout.ts'
import { loadTokenizer, type PromptTokenizer } from './tokenizer.ts'
import { visionGrid, visionPatches } from './vision-patches.ts'

export interface PromptOptions {
  /** Handed to the template as `enable_thinking`. Undefined leaves the checkpoint's default. */
  readonly thinking?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

export interface PromptBuilder {
  readonly tokenizer: PromptTokenizer
  readonly config: ProcessorConfig
  /** `switch`: `thinking` changes the prompt. `fixed`: the checkpoint always, or never, thinks. */
  readonly thinking: 'fixed' | 'switch'
  /**
   * The whole prompt, features included. Throws `EngineError('unsupported')` for media that cannot be taken and the
   * signal's reason once aborted. Does not check the context length: compare `tokenIds.length`.
   */
  prepare(messages: readonly GenerationMessage[], options?: PromptOptions): Promise<PreparedPrompt>
  /** Token counts as `prepare` would give them, without decoding anything. */
  count(messages: readonly GenerationMessage[], options?: PromptOptions): PromptUsage
}

/** Loads a checkpoint folder (or an opened checkpoint's files). Throws `EngineError('bad_checkpoint')`. */
export async function createPromptBuilder(source: string | PromptFiles): Promise<PromptBuilder> {
  const files = typeof source === 'string' ? folderFiles(source) : source
  const config = await loadProcessorConfig(files)
  const tokenizer = await loadTokenizer(files)
  const template = await loadChatTemplate(files, tokenizer)

  function layOut(
    messages: readonly GenerationMessage[],
    sizes: readonly MediumSize[],
    options: PromptOptions,
  ): PromptLayout & { insideReasoning: boolean; longest: number } {
    const tracks = sizes.flatMap(audioOf)
    for (const track of tracks) checkRate(track, config)
    const longest = Math.max(0, ...tracks.map(({ samples }) => samples))
    const shapes = sizes.map((size) => mediumShape(size, longest, config))
    const chat = template.render(messages, options.thinking)
    const ids = tokenizer.encodeMarkup(chat.text, chat.marker)
    return { ...layOutPrompt(ids, shapes, config), insideReasoning: chat.insideReasoning, longest }
  }

  return {
    tokenizer,
    config,
    thinking: template.thinking,
    count: (messages, options = {}) => layOut(messages, mediaParts(messages).map(statedSize), options).usage,
    async prepare(messages, options = {}) {
      const { signal } = options
      signal?.throwIfAborted()
      const media = await Promise.all(mediaParts(messages).map((part) => decodeMedium(part, signal)))
      for (const medium of media) checkFrames(medium)
      const layout = layOut(messages, media.map(decodedSize), options)
      const { positions, next } = ropePositions(layout.spans, {
        merge: config.positionMerge,
        rate: config.positionRate,
      })
      const features: PromptFeature[] = []
      const addAudio = async ({ samples }: MonoPcm, rows: Int32Array): Promise<void> => {
        const padded = paddedLength(samples.length, config.audio, layout.longest)
        features.push({ type: 'audio', rows, ...(await logMel(samples, config.audio, padded, signal)) })
      }
      for (const [index, medium] of media.entries()) {
        const { vision, audio } = layout.rows[index]!
        switch (medium.type) {
          case 'image':
            features.push({
              type: 'vision',
              rows: vision!,
              ...(await visionPatches([medium.image], config.image, signal)),
            })
            break
          case 'audio':
            await addAudio(medium.audio, audio!)
            break
          case 'video':
            features.push({
              type: 'vision',
              rows: vision!,
              ...(await visionPatches(medium.video.frames, config.video, signal)),
            })
            if (medium.video.audio !== undefined) await addAudio(medium.video.audio, audio!)
            break
          default:
            medium satisfies never
        }
      }
      signal?.throwIfAborted()
      return {
        tokenIds: layout.tokenIds,
        positions,
        nextPosition: next,
        features,
        insideReasoning: layout.insideReasoning,
        usage: layout.usage,
      }
    },
  }
}

function audioOf(size: MediumSize): AudioFacts[] {
  if (size.type === 'audio') return [size]
  return size.type === 'video' && size.audio !== undefined ? [size.audio] : []
}

function checkRate({ sampleRate }: AudioFacts, { audio }: ProcessorConfig): void {
  if (sampleRate === audio.sampleRate) return
  throw new EngineError('unsupported', `audio must come at ${audio.sampleRate} Hz, not ${sampleRate} Hz`, {
    param: 'messages',
  })
}

function checkFrames(medium: DecodedMedium): void {
  if (medium.type !== 'video') return
  const { frames } = medium.video
  if (frames.some(({ width, height }) => width !== frames[0]!.width || height !== frames[0]!.height))
    throw new EngineError('unsupported', "all of a video's frames must have one size", { param: 'messages' })
}

function mediumShape(size: MediumSize, longest: number, config: ProcessorConfig): MediumShape {
  const tokensOf = ({ samples }: AudioFacts): number =>
    audioTokens(melFrames(samples, paddedLength(samples, config.audio, longest), config.audio), config.audio.window)
  switch (size.type) {
    case 'image':
      return { type: 'image', grid: visionGrid(size.height, size.width, 1, config.image) }
    case 'audio':
      return { type: 'audio', tokens: tokensOf(size) }
    case 'video': {
      const { width, height, frames, fps, audio } = size
      if (frames === 0) {
        throw new EngineError('unsupported', 'a video must have at least one frame', { param: 'messages' })
      }
      if (!(fps > 0)) {
        throw new EngineError('unsupported', `a video's fps must be over 0, not ${fps}`, { param: 'messages' })
      }
      return {
        type: 'video',
        grid: visionGrid(height, width, frames, config.video),
        secondsPerPatch: config.video.temporalPatchSize / fps,
        ...(audio === undefined ? {} : { audioTokens: tokensOf(audio) }),
      }
    }
    default:
      return size satisfies never
  }
}
