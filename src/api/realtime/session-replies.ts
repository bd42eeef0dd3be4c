/**
 * Replies of realtime sessions, in the same way as chat completions: rules, counting, queue, rate limit, engine, log
 * line.
 *
 * In: a session's messages, media at hand. Out: the engine's events, and the usage as it grows.
 */
import type { CountedMessage, CountedPart } from '../../accounting/index.ts'
import { limitsOf } from '../../catalogue/index.ts'
import {
  type ArrivingAudio,
  EngineError,
  type EngineEvent,
  type GenerationMessage,
  type GenerationPart,
} from '../../contract/index.ts'
import { ApiError, errors } from '../../protocol/index.ts'
import type { ReplyRequest, RunningReply, SessionImage } from '../../realtime/index.ts'
import type { Plan, PlanPart } from '../chat/check-rules.ts'
import { engineErrorToApi } from '../chat/engine-errors.ts'
import { prepareResolved } from '../chat/prepare.ts'
import { ReplyRecord } from '../chat/reply-record.ts'
import { resolveMedia, type ResolvedMessages } from '../chat/resolve-media.ts'
import { startGeneration } from '../chat/start-generation.ts'
import type { Services } from '../services.ts'
import type { RealtimeTarget } from './realtime-model.ts'

export interface SessionCaller {
  readonly caller: string
  readonly target: RealtimeTarget
}

/** Admission of internal requests, such as transcriptions. Their tokens are still charged to the caller. */
export interface Admission {
  /** It does not count for the rate limit, because it is not a request of the caller, or is a part of one. */
  readonly uncounted?: boolean
  /** It is a part of a request that already has a slot in the request queue. */
  readonly placed?: boolean
}

/** Starts a reply. @throws ApiError; the signal's reason once aborted. */
export async function startReply(
  services: Services,
  { caller, target }: SessionCaller,
  request: ReplyRequest,
  signal: AbortSignal,
  { uncounted = false, placed = false }: Admission = {},
): Promise<RunningReply> {
  const arrived = performance.now()
  const plan = planOf(target, request)
  if (!uncounted) services.rateLimiter?.take(caller, plan.model.id, plan.model.rules.rateLimit)
  const place = placed ? NO_PLACE : await services.queue.enter(signal)
  try {
    const requester = { id: services.uuid(), caller, traceparent: undefined }
    const prepared = await prepareResolved(services, plan, resolvedOf(request.messages), requester, signal)
    const record = new ReplyRecord(services, prepared, caller, arrived)
    const started = await startGeneration(prepared, signal)
    record.started(started.prompt)
    record.servedBy(started.servedBy)
    services.metrics.request('realtime', plan.modelName, 200)
    const { model } = prepared.loaded
    const explain = (error: unknown): ApiError => engineErrorToApi(error, model.id, model.contextLength)
    return {
      events: recorded(started.events, { record, place, signal, explain }),
      usage: () => record.usage(),
    }
  } catch (error) {
    place[Symbol.dispose]()
    signal.throwIfAborted()
    const known = error instanceof ApiError ? error : errors.internal(error)
    services.metrics.request('realtime', plan.modelName, known.status)
    services.metrics.error(known.code, known.status)
    throw known
  }
}

const NO_PLACE: Disposable = { [Symbol.dispose]: () => undefined }

/**
 * Opens the audio of a turn that has started, for its reply. Undefined if the engine does not support arriving audio,
 * or cannot serve this request: the reply then reports the error. Rejects with the signal's reason once aborted.
 */
export async function openAudio(
  services: Services,
  { caller, target }: SessionCaller,
  request: ReplyRequest,
  options: { readonly prefills: boolean },
  signal: AbortSignal,
): Promise<ArrivingAudio | undefined> {
  const { engine } = target.bound
  if (engine.openAudio === undefined) return undefined
  try {
    const requester = { id: services.uuid(), caller, traceparent: undefined }
    const resolved = resolvedOf(request.messages)
    const prepared = await prepareResolved(services, planOf(target, request), resolved, requester, signal)
    return prepared.loaded.engine.openAudio?.(prepared.generation, options)
  } catch (error) {
    if (error instanceof ApiError || error instanceof EngineError) return undefined
    throw error
  }
}

/**
 * Transcribes one recording. It is not a request of the caller, so no rate limit applies. Rejects as {@link startReply}
 * does.
 */
export async function transcribe(
  services: Services,
  caller: SessionCaller,
  request: ReplyRequest,
  signal: AbortSignal,
  { placed = false }: Pick<Admission, 'placed'> = {},
): Promise<string> {
  const { events } = await startReply(services, caller, request, signal, { uncounted: true, placed })
  let text = ''
  for (;;) {
    const next = await events.next()
    if (next.done === true || next.value.type === 'end') break
    if (next.value.type === 'text-delta') text += next.value.text
  }
  await events.return?.()
  return text.trim()
}

