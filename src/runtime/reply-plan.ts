/**
 * What a request needs to be generated: its length limits, its sampler, its reader, and forced tokens.
 *
 * In: a request and its prepared prompt. Out: {@link TaskResources} without speech. Throws `context_overflow` as
 * `reserve` does. Pure, except for the seeded random numbers of the sampler.
 */

import type { GenerationRequest } from '../contract/index.ts'
import type { PreparedPrompt } from '../prompt/prepared-prompt.ts'
import { createRandom, textStream } from '../sampling/random.ts'
import { createSampler } from '../sampling/sampler.ts'
import { ReplyReader, type RuntimeTokenizer } from './reply-reader.ts'
import { reserve } from './request-limits.ts'
import type { TaskResources } from './request-task.ts'
import { forcedOpening, type ToolMarkers } from './tool-calls.ts'

/** Properties of the checkpoint that a plan depends on. */
export interface PlanFacts {
  readonly tokenizer: RuntimeTokenizer
  /** Ids that end a reply. */
  readonly endTokenIds: readonly number[]
  readonly contextLength: number
  /** Ids of `<think>` and `</think>`. Undefined for a checkpoint without reasoning. */
  readonly think: { readonly open: number; readonly close: number } | undefined
  readonly tools: ToolMarkers | undefined
}

export function planReply(request: GenerationRequest, prompt: PreparedPrompt, facts: PlanFacts): TaskResources {
  const { endTokenIds, tokenizer, think } = facts
  // A checkpoint whose template opens a reasoning block reasons even if the request does not ask for it.
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

/** Forced ids at the start of a reply: a script, which is the whole reply, or the start of a required tool call. */
function openingOf(request: GenerationRequest, { tokenizer, endTokenIds, tools }: PlanFacts): number[] {
  if (request.script !== undefined) return [...Array.from(tokenizer.encode(request.script)), endTokenIds[0]!]
  const choice = request.toolChoice ?? 'auto'
  const opening = choice !== 'none' && request.tools ? forcedOpening(choice) : undefined
  return opening === undefined || !tools ? [] : [tools.open, ...Array.from(tokenizer.encode(opening))]
}
