/**
 * Starts the engine on a prepared request and waits for its `start` event, so that earlier errors have an HTTP status.
 *
 * A checkpoint may have a smaller context than the API model: the reply then ends with `length`,
 * visibly.
 */
import type { EngineEvent, GenerationRequest, PromptUsage } from '../../contract/index.ts'
import { EngineError } from '../../contract/index.ts'
import { engineErrorToApi } from './engine-errors.ts'
import { checkpointPromptTokens, type Prepared } from './prepare.ts'

export interface Started {
  /** The events after `start`. An early return stops the work. */
  readonly events: AsyncIterator<EngineEvent>
  /** As the checkpoint counts, where it can. */
  readonly prompt: PromptUsage | undefined
  readonly warnings: readonly string[]
  /** Which of several replicas answers. */
  readonly servedBy: string | undefined
}

/** Starts a reply. @throws ApiError for an error before the reply, and the signal's reason once aborted */
export async function startGeneration(prepared: Prepared, signal: AbortSignal): Promise<Started> {
  const { model } = prepared.loaded
  const { maxTokens } = prepared.generation
  try {
    // Counting is cheap where preparing the media is not. The billed count only estimates the checkpoint's.
    const tight = prepared.prompt().total + maxTokens > model.contextLength
    if (tight) return await beginWithin(prepared, await answerTokensLeft(prepared, signal), signal)
    return { ...(await begin(prepared, prepared.generation, signal)), warnings: prepared.warnings() }
  } catch (error) {
    signal.throwIfAborted()
    if (!overByAnswer(error)) throw engineErrorToApi(error, model.id, model.contextLength)
  }
  const available = await answerTokensLeft(prepared, signal)
  try {
    return await beginWithin(prepared, Math.min(available, maxTokens - 1), signal)
  } catch (error) {
    signal.throwIfAborted()
    throw engineErrorToApi(error, model.id, model.contextLength)
  }
}

/** Whether the prompt fits, but not with the answer's tokens. */
function overByAnswer(error: unknown): boolean {
  return error instanceof EngineError && error.code === 'context_overflow' && error.param === 'max_tokens'
}

/** Answer tokens left in the checkpoint's context. @throws ApiError when the prompt is too long for it. */
async function answerTokensLeft(prepared: Prepared, signal: AbortSignal): Promise<number> {
  const { model } = prepared.loaded
  // Where no engine counts, the billed count and a margin for the template stand in.
  if (!model.capabilities.countsPrompt) return Math.floor((model.contextLength - prepared.prompt().total) * 0.95) - 64
  return model.contextLength - (await checkpointPromptTokens(prepared, signal))
}

/** Starts with at most `available` answer tokens, and warns when the request asked for more. */
async function beginWithin(prepared: Prepared, available: number, signal: AbortSignal): Promise<Started> {
  const { generation, plan } = prepared
  const maxTokens = Math.max(1, Math.min(generation.maxTokens, available))
  const begun = await begin(prepared, { ...generation, maxTokens }, signal)
  const warnings = prepared.warnings()
  if (maxTokens === generation.maxTokens || !plan.maxTokensAsked) return { ...begun, warnings }
  const warning = `max_tokens: the checkpoint '${prepared.loaded.model.id}' can generate at most ${maxTokens} tokens after this prompt`
  return { ...begun, warnings: [...warnings, warning] }
}

async function begin(
  prepared: Prepared,
  request: GenerationRequest,
  signal: AbortSignal,
): Promise<Omit<Started, 'warnings'>> {
  const events = prepared.loaded.engine.generate(request, signal)[Symbol.asyncIterator]()
  const first = await events.next()
  if (first.done === true || first.value.type !== 'start') {
    await events.return?.()
    throw new EngineError('internal', 'the engine did not begin with a start event')
  }
  const { prompt, servedBy } = first.value
  return { events, prompt, servedBy }
}
