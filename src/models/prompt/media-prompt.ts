/**
 * Builds prompts with images, audio and video from a checkpoint's tokenizer, chat template and preprocessing.
 *
 * In: messages, and the rules of a family ({@link PromptRules}). Out: a `PreparedPrompt`, or only its token counts.
 *
 * Reference: transformers `Qwen3OmniMoeProcessor`, `Qwen2_5OmniProcessor` (`apply_chat_template`, `__call__`).
 */

import { type AudioFacts, EngineError, type GenerationMessage } from '../../contract/index.ts'
import { loadChatTemplate } from '../../prompt/chat-template.ts'
import type { CheckpointFiles } from '../../prompt/checkpoint-files.ts'
import { mediaParts, type MediumSize, statedSize } from '../../prompt/decoded-messages.ts'
import { melFrames } from '../../prompt/log-mel.ts'
import { MeasuredSizes } from '../../prompt/measured-media.ts'
import type { PromptBuilder, PromptOptions } from '../../prompt/prompt-builder.ts'
import { loadTokenizer, type PromptTokenizer } from '../../prompt/tokenizer.ts'
import { visionGrid } from '../../prompt/vision-patches.ts'
import { checkMediaTokens } from './check-tokens.ts'
import { mediumFeatures } from './medium-features.ts'
import { type ProcessorConfig, type ProcessorDefaults, readProcessorConfig } from './processor-config.ts'
import { layOutPrompt, type MediumShape, type PromptLayout } from './prompt-layout.ts'
import type { PromptPositions, Span, VideoWithAudio } from './spans.ts'

/** Prompt rules of a family. */
export interface PromptRules {
  /** Chat template of a checkpoint without one. */
  readonly template: string
  readonly processor: ProcessorDefaults
  /** Ids that end a reply. */
  endTokens(files: CheckpointFiles, tokenizer: PromptTokenizer): number[]
  /** Tokens of an audio of `frames` mel frames. */
  audioTokens(frames: number, config: ProcessorConfig): number
  /**
   * Samples over which the mel spectrogram of an audio is computed, including silence after it. `longest`: samples of
   * the longest audio of the request.
   */
  paddedLength(samples: number, longest: number, config: ProcessorConfig): number
  /** For each token of a video with audio, whether it belongs to a frame. */
  videoOrder(video: VideoWithAudio, config: ProcessorConfig): boolean[]
  positions(spans: readonly Span[], config: ProcessorConfig): PromptPositions
  /** The messages of a prompt whose reply includes speech. */
  spokenMessages?(messages: readonly GenerationMessage[]): readonly GenerationMessage[]
  /** Throws `EngineError('unsupported')` for audio that the family does not support. */
  checkAudio?(audio: AudioFacts, config: ProcessorConfig): void
}

export interface MediaPromptBuilder extends PromptBuilder {
  readonly config: ProcessorConfig
  /** Ids of a prompt with one token per medium, for checks of a checkpoint. Only the media's types are used. */
  templateIds(messages: readonly GenerationMessage[]): readonly number[]
}

/** Throws `EngineError('bad_checkpoint')` naming the file that is missing, invalid, or inconsistent with another. */
export function createMediaPrompt(files: CheckpointFiles, rules: PromptRules): MediaPromptBuilder {
  const config = readProcessorConfig(files, rules.processor)
  const tokenizer = loadTokenizer(files)
  const template = loadChatTemplate(files, tokenizer, rules.template)
  const endTokenIds = rules.endTokens(files, tokenizer)
  const measured = new MeasuredSizes()

  function templateIds(messages: readonly GenerationMessage[]): readonly number[] {
    const chat = template.render(messages, undefined)
    return tokenizer.encodeMarkup(chat.text, chat.marker)
  }
  checkMediaTokens(files, config, rules.processor, templateIds, tokenizer)

  async function layOut(
    asked: readonly GenerationMessage[],
    sizes: readonly MediumSize[],
    options: PromptOptions,
  ): Promise<PromptLayout & { insideReasoning: boolean; longest: number; shapes: readonly MediumShape[] }> {
    const tracks = sizes.flatMap(audioOf)
    for (const track of tracks) {
      checkRate(track, config)
      rules.checkAudio?.(track, config)
    }
    const longest = Math.max(0, ...tracks.map(({ samples }) => samples))
    const shapes = sizes.map((size) => mediumShape(size, longest, config, rules))
    const messages = options.speech === true && rules.spokenMessages ? rules.spokenMessages(asked) : asked
    const chat = template.render(messages, options.thinking, options.tools)
    checkLength(chat, tokenizer, config.contextLength)
    const ids = await tokenizer.encodeMarkupLater(chat.text, chat.marker, options.signal)
    const layout = layOutPrompt(ids, shapes, config, (video) => rules.videoOrder(video, config))
    return { ...layout, insideReasoning: chat.insideReasoning, longest, shapes }
  }

  function canThink(): boolean {
    if (tokenizer.idOf('<think>') === undefined || tokenizer.idOf('</think>') === undefined) return false
    const probe: GenerationMessage[] = [{ role: 'user', content: [{ type: 'text', text: 'x' }] }]
    return template.thinking === 'switch' || template.render(probe, undefined).insideReasoning
  }

  return {
    tokenizer,
    config,
    templateIds,
    thinking: template.thinking,
    canThink: canThink(),
    tools: template.tools,
    audioFeatures: config.audio,
    endTokenIds,
    count: async (messages, options = {}) =>
      (await layOut(messages, mediaParts(messages).map(statedSize), options)).usage,
    async prepare(messages, options = {}) {
      const { signal } = options
      signal?.throwIfAborted()
      const media = await Promise.all(mediaParts(messages).map((part) => measured.measure(part, signal)))
      const layout = await layOut(
        messages,
        media.map(({ size }) => size),
        options,
      )
      const { positions, next } = rules.positions(layout.spans, config)
      const padded = (samples: number): number => rules.paddedLength(samples, layout.longest, config)
      const features = media.flatMap((medium, index) =>
        mediumFeatures(medium, layout.shapes[index]!, layout.rows[index]!, config, padded),
      )
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

function mediumShape(size: MediumSize, longest: number, config: ProcessorConfig, rules: PromptRules): MediumShape {
  const tokensOf = ({ samples }: AudioFacts): number =>
    rules.audioTokens(melFrames(samples, rules.paddedLength(samples, longest, config), config.audio), config)
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

/** Refuses a text that cannot fit before it is tokenized. @throws EngineError `context_overflow` */
function checkLength(
  { text, marker }: { readonly text: string; readonly marker?: string | undefined },
  tokenizer: PromptTokenizer,
  contextLength: number,
): void {
  if (text.length <= contextLength) return
  const fewest = tokenizer.fewestTokens(text, marker)
  if (fewest < contextLength) return
  throw new EngineError(
    'context_overflow',
    `The prompt takes at least ${fewest} tokens and the context holds ${contextLength}; shorten the messages.`,
    { param: 'messages' },
  )
}
