/**
 * Starts the engine on a prepared request and waits for its `start` event, so that what fails before it is plain HTTP.
 *
 * A checkpoint with less room than the API model gets the room it has: the reply then ends with `length`, visibly.
 */
import type { EngineEvent, GenerationRequest } from '../../engines/engine.ts'
import { EngineError } from '../../engines/engine.ts'
import { engineErrorToApi } from './engine-errors.ts'
import { checkpointPromptTokens, type Prepared } from './prepare.ts'

export interface Started {
  /** What comes after `start`. Ending it early stops the work. */
  readonly events: AsyncIterator<EngineEvent>
  readonly warnings: readonly string[]
}

/** @throws ApiError for what fails before the reply; the signal's reason once aborted. */
export async function startGeneration(prepared: Prepared, signal: AbortSignal): Promise<Started> {
  const { model } = prepared.loaded
  try {
    return { events: await begin(prepared, prepared.generation, signal), warnings: prepared.warnings }
  } catch (error) {
    signal.throwIfAborted()
    const roomMayDo =
      error instanceof EngineError && error.code === 'context_overflow' && prepared.generation.maxTokens > 1
    if (!roomMayDo) throw engineErrorToApi(error, model.id, model.contextLength)
  }
  const room = model.contextLength - (await checkpointPromptTokens(prepared, signal))
  const maxTokens = Math.max(1, Math.min(prepared.generation.maxTokens - 1, room))
  try {
    const events = await begin(prepared, { ...prepared.generation, maxTokens }, signal)
    const warning = `max_tokens: the checkpoint '${model.id}' has room for ${maxTokens} answer tokens after this prompt`
    return { events, warnings: prepared.plan.maxTokensAsked ? [...prepared.warnings, warning] : prepared.warnings }
  } catch (error) {
    signal.throwIfAborted()
    throw engineErrorToApi(error, model.id, model.contextLength)
  }
}

async function begin(
  prepared: Prepared,
  request: GenerationRequest,
  signal: AbortSignal,
): Promise<AsyncIterator<EngineEvent>> {
  const events = prepared.loaded.engine.generate(request, signal)[Symbol.asyncIterator]()
  const first = await events.next()
  if (first.done === true || first.value.type !== 'start') {
    await events.return?.()
    throw new EngineError('internal', 'the engine did not begin with a start event')
  }
  return events
}
