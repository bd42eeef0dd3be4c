/**
 * The rules of an API model, checked before anything is fetched and before any header is sent. Pure.
 *
 * In: a parsed request and its model. Out: a {@link Plan}: the request with defaults filled in.
 * Reference: the Qwen-Omni guide (December 2025): input, output, limits, thinking; the error catalogue for the texts.
 */
import { type CatalogueModel, limitsOf } from '../../catalogue/index.ts'
import type { PreferredSampling, SamplingOptions, ToolCall } from '../../contract/index.ts'
import type { SpeechFormat } from '../../media/index.ts'
import {
  type ChatCompletionRequest,
  didYouMean,
  errors,
  type Message,
  urlOf,
  type UserPart,
} from '../../protocol/index.ts'
import { checkCalls, checkTools, type PlanTools, type ToolRules } from './check-tools.ts'

/** A medium's position in the request, and its source. */
export type MediaRef =
  | { readonly type: 'image'; readonly source: string; readonly param: string }
  | { readonly type: 'audio'; readonly source: string; readonly param: string }
  | { readonly type: 'video'; readonly source: string; readonly param: string; readonly fps: number | undefined }
  | {
      readonly type: 'frames'
      readonly sources: readonly string[]
      readonly param: string
      readonly fps: number | undefined
    }

export type PlanPart = { readonly type: 'text'; readonly text: string } | MediaRef

export interface PlanMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool'
  readonly parts: readonly PlanPart[]
  /** Calls of an assistant's turn. */
  readonly toolCalls?: readonly ToolCall[]
  /** The call that a tool message answers. */
  readonly toolCallId?: string
}

export interface Plan {
  readonly model: CatalogueModel
  /** The name as requested; chunks echo it. */
  readonly modelName: string
  readonly messages: readonly PlanMessage[]
  readonly stream: boolean
  readonly includeUsage: boolean
  readonly speech: { readonly voice: string } | undefined
  /** Whether the request sets voice and seed. Then a checkpoint that does not support them gives a warning. */
  readonly voiceAsked: boolean
  readonly seedAsked: boolean
  readonly audioFormat: SpeechFormat
  readonly thinking: { readonly budget: number } | undefined
  readonly sampling: SamplingOptions
  readonly maxTokens: number
  /** Of reasoning and answer together (`max_completion_tokens`). */
  readonly maxTotalTokens: number | undefined
  /** Whether the request sets its limit. Then a checkpoint with a smaller context gives a warning. */
  readonly maxTokensAsked: boolean
  readonly stop: readonly string[]
  readonly stopTokenIds: readonly number[]
  readonly maxInput: number
  /** Functions the model may call. */
  readonly tools: PlanTools | undefined
  /** Paths of fields in the request that have no effect. */
  readonly ignoredFields: readonly string[]
}

export interface RuleOptions {
  /** Accepts requests without `stream: true` that ask for text only. */
  readonly lenientNonStream: boolean
  /** For token counting, which streams nothing. */
  readonly ignoreStream?: boolean
  /** `/v1`: see docs/wire.md. */
  readonly lenient?: boolean
  /** Whether the checkpoint supports tools, and its name. */
  readonly checkpoint?: { readonly name: string; readonly tools: boolean } | undefined
  /** The checkpoint's values, which take precedence over the API model's. */
  readonly preferred?: PreferredSampling | undefined
  readonly ignoredFields?: readonly string[]
}

