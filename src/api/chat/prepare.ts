/**
 * From a request's body to the engine: rules, media, counting, and the checkpoint that answers.
 *
 * In: parsed JSON. Out: a {@link Prepared} request to run or only to count. Nothing has been sent yet, so every
 * error is still plain HTTP.
 */
import { type CountedMessage, promptTokens, type PromptTokens, recountMedia } from '../../accounting/index.ts'
import type { CatalogueModel } from '../../catalogue/index.ts'
import type { EngineModel, GenerationMessage, GenerationRequest } from '../../contract/index.ts'
import { errors, ignoredFields, parseChatRequest } from '../../protocol/index.ts'
import type { BoundModel } from '../engine-host.ts'
import type { Services } from '../services.ts'
import { checkRules, type Plan } from './check-rules.ts'
import { engineErrorToApi } from './engine-errors.ts'
import { type ResolvedMessages, resolveMedia } from './resolve-media.ts'
import { lenientBody } from './lenient-body.ts'
import { ignoredWarning } from './warnings.ts'
import { trimHistory } from './trim-history.ts'
import { modelOfCheckpoint } from '../checkpoint-model.ts'

export interface Prepared {
  readonly plan: Plan
  readonly loaded: BoundModel
  /** As billed, by the API model's rules and the media's facts so far. */
  prompt(): PromptTokens
  readonly generation: GenerationRequest
  warnings(): readonly string[]
  /** Files of the media. An engine has read them when it starts. */
  readonly media: AsyncDisposable
}

/** Releases resources that the request no longer needs. */
export function disposeInBackground(resource: AsyncDisposable): Disposable {
  return { [Symbol.dispose]: () => void resource[Symbol.asyncDispose]() }
}

/**
 * The model that a body names, if the catalogue has it: metric labels must not grow with arbitrary names.
 */
export function knownModelName(services: Services, json: unknown): string | undefined {
  const model = typeof json === 'object' && json !== null && 'model' in json ? json.model : undefined
  if (typeof model !== 'string') return undefined
  return (services.catalogue.find(model) ?? modelOfCheckpoint(services, model)) === undefined ? undefined : model
}

export interface PlanOptions {
  /** Nothing is streamed. */
  readonly forCounting?: boolean
  /** `/v1`: see docs/wire.md. */
  readonly lenient?: boolean
  /** Identifies the caller: a digest of the key. */
  readonly caller?: string
}

/** Parses and checks a body. Cheap: nothing is fetched. @throws ApiError */
export function planRequest(services: Services, given: unknown, options: PlanOptions = {}): Plan {
  const { catalogue, settings } = services
  const { lenient = false, caller = 'anonymous' } = options
  const json = lenient ? lenientBody(given, (id) => services.spokenReplies.get(caller, id)) : given
  const byCheckpoint = (name: string): CatalogueModel | undefined =>
    lenient ? modelOfCheckpoint(services, name) : undefined
  const request = parseChatRequest(json, (name) => {
    if (catalogue.isOnOtherWire(name)) throw errors.modelNotSupported(name)
    return (catalogue.find(name) ?? byCheckpoint(name)) !== undefined
  })
  const model = catalogue.find(request.model) ?? byCheckpoint(request.model)
  if (model === undefined) throw errors.modelNotFound(request.model)
  const bound = services.host.resolve(model.id, request.enable_thinking === true)
  return checkRules(request, model, {
    lenientNonStream: settings.lenientNonStream,
    ignoreStream: options.forCounting === true,
    lenient,
    checkpoint: bound && { name: bound.model.id, tools: bound.model.capabilities.tools },
    preferred: bound?.model.sampling,
    ignoredFields: ignoredFields(json, request),
  })
}

export interface Requester {
  /** The request's uuid. */
  readonly id: string
  /** Identifies the caller: a digest of the key. Cached results of a caller are reused only for that caller. */
  readonly caller: string
  readonly traceparent: string | undefined
}

