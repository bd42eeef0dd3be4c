/**
 * What a request needs from its place on: how long its reply may be, how its tokens are chosen and read, what it
 * begins and ends with.
 *
 * In: a request and its prepared prompt. Out: {@link TaskResources} without speech. Throws `context_overflow` as
 * `reserve` does. Pure but for the seeded random numbers that the sampler draws.
 */

import type { GenerationRequest } from '../contract/index.ts'
import type { PreparedPrompt } from '../prompt/prepared-prompt.ts'
import { createRandom, textStream } from '../sampling/random.ts'
import { createSampler } from '../sampling/sampler.ts'
import { ReplyReader, type RuntimeTokenizer } from './reply-reader.ts'
import { reserve } from './request-limits.ts'
import type { TaskResources } from './request-task.ts'
import { forcedOpening, type ToolMarkers } from './tool-calls.ts'

/** What of the checkpoint a plan depends on. */
export interface PlanFacts {
  readonly tokenizer: RuntimeTokenizer
  /** Ids that end a reply. */
  readonly endTokenIds: readonly number[]
  readonly contextLength: number
  /** Ids around reasoning, where the checkpoint reasons. */
  readonly think: { readonly open: number; readonly close: number } | undefined
  readonly tools: ToolMarkers | undefined
}

export function planReply(request: GenerationRequest, prompt: PreparedPrompt, facts: PlanFacts): TaskResources {
  const { endTokenIds, tokenizer, think } = facts
  // A checkpoint that always reasons needs tokens for it, asked or not.
  const thinking = request.thinking ?? (prompt.insideReasoning ? {} : undefined)
  const { capacity, tokenLimit, reasoningBudget } = reserve(
    {
      maxTokens: request.maxTokens,
      ...(request.maxTotalTokens !== undefined && { maxTotalTokens: request.maxTotalTokens }),
      ...(thinking && { thinking }),
    },
    prompt.tokenIds.length,
    facts.contextLength,
    think !== undefined,
  )
  const startsInReasoning = think !== undefined && prompt.insideReasoning
  const toolChoice = request.toolChoice ?? 'auto'
  const tools = toolChoice === 'none' ? undefined : request.tools
  const { temperature, topP, topK, repetitionPenalty, presencePenalty, seed } = request.sampling
  const sampler = createSampler(
    { temperature, topP, topK, repetitionPenalty, presencePenalty },
    createRandom(seed, textStream),
    prompt.tokenIds,
  )
  return {
    sampler,
    reader: new ReplyReader({
      tokenizer,
      stop: request.stop,
      think,
      startsInReasoning,
      ...(tools && facts.tools && { tools: { markers: facts.tools, definitions: tools } }),
      firstRow: prompt.tokenIds.length,
    }),
    speech: undefined,
    endTokenIds: new Set([...endTokenIds, ...(request.stopTokenIds ?? [])]),
    capacity,
    tokenLimit,
    reasoningBudget,
    closing: think ? [think.close, ...Array.from(tokenizer.encode('\n\n'))] : [],
    opening: openingOf(request, facts),
    oneCall: request.parallelToolCalls === false,
  }
}

/** Ids that a reply begins with: a script's, which is the whole reply, or those of a call that it must make. */
function openingOf(request: GenerationRequest, { tokenizer, endTokenIds, tools }: PlanFacts): number[] {
  if (request.script !== undefined) return [...Array.from(tokenizer.encode(request.script)), endTokenIds[0]!]
  const choice = request.toolChoice ?? 'auto'
  const opening = choice !== 'none' && request.tools ? forcedOpening(choice) : undefined
  return opening === undefined || !tools ? [] : [tools.open, ...Array.from(tokenizer.encode(opening))]
}