/** Opens an image within the model's limits. @throws ApiError */
export async function openSessionImage(
  services: Services,
  { target }: SessionCaller,
  source: string,
  signal: AbortSignal,
): Promise<SessionImage> {
  const { rules, normal } = target.chat
  const limits = { media: rules.media, tokens: rules.tokens, maxInput: normal.maxInput }
  const parts: readonly PlanPart[] = [{ type: 'image', source, param: 'image' }]
  const resolved = await resolveMedia([{ role: 'user', parts }], limits, services.media, signal)
  const part = resolved.generation[0]?.content[0]
  if (part?.type !== 'image') throw new Error('an image was resolved to something else')
  const { image } = part
  return {
    kind: 'image',
    files: image.files,
    facts: image.facts,
    exact: image.exact,
    contentKey: image.contentKey,
    decode: (stop) => image.decode(stop),
    release: () => image.release(),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(resolved.media.map((medium) => medium[Symbol.asyncDispose]()))
    },
  }
}

interface Recording {
  readonly record: ReplyRecord
  readonly place: Disposable
  readonly signal: AbortSignal
  readonly explain: (error: unknown) => ApiError
}

/** The events unchanged, recorded on the way. */
async function* recorded(
  events: AsyncIterator<EngineEvent>,
  { record, place, signal, explain }: Recording,
): AsyncGenerator<EngineEvent, void, undefined> {
  try {
    for (;;) {
      const next = await events.next()
      if (next.done === true) throw new Error('the engine ended without an end event')
      const event = next.value
      if (event.type === 'audio-delta') record.audio(event.pcm.length, event.counts)
      else if (event.type === 'end') record.finish(event.reason, record.usage(event.usage))
      else if (event.type !== 'start') record.text(event.counts)
      yield event
      if (event.type === 'end') return
    }
  } catch (error) {
    if (signal.aborted) record.finish('cancelled')
    else {
      const known = explain(error)
      record.finish('error', undefined, known)
      throw known
    }
    throw error
  } finally {
    record.finish('cancelled')
    await events.return?.().catch(() => undefined)
    place[Symbol.dispose]()
  }
}

function planOf(target: RealtimeTarget, { messages, config }: ReplyRequest): Plan {
  const { chat } = target
  const limits = limitsOf(chat, false)
  const defaults = { ...chat.rules.sampling, ...target.bound.model.sampling }
  const { sampling } = config
  const topK = sampling.topK ?? defaults.topK
  return {
    model: chat,
    modelName: target.name,
    messages: messages.flatMap(({ role, content }) =>
      role === 'tool' ? [] : [{ role, parts: content.map(planPartOf) }],
    ),
    stream: true,
    includeUsage: true,
    speech: config.speaks ? { voice: config.voice } : undefined,
    voiceAsked: false,
    seedAsked: sampling.seed !== undefined,
    audioFormat: 'pcm',
    thinking: undefined,
    sampling: {
      temperature: sampling.temperature ?? defaults.temperature,
      topP: sampling.topP ?? defaults.topP,
      ...(topK >= 1 && topK <= 100 ? { topK } : {}),
      presencePenalty: sampling.presencePenalty ?? defaults.presencePenalty,
      repetitionPenalty: sampling.repetitionPenalty ?? defaults.repetitionPenalty,
      seed: sampling.seed ?? Math.floor(Math.random() * 2 ** 31),
    },
    maxTokens: Math.min(config.maxTokens ?? limits.maxOutput, limits.maxOutput),
    maxTotalTokens: undefined,
    ignoredFields: [],
    maxTokensAsked: config.maxTokens !== undefined,
    stop: [],
    stopTokenIds: [],
    maxInput: limits.maxInput,
    tools:
      config.tools.length === 0
        ? undefined
        : { definitions: config.tools, choice: config.toolChoice, parallel: config.parallelToolCalls },
  }
}

/** A part for the checks of the checkpoint's capabilities. */
function planPartOf(part: GenerationPart): PlanPart {
  const param = 'conversation'
  switch (part.type) {
    case 'text':
      return part
    case 'image':
    case 'audio':
      return { type: part.type, source: '', param }
    case 'video':
      return { type: 'video', source: '', param, fps: undefined }
    default:
      return part satisfies never
  }
}

function resolvedOf(messages: readonly GenerationMessage[]): ResolvedMessages {
  const counted: readonly CountedMessage[] = messages.map(({ role, content }) => ({
    role,
    parts: content.map(countedPartOf),
  }))
  return { generation: messages, counted: () => counted, warnings: () => [], media: [] }
}

function countedPartOf(part: GenerationPart): CountedPart {
  switch (part.type) {
    case 'text':
      return part
    case 'image':
      return { type: 'image', width: part.image.facts.sourceWidth, height: part.image.facts.sourceHeight }
    case 'audio':
      return { type: 'audio', seconds: part.audio.facts.samples / part.audio.facts.sampleRate }
    case 'video':
      throw new Error('a session holds no video')
    default:
      return part satisfies never
  }
}