/** @throws ApiError for the first rule broken. */
export function checkRules(request: ChatCompletionRequest, model: CatalogueModel, options: RuleOptions): Plan {
  const lenient = options.lenient === true
  const toolRules = toolRulesOf(model, options)
  const speaks = checkModalities(request)
  checkStream(request, speaks, options)
  const thinking = checkThinking(request, model, speaks)
  const speech = speaks ? { voice: checkAudio(request, model, lenient) } : undefined
  const tools = checkTools(request, toolRules)
  checkUnsupported(request)
  const limits = limitsOf(model, thinking !== undefined)
  const ceiling = request.max_completion_tokens ?? undefined
  if (ceiling !== undefined && (ceiling < 1 || ceiling > limits.maxOutput + (limits.maxReasoning ?? 0))) {
    throw errors.maxTokensRange(limits.maxOutput + (limits.maxReasoning ?? 0), 'max_completion_tokens')
  }
  const asked = request.max_tokens ?? undefined
  if (asked !== undefined && (asked < 1 || asked > limits.maxOutput)) {
    throw errors.maxTokensRange(limits.maxOutput, 'max_tokens')
  }
  const messages = checkMessages(request, model, { speaks, lenient, tools: toolRules })
  const defaults = { ...model.rules.sampling, ...options.preferred }
  // Null, 0 and anything over 100 leave the choice to top_p alone.
  const topK = request.top_k === undefined ? defaults.topK : (request.top_k ?? 0)
  const stop = typeof request.stop === 'string' ? [request.stop] : (request.stop ?? [])
  return {
    model,
    modelName: request.model,
    messages,
    stream: request.stream === true,
    includeUsage: request.stream_options?.include_usage === true,
    speech,
    voiceAsked: speaks && typeof request.audio?.voice === 'string',
    seedAsked: typeof request.seed === 'number',
    audioFormat: formatOf(request),
    thinking: thinking && { budget: Math.min(thinking.budget, ceiling ?? Number.POSITIVE_INFINITY) },
    sampling: {
      temperature: request.temperature ?? defaults.temperature,
      topP: request.top_p ?? defaults.topP,
      ...(topK >= 1 && topK <= 100 ? { topK } : {}),
      presencePenalty: request.presence_penalty ?? defaults.presencePenalty,
      repetitionPenalty: request.repetition_penalty ?? defaults.repetitionPenalty,
      seed: request.seed ?? defaults.seed,
    },
    maxTokens: Math.min(asked ?? limits.maxOutput, ceiling ?? limits.maxOutput, limits.maxOutput),
    maxTotalTokens: ceiling,
    maxTokensAsked: asked !== undefined || ceiling !== undefined,
    stop: stop.filter((item): item is string => typeof item === 'string' && item !== ''),
    stopTokenIds: stop.filter((item): item is number => typeof item === 'number'),
    maxInput: limits.maxInput,
    tools,
    ignoredFields: options.ignoredFields ?? [],
  }
}

/** Whether audio is requested. */
function checkModalities(request: ChatCompletionRequest): boolean {
  const asked = request.modalities ?? ['text']
  const set = new Set(asked)
  const known = [...set].every((name) => name === 'text' || name === 'audio')
  if (!known || !set.has('text')) throw errors.modalitiesUnsupported(asked.map((name) => name.slice(0, 40)).slice(0, 8))
  return set.has('audio')
}

function checkStream(request: ChatCompletionRequest, speaks: boolean, options: RuleOptions): void {
  if (request.stream === true || options.ignoreStream === true || options.lenient === true) return
  if (speaks) throw errors.audioNeedsStream()
  if (!options.lenientNonStream) throw errors.streamOnly()
  if (request.enable_thinking === true) throw errors.thinkingNeedsStream()
}

function checkThinking(
  request: ChatCompletionRequest,
  model: CatalogueModel,
  speaks: boolean,
): { readonly budget: number } | undefined {
  const longest = model.thinking?.maxReasoning
  const budget = request.thinking_budget ?? undefined
  if (request.enable_thinking === true && longest === undefined) throw errors.thinkingNotSupported(request.model)
  if (budget !== undefined && longest !== undefined && (budget < 1 || budget > longest)) {
    throw errors.thinkingBudget(longest)
  }
  if (request.enable_thinking !== true || longest === undefined) return undefined
  if (speaks) throw errors.thinkingExcludesAudio()
  return { budget: budget ?? longest }
}

