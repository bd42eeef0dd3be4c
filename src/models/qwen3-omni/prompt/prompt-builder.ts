/**
 * Prompts of Qwen3-Omni: a checkpoint's tokenizer, chat template and preprocessing behind two functions.
 *
 * In: messages with decoded media. Out: a `PreparedPrompt`, or only its token counts.
 *
 * Reference: transformers `Qwen3OmniMoeProcessor.apply_chat_template` and `get_rope_index`.
 */

import { EngineError, type GenerationMessage, type MonoPcm } from '../../../contract/index.ts'
import { loadChatTemplate } from '../../../prompt/chat-template.ts'
import type { CheckpointFiles } from '../../../prompt/checkpoint-files.ts'
import { readEndTokens } from '../../../prompt/end-tokens.ts'
import { logMel, melFrames, paddedLength } from '../../../prompt/log-mel.ts'
import type { PromptFeature } from '../../../prompt/prepared-prompt.ts'
import type { PromptBuilder, PromptOptions } from '../../../prompt/prompt-builder.ts'
import { loadTokenizer } from '../../../prompt/tokenizer.ts'
import { visionGrid, visionPatches } from '../../../prompt/vision-patches.ts'
import { chatMl } from './chat-ml.ts'
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

  function layOut(
    messages: readonly GenerationMessage[],
    options: PromptOptions,
  ): PromptLayout & { insideReasoning: boolean; longest: number } {
    const parts = mediaParts(messages)
    const sounds = parts.flatMap(soundOf)
    for (const sound of sounds) checkSound(sound, config)
    const longest = Math.max(0, ...sounds.map((sound) => sound.samples.length))
    const shapes = parts.map((part) => mediumShape(part, longest, config))
    const chat = template.render(messages, options.thinking)
    const ids = tokenizer.encodeMarkup(chat.text, chat.marker)
    return { ...layOutPrompt(ids, shapes, config), insideReasoning: chat.insideReasoning, longest }
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
    count: (messages, options = {}) => layOut(messages, options).usage,
    async prepare(messages, options = {}) {
      const { signal } = options
      signal?.throwIfAborted()
      const layout = layOut(messages, options)
      const { positions, next } = ropePositions(layout.spans, {
        merge: config.positionMerge,
        rate: config.positionRate,
      })
      const features: PromptFeature[] = []
      const hear = async (sound: MonoPcm, rows: Int32Array): Promise<void> => {
        const padded = paddedLength(sound.samples.length, config.audio, layout.longest)
        features.push({ type: 'audio', rows, ...(await logMel(sound.samples, config.audio, padded, signal)) })
      }
      for (const [index, part] of mediaParts(messages).entries()) {
        const { vision, audio } = layout.rows[index]!
        switch (part.type) {
          case 'image':
            features.push({
              type: 'vision',
              rows: vision!,
              ...(await visionPatches([part.image], config.image, signal)),
            })
            break
          case 'audio':
            await hear(part.audio, audio!)
            break
          case 'video':
            features.push({
              type: 'vision',
              rows: vision!,
              ...(await visionPatches(part.video.frames, config.video, signal)),
            })
            if (part.video.audio !== undefined) await hear(part.video.audio, audio!)
            break
          default:
            part satisfies never
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

type MediaPart = Exclude<GenerationMessage['content'][number], { type: 'text' }>

function mediaParts(messages: readonly GenerationMessage[]): MediaPart[] {
  return messages.flatMap((message) => message.content.filter((part) => part.type !== 'text'))
}

function soundOf(part: MediaPart): MonoPcm[] {
  if (part.type === 'audio') return [part.audio]
  if (part.type === 'video' && part.video.audio !== undefined) return [part.video.audio]
  return []
}

function checkSound(sound: MonoPcm, { audio }: ProcessorConfig): void {
  if (sound.sampleRate === audio.sampleRate) return
  throw new EngineError('unsupported', `audio must come at ${audio.sampleRate} Hz, not ${sound.sampleRate} Hz`, {
    param: 'messages',
  })
}

function mediumShape(part: MediaPart, longest: number, config: ProcessorConfig): MediumShape {
  const tokensOf = (sound: MonoPcm): number => {
    const length = sound.samples.length
    return audioTokens(
      melFrames(length, paddedLength(length, config.audio, longest), config.audio),
      config.audio.window,
    )
  }
  switch (part.type) {
    case 'image':
      return { type: 'image', grid: visionGrid(part.image.height, part.image.width, 1, config.image) }
    case 'audio':
      return { type: 'audio', tokens: tokensOf(part.audio) }
    case 'video': {
      const { frames, fps, audio } = part.video
      const first = frames[0]
      if (first === undefined) {
        throw new EngineError('unsupported', 'a video must have at least one frame', { param: 'messages' })
      }
      if (!(fps > 0)) {
        throw new EngineError('unsupported', `a video's fps must be over 0, not ${fps}`, { param: 'messages' })
      }
      if (frames.some((frame) => frame.width !== first.width || frame.height !== first.height)) {
        throw new EngineError('unsupported', "all of a video's frames must have one size", { param: 'messages' })
      }
      return {
        type: 'video',
        grid: visionGrid(first.height, first.width, frames.length, config.video),
        secondsPerPatch: config.video.temporalPatchSize / fps,
        ...(audio === undefined ? {} : { audioTokens: tokensOf(audio) }),
      }
    }
    default:
      return part satisfies never
  }
}