/** The checkpoint for a plan. @throws ApiError when none is bound, or it does not support the request. */
export function boundFor(services: Services, plan: Plan): BoundModel {
  const loaded = services.host.resolve(plan.model.id, plan.thinking !== undefined)
  if (loaded === undefined) throw errors.unavailable(`No checkpoint is bound to ${plan.model.id}.`)
  checkAbilities(plan, loaded)
  return loaded
}

/** Fetches and counts. @throws ApiError; the signal's reason once aborted. */
export async function prepare(
  services: Services,
  plan: Plan,
  requester: Requester,
  signal: AbortSignal,
): Promise<Prepared> {
  const { rules } = plan.model
  boundFor(services, plan)
  const limits = { media: rules.media, tokens: rules.tokens, maxInput: plan.maxInput }
  const resolved = await resolveMedia(plan.messages, limits, services.media, signal)
  return prepareResolved(services, plan, resolved, requester, signal)
}

/** As {@link prepare}, for media that are already open; they are closed when it fails. */
export async function prepareResolved(
  services: Services,
  plan: Plan,
  resolved: ResolvedMessages,
  { id, caller, traceparent }: Requester,
  signal: AbortSignal,
): Promise<Prepared> {
  const { rules } = plan.model
  const { speechPrompt, settings } = services
  const speechText = plan.speech === undefined ? undefined : speechPrompt?.text
  const toolText = plan.tools?.definitions
    .map((tool) => JSON.stringify({ type: 'function', function: tool }))
    .join('\n')
  const counted = (): readonly CountedMessage[] =>
    [toolText, speechText].reduce<readonly CountedMessage[]>(
      (messages, text) => (text === undefined ? messages : withSystemCounted(messages, text)),
      resolved.counted(),
    )
  let prompt: PromptTokens
  let loaded: BoundModel
  try {
    loaded = boundFor(services, plan)
    prompt = await countPrompt(services, plan, counted(), signal)
  } catch (error) {
    await Promise.allSettled(resolved.media.map((medium) => medium[Symbol.asyncDispose]()))
    throw error
  }

  const shown =
    speechText !== undefined &&
    (speechPrompt?.always === true || loaded.model.contextLength >= settings.speechPromptMinContext)
  const history = trimHistory(resolved.generation, loaded.model.historyTurns, loaded.model.id)
  const messages = shown ? withSystem(history.messages, speechText) : history.messages
  return {
    plan,
    loaded,
    prompt: () => recountMedia(prompt, counted(), rules.tokens),
    warnings: () => [
      ...ignoredWarning(plan.ignoredFields),
      ...resolved.warnings(),
      ...clampWarning(plan, loaded.model),
      ...capabilityWarnings(plan, loaded.model),
      ...(history.warning === undefined ? [] : [history.warning]),
    ],
    media: {
      [Symbol.asyncDispose]: async () => {
        await Promise.all(resolved.media.map((medium) => medium[Symbol.asyncDispose]()))
      },
    },
    generation: {
      id,
      model: loaded.model.id,
      messages,
      cacheScope: caller,
      ...(shown && { speechPrompt: speechText }),
      ...(traceparent !== undefined && { traceparent }),
      ...(plan.speech && { speech: plan.speech }),
      ...(plan.thinking && { thinking: plan.thinking }),
      ...(plan.tools && {
        tools: plan.tools.definitions,
        toolChoice: plan.tools.choice,
        parallelToolCalls: plan.tools.parallel,
      }),
      sampling: plan.sampling,
      maxTokens: Math.min(plan.maxTokens, loaded.model.maxOutputTokens),
      ...(plan.maxTotalTokens !== undefined && { maxTotalTokens: plan.maxTotalTokens }),
      stop: plan.stop,
      ...(plan.stopTokenIds.length > 0 && { stopTokenIds: plan.stopTokenIds }),
    },
  }
}

/** Warns when the request asks for more answer tokens than the checkpoint supports. */
function clampWarning(plan: Plan, model: EngineModel): string[] {
  if (!plan.maxTokensAsked || plan.maxTokens <= model.maxOutputTokens) return []
  return [`max_tokens: the checkpoint '${model.id}' gives at most ${model.maxOutputTokens} answer tokens`]
}

