/**
 * Checks whether a loaded model supports a request, before anything is allocated.
 *
 * In: a request, the model's modalities, the length of the prompt. Out: errors that name the field, or the cache
 * capacity to reserve. Pure.
 */

import { EngineError, type GenerationRequest } from '../contract/index.ts'
import type { OmniModel } from '../models/stages.ts'

/** Tokens reserved for the markers of the reasoning block and the white space around it. */
const markerTokens = 8
/** Model Studio's longest chain of thought. */
const longestReasoning = 32_768

/** Throws `unsupported` for media, speech or thinking that the checkpoint does not support. */
export function checkModalities(request: GenerationRequest, model: OmniModel, canThink: boolean): void {
  const can = new Set<string>(model.reads)
  for (const message of request.messages) {
    for (const part of message.content) {
      if (!can.has(part.type) || (part.type === 'video' && part.video.facts.audio && !can.has('audio')))
        throw new EngineError('unsupported', `This checkpoint cannot read ${part.type}; remove that part.`, {
          param: 'messages',
        })
    }
  }
  if (request.speech && !model.speech)
    throw new EngineError('unsupported', "This checkpoint has no speech; set modalities to ['text'].", {
      param: 'modalities',
    })
  if (request.thinking && !canThink)
    throw new EngineError('unsupported', 'This checkpoint does not think; leave enable_thinking out.', {
      param: 'enable_thinking',
    })
}

/**
 * Throws `unsupported` for tools that the checkpoint's template does not support, and for a forced call with thinking.
 */
export function checkTools(request: GenerationRequest, can: boolean): void {
  const asked = request.tools !== undefined || request.messages.some((message) => message.role === 'tool')
  if (asked && !can)
    throw new EngineError('unsupported', "This checkpoint's chat template has no tools; leave tools out.", {
      param: 'tools',
    })
  const forced = request.toolChoice !== undefined && request.toolChoice !== 'auto' && request.toolChoice !== 'none'
  if (forced && request.thinking)
    throw new EngineError('unsupported', 'tool_choice cannot force a call when thinking is on; set it to auto.', {
      param: 'tool_choice',
    })
}

export interface Reservation {
  /** Tokens of cache: prompt, reasoning and answer. */
  readonly capacity: number
  /** Most tokens generated. */
  readonly tokenLimit: number
  readonly reasoningBudget: number
}

/** How much cache a request may need. Throws `context_overflow` when it does not fit. */
export function reserve(
  request: Pick<GenerationRequest, 'maxTokens' | 'maxTotalTokens' | 'thinking'>,
  promptTokens: number,
  contextLength: number,
  canThink: boolean,
): Reservation {
  const available = contextLength - promptTokens
  if (available <= 0)
    throw new EngineError(
      'context_overflow',
      `The prompt takes ${promptTokens} tokens and the context holds ${contextLength}; shorten the messages.`,
      { param: 'messages' },
    )
  if (request.maxTokens > available)
    throw new EngineError(
      'context_overflow',
      `The prompt (${promptTokens} tokens) and max_tokens (${request.maxTokens}) exceed the context of ${contextLength}; ` +
        `lower max_tokens to ${available} or less.`,
      { param: 'max_tokens' },
    )
  const spare = Math.max(0, available - request.maxTokens - markerTokens)
  const reasoningBudget = request.thinking ? Math.min(request.thinking.budget ?? longestReasoning, spare) : Infinity
  const extra = request.thinking ? reasoningBudget + markerTokens : canThink ? Math.min(spare, markerTokens) : 0
  const tokenLimit = Math.min(available, request.maxTokens + extra, request.maxTotalTokens ?? Infinity)
  return { capacity: promptTokens + tokenLimit, tokenLimit, reasoningBudget }
}
