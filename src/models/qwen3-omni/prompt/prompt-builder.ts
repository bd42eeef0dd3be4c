/**
 * Prompts of Qwen3-Omni: a checkpoint's tokenizer, chat template and preprocessing behind two functions.
 *
 * In: messages. Out: a `PreparedPrompt`, or only its token counts.
 *
 * Reference: transformers `Qwen3OmniMoeProcessor.apply_chat_template` and `get_rope_index`.
 */

import { type AudioFacts, EngineError, type GenerationMessage } from '../../../contract/index.ts'
import { loadChatTemplate } from '../../../prompt/chat-template.ts'
import type { CheckpointFiles } from '../../../prompt/checkpoint-files.ts'
import { mediaParts, type MediumSize, statedSize } from '../../../prompt/decoded-messages.ts'
import { readEndTokens } from '../../../prompt/end-tokens.ts'
import { melFrames, paddedLength } from '../../../prompt/log-mel.ts'
import { MeasuredSizes } from '../../../prompt/measured-media.ts'
import type { PromptBuilder, PromptOptions } from '../../../prompt/prompt-builder.ts'
import { loadTokenizer } from '../../../prompt/tokenizer.ts'
import { visionGrid } from '../../../prompt/vision-patches.ts'
import { chatMl } from './chat-ml.ts'
import { mediumFeatures } from './medium-features.ts'
import { audioTokens } from './placeholders.ts'
import { ropePositions } from './positions.ts'
import { type ProcessorConfig, readProcessorConfig } from './processor-config.ts'
import { layOutPrompt, type MediumShape, type PromptLayout } from './prompt-layout.ts'

export interface Qwen3PromptBuilder extends PromptBuilder {
  readonly config: ProcessorConfig
}

/** Throws `EngineError('bad_checkpoint')` naming the file that is missing, broken or contradicts another. */
export function createQwen3Prompt(files: CheckpointFiles): Qwen3PromptBuilder {
  const config = readProcessorConfig(files)
  const tokenizer = loadTokenizer(files)
  const template = loadChatTemplate(files, tokenizer, chatMl)
  const endTokenIds = readEndTokens(files, tokenizer, '<|im_end|>', files.json('config.json')?.['im_end_token_id'])

  const sizes = new MeasuredSizes()

  async function layOut(
    messages: readonly GenerationMessage[],
    given: readonly MediumSize[],
    options: PromptOptions,
  ): Promise<PromptLayout & { insideReasoning: boolean; longest: number; shapes: readonly MediumShape[] }> {
    const tracks = given.flatMap(audioOf)
    for (const track of tracks) checkRate(track, config)
    const longest = Math.max(0, ...tracks.map(({ samples }) => samples))
    const shapes = given.map((size) => mediumShape(size, longest, config))
    const chat = template.render(messages, options.thinking)
    const ids = await tokenizer.encodeMarkupLater(chat.text, chat.marker, options.signal)
    return { ...layOutPrompt(ids, shapes, config), insideReasoning: chat.insideReasoning, longest, shapes }
  }

  function canThink(): boolean {
    if (tokenizer.idOf('<think>') === undefined || tokenizer.idOf('</think>') === undefined) return false
    const probe: GenerationMessage[] = [{ role: 'user', content: [{ type: 'text', text: 'x' }] }]
    return template.thinking === 'switch' || template.render(probe, undefined).insideReasoning
  }

  return {
    tokenizer,
    config,
    thinking: template.thinking,
    canThink: canThink(),
    endTokenIds,
    count: async (messages, options = {}) => (await layOut(messages, mediaParts(messages).map(statedSize), options)).usage,
    async prepare(messages, options = {}) {
      const { signal } = options
      signal?.throwIfAborted()
      const media = await Promise.all(mediaParts(messages).map((part) => sizes.measure(part, signal)))
      const layout = await layOut(
        messages,
        media.map(({ size }) => size),
        options,
      )
      const { positions, next } = ropePositions(layout.spans, {
        merge: config.positionMerge,
        rate: config.positionRate,
      })
      const features = media.flatMap((medium, index) =>
        mediumFeatures(medium, layout.shapes[index]!, layout.rows[index]!, layout.longest, config),
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
