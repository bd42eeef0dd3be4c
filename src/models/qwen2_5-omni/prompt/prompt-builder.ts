/**
 * Prompts of Qwen2.5-Omni.
 *
 * Reference: transformers `Qwen2_5OmniProcessor`; Qwen's model card and `qwen-omni-utils` (pixels of a video's frames).
 */

import { EngineError, type GenerationMessage } from '../../../contract/index.ts'
import type { CheckpointFiles } from '../../../prompt/checkpoint-files.ts'
import { readEndTokens } from '../../../prompt/end-tokens.ts'
import { createMediaPrompt, type MediaPromptBuilder, type PromptRules } from '../../prompt/media-prompt.ts'
import type { ProcessorConfig } from '../../prompt/processor-config.ts'
import { chatMl, SPEECH_SYSTEM } from './chat-ml.ts'
import { type PositionOptions, ropePositions, videoOrder } from './positions.ts'

const rules: PromptRules = {
  template: chatMl,
  processor: {
    positionRate: 25,
    window: 100,
    // Three mel frames: fewer have no token.
    shortestAudio: 2 * 160 + 1,
    videoLimits: { min: 128 * 28 * 28, max: 768 * 28 * 28 },
    capsFrames: true,
    placeholders: {
      image: ['image_token_index', 'image_token_id'],
      audio: ['audio_token_index', 'audio_token_id'],
      video: ['video_token_index', 'video_token_id'],
    },
  },
  endTokens(files, tokenizer) {
    const end = readEndTokens(files, tokenizer, '<|im_end|>', thinkerId(files, 'eos_token_id'))
    const endOfText = tokenizer.idOf('<|endoftext|>') ?? thinkerId(files, 'pad_token_id')
    return typeof endOfText === 'number' ? [...new Set([...end, endOfText])] : end
  },
  audioTokens: (frames) => Math.floor(Math.ceil(frames / 2) / 2),
  // Transformers pads with silence up to the extractor's full length; only one more window of it has an effect.
  paddedLength: (samples, _, { audio }) => Math.max(samples, audio.shortest ?? 0) + 2 * audio.fftLength,
  videoOrder: (video, config) => videoOrder(video, positionOptions(config)),
  positions: (spans, config) => ropePositions(spans, positionOptions(config)),
  spokenMessages,
  checkAudio({ samples, sampleRate }, { audio }) {
    if (samples <= audio.longest) return
    throw new EngineError(
      'unsupported',
      `an audio of ${(samples / sampleRate).toFixed(1)} s is too long for this model, which accepts at most ` +
        `${audio.longest / audio.sampleRate} s; send it in shorter pieces.`,
      { param: 'messages' },
    )
  },
}

/** Throws `EngineError('bad_checkpoint')` naming the file that is missing, invalid, or inconsistent with another. */
export function createQwen25Prompt(files: CheckpointFiles): MediaPromptBuilder {
  return createMediaPrompt(files, rules)
}

function positionOptions({ positionMerge, positionRate, chunkSeconds }: ProcessorConfig): PositionOptions {
  return { merge: positionMerge, rate: positionRate, chunkSeconds }
}

/** Replaces system turns by Qwen's own, because speech fails with any other. */
function spokenMessages(messages: readonly GenerationMessage[]): readonly GenerationMessage[] {
  return [
    { role: 'system', content: [{ type: 'text', text: SPEECH_SYSTEM }] },
    ...messages.filter(({ role }) => role !== 'system'),
  ]
}

function thinkerId(files: CheckpointFiles, key: string): unknown {
  const thinker = files.json('config.json')?.['thinker_config']
  return typeof thinker === 'object' && thinker !== null ? (thinker as Record<string, unknown>)[key] : undefined
}