/** Warnings about fields of the request or the reply that the checkpoint's engine does not support or count. */
function capabilityWarnings(plan: Plan, { id, capabilities }: EngineModel): string[] {
  const warnings: string[] = []
  if (plan.seedAsked && !capabilities.seed)
    warnings.push(`seed: the checkpoint '${id}' does not support it, so replies with one seed may differ`)
  const hasMedia = plan.messages.some(({ parts }) => parts.some(({ type }) => type !== 'text'))
  if (hasMedia && (plan.includeUsage || !plan.stream) && !capabilities.promptByModality)
    warnings.push(
      `usage: the checkpoint '${id}' does not report prompt tokens by modality, so prompt_tokens_details follow ${plan.modelName}'s rules`,
    )
  return warnings
}

/**
 * Tokens the loaded checkpoint needs for the prompt. @throws ApiError naming the checkpoint when the prompt does not
 * fit.
 */
export async function checkpointPromptTokens(prepared: Prepared, signal: AbortSignal): Promise<number> {
  const { engine, model } = prepared.loaded
  if (!model.capabilities.countsPrompt)
    throw errors.checkpointUnsupported(
      `What answers as '${model.id}' does not count prompts without running them.`,
      null,
    )
  try {
    const usage = await engine.countPrompt({ ...prepared.generation, maxTokens: 1 }, signal)
    return usage.total
  } catch (error) {
    signal.throwIfAborted()
    throw engineErrorToApi(error, model.id, model.contextLength)
  }
}

async function countPrompt(
  services: Services,
  plan: Plan,
  messages: readonly CountedMessage[],
  signal: AbortSignal,
): Promise<PromptTokens> {
  const prompt = await promptTokens(messages, plan.model.rules.tokens, services.counter, plan.maxInput, signal)
  if (prompt.total > plan.maxInput)
    throw errors.inputLength(plan.maxInput, { hint: `The request has at least ${prompt.total} tokens.` })
  return prompt
}

/** Features of the API model that the checkpoint does not support. */
function checkAbilities(plan: Plan, { model }: BoundModel): void {
  const lacks = (what: string, param: string): never => {
    throw errors.checkpointUnsupported(
      `The checkpoint '${model.id}' loaded here ${what}, though ${plan.modelName} does. Load one that can with --model or --bind.`,
      param,
    )
  }
  if (plan.speech !== undefined && !model.output.includes('audio')) lacks('has no speech output', 'modalities')
  if (plan.voiceAsked && !model.capabilities.voiceChoice)
    throw errors.checkpointUnsupported(
      `The checkpoint '${model.id}' loaded here has a single voice. Leave out 'audio' ('modalities' is enough for speech), or load a checkpoint with voices with --model or --bind.`,
      'audio.voice',
    )
  if (plan.thinking !== undefined && !model.thinking) lacks('has no thinking mode', 'enable_thinking')
  for (const message of plan.messages) {
    for (const part of message.parts) {
      if (part.type === 'text') continue
      const needed = part.type === 'frames' ? 'video' : part.type
      if (!model.input.includes(needed)) lacks(`has no ${needed} input`, part.param)
    }
  }
}

/** `text` before the conversation, as or in its system message. */
function withSystem(messages: readonly GenerationMessage[], text: string): readonly GenerationMessage[] {
  const [first, ...rest] = messages
  const opening = { type: 'text', text } as const
  if (first?.role !== 'system') return [{ role: 'system', content: [opening] }, ...messages]
  return [{ role: 'system', content: [opening, { type: 'text', text: '\n' }, ...first.content] }, ...rest]
}

function withSystemCounted(messages: readonly CountedMessage[], text: string): readonly CountedMessage[] {
  const [first, ...rest] = messages
  const opening = { type: 'text', text } as const
  if (first?.role !== 'system') return [{ role: 'system', parts: [opening] }, ...messages]
  return [{ role: 'system', parts: [opening, { type: 'text', text: '\n' }, ...first.parts] }, ...rest]
}