/** The reply's voice. An absent `audio` object means the model's default voice. */
function checkAudio(request: ChatCompletionRequest, model: CatalogueModel, lenient: boolean): string {
  const { audio } = request
  if (audio === undefined || audio === null) return model.defaultVoice
  const voice = audio.voice ?? undefined
  const format = audio.format ?? undefined
  if (voice === undefined && !lenient) throw errors.fieldRequired('audio.voice')
  if (format === undefined && !lenient) throw errors.fieldRequired('audio.format')
  const streamed = request.stream === true
  const known = lenient && !streamed ? WHOLE_FORMATS : STREAM_FORMATS
  if (format !== undefined && !known.includes(format)) {
    const others = lenient ? ` (pcm16 and pcm are the same; without stream also mp3 and opus)` : ''
    throw errors.audioFormatUnsupported(others)
  }
  if (voice === undefined) return model.defaultVoice
  if (model.voices.includes(voice)) return voice
  const name = voice.slice(0, 80)
  const voices = `${didYouMean(name, model.voices)} Voices of ${model.id}: ${model.voices.join(', ')}.`
  if (lenient) {
    const found = model.voices.find((other) => other.toLowerCase() === name.toLowerCase())
    if (found !== undefined) return found
    throw errors.voiceUnsupported(name, voices)
  }
  throw model.rules.voiceError === 'named'
    ? errors.voiceUnsupported(name, '', voices.trimStart())
    : errors.voiceNotInList(model.voices)
}

const STREAM_FORMATS: readonly string[] = ['wav', 'pcm', 'pcm16']
const WHOLE_FORMATS: readonly string[] = [...STREAM_FORMATS, 'mp3', 'opus']

function formatOf({ audio }: ChatCompletionRequest): SpeechFormat {
  const format = audio?.format ?? 'wav'
  return format === 'pcm16' ? 'pcm' : (format as SpeechFormat)
}

/** Turbo has no tools; otherwise the loaded checkpoint decides. */
function toolRulesOf(model: CatalogueModel, { checkpoint, lenient = false }: RuleOptions): ToolRules {
  if (model.family === 'turbo') return { supported: false, hint: undefined, lenient }
  const supported = checkpoint?.tools === true
  const hint =
    checkpoint === undefined || supported
      ? undefined
      : `The checkpoint '${checkpoint.name}' loaded here has no tools in its chat template.`
  return { supported, hint, lenient }
}

function checkUnsupported(request: ChatCompletionRequest): void {
  if (request.enable_search === true) throw errors.searchUnsupported()
  if (request.logprobs === true) throw errors.logprobsUnsupported('logprobs')
  if ((request.top_logprobs ?? 0) !== 0) throw errors.logprobsUnsupported('top_logprobs')
  const format = request.response_format?.type ?? 'text'
  if (format !== 'text' && request.enable_thinking === true) throw errors.jsonWithThinking()
  if (format !== 'text') throw errors.responseFormatUnsupported(format.slice(0, 40))
  if ((request.n ?? 1) !== 1) throw errors.onlyOneChoice()
}

interface MessageRules {
  readonly speaks: boolean
  readonly lenient: boolean
  readonly tools: ToolRules
}

function checkMessages(
  request: ChatCompletionRequest,
  model: CatalogueModel,
  { speaks, lenient, tools }: MessageRules,
): readonly PlanMessage[] {
  const { messages } = request
  if (!messages.some((message) => message.role === 'user')) throw errors.noUserMessage()
  const last = messages.length - 1
  const plan = messages.flatMap((message, index): PlanMessage[] => {
    const param = `messages.${index}`
    switch (message.role) {
      case 'system':
        // With audio output, turbo does not support a system message. As in the hosted service, it is ignored.
        return speaks && model.rules.ignoresSystemWithAudio
          ? []
          : [{ role: 'system', parts: textParts(message.content) }]
      case 'assistant':
        return [checkAssistant(message, param, tools)]
      case 'user':
        return [{ role: 'user', parts: checkUser(message.content, param, model, lenient) }]
      case 'tool':
        return [checkToolMessage(message, param, tools)]
      case 'function':
        throw errors.toolsUnsupported(param)
      default:
        return message satisfies never
    }
  })
  const ends = messages[last]?.role
  if (ends !== 'user' && ends !== 'tool') throw errors.lastMessageNotUser(`messages.${last}.role`)
  const input = plan.some(
    (message) => message.role === 'user' && message.parts.some((part) => part.type !== 'text' || part.text !== ''),
  )
  if (!input) {
    throw errors.inputLength(limitsOf(model, false).maxInput, { hint: 'The user messages have no text and no media.' })
  }
  return plan
}

