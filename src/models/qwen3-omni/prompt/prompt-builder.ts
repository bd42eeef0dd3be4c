/**
 * Prompts of Qwen3-Omni.
 *
 * Reference: transformers `Qwen3OmniMoeProcessor.apply_chat_template` and `get_rope_index`.
 */

import type { CheckpointFiles } from '../../../prompt/checkpoint-files.ts'
import { readEndTokens } from '../../../prompt/end-tokens.ts'
import { paddedLength } from '../../../prompt/log-mel.ts'
import { createMediaPrompt, type MediaPromptBuilder, type PromptRules } from '../../prompt/media-prompt.ts'
import { tokenPlaces } from '../../prompt/spans.ts'
import { chatMl } from './chat-ml.ts'
import { audioTokens, interleave, videoTokenTimes } from './placeholders.ts'
import { ropePositions } from './positions.ts'

const rules: PromptRules = {
  template: chatMl,
  processor: {
    positionRate: 13,
    window: 50,
    videoLimits: { min: 128 * 32 * 32, max: 768 * 32 * 32 },
    capsFrames: false,
    placeholders: { image: ['image_token_id'], audio: ['audio_token_id'], video: ['video_token_id'] },
  },
  endTokens: (files, tokenizer) =>
    readEndTokens(files, tokenizer, '<|im_end|>', files.json('config.json')?.['im_end_token_id']),
  audioTokens: (frames, { audio }) => audioTokens(frames, audio.window),
  paddedLength: (samples, longest, { audio }) => paddedLength(samples, audio, longest),
  videoOrder({ grid, secondsPerPatch, audioTokens: tokens }, { positionMerge, positionRate }) {
    const { perFrame } = tokenPlaces(grid, positionMerge)
    return interleave(videoTokenTimes(grid[0], perFrame, secondsPerPatch, positionRate), tokens)
  },
  positions: (spans, { positionMerge, positionRate }) =>
    ropePositions(spans, { merge: positionMerge, rate: positionRate }),
}

/** Throws `EngineError('bad_checkpoint')` naming the file that is missing, invalid, or inconsistent with another. */
export function createQwen3Prompt(files: CheckpointFiles): MediaPromptBuilder {
  return createMediaPrompt(files, rules)
}