function checkToolMessage(message: Extract<Message, { role: 'tool' }>, param: string, tools: ToolRules): PlanMessage {
  if (!tools.supported) throw errors.toolsUnsupported(param, tools.hint)
  if (message.content === undefined || message.content === null) throw errors.contentRequired(`${param}.content`)
  const toolCallId = message.tool_call_id ?? undefined
  if (toolCallId === undefined) throw errors.fieldRequired(`${param}.tool_call_id`)
  return { role: 'tool', parts: textParts(message.content), toolCallId }
}

function checkAssistant(
  message: Extract<Message, { role: 'assistant' }>,
  param: string,
  tools: ToolRules,
): PlanMessage {
  const given = message.tool_calls ?? []
  if (given.length > 0) {
    if (!tools.supported) throw errors.toolsUnsupported(`${param}.tool_calls`, tools.hint)
    const toolCalls = checkCalls(given, `${param}.tool_calls`)
    return { role: 'assistant', parts: textParts(message.content ?? ''), toolCalls }
  }
  if (message.audio && (message.content === undefined || message.content === null))
    throw errors.audioIdUnknown(`${param}.audio.id`)
  if (message.content === undefined || message.content === null) throw errors.contentRequired(`${param}.content`)
  return { role: 'assistant', parts: textParts(message.content) }
}

function textParts(content: string | readonly { readonly text: string }[]): readonly PlanPart[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }]
  return content.map((part) => ({ type: 'text', text: part.text }))
}

/** One modality in addition to text; several images, but one audio or video. */
function checkUser(
  content: string | readonly UserPart[],
  param: string,
  model: CatalogueModel,
  lenient: boolean,
): readonly PlanPart[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }]
  const parts = content.map((part, index) => planPart(part, `${param}.content.${index}`))
  const media = parts.filter((part) => part.type !== 'text')
  if (!lenient && media.length > 1 && media.some((part) => part.type !== 'image'))
    throw errors.mixedModalities(`${param}.content`)
  for (const part of media) checkSources(part, model)
  return parts
}

function planPart(part: UserPart, param: string): PlanPart {
  switch (part.type) {
    case 'text':
      return { type: 'text', text: part.text }
    case 'image_url':
      return { type: 'image', source: urlOf(part.image_url), param: `${param}.image_url` }
    case 'input_audio':
      return { type: 'audio', source: part.input_audio.data, param: `${param}.input_audio.data` }
    case 'video_url':
      return { type: 'video', source: urlOf(part.video_url), param: `${param}.video_url`, fps: part.fps ?? undefined }
    case 'video':
      return { type: 'frames', sources: part.video, param: `${param}.video`, fps: part.fps ?? undefined }
    default:
      return part satisfies never
  }
}

function checkSources(part: MediaRef, model: CatalogueModel): void {
  const { video, maxDataUriBytes } = model.rules.media
  if (part.type === 'frames') {
    const count = part.sources.length
    if (count < video.minFrames || count > video.maxFrames) {
      throw errors.framesRange(video.minFrames, video.maxFrames, part.param)
    }
    part.sources.forEach((source, index) => checkSource(source, `${part.param}.${index}`, maxDataUriBytes))
    return
  }
  checkSource(part.source, part.param, maxDataUriBytes)
}

/** A first check, so that an invalid URL costs nothing; the media folder checks further. */
function checkSource(source: string, param: string, maxDataUriBytes: number): void {
  const head = source.slice(0, 8).trimStart().toLowerCase()
  if (head.startsWith('data:')) {
    if (source.length > maxDataUriBytes) throw errors.dataUriTooLarge(param)
    return
  }
  if (!head.startsWith('http:') && !head.startsWith('https:')) {
    throw errors.urlInvalid(param, 'Give an http or https URL, or a data URI: Base64 needs `data:;base64,` before it.')
  }
}
