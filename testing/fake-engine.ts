/**
 * A deterministic engine for tests of the API server: text that answers the last user message, and
 * a tone for speech.
 *
 * In: any {@link GenerationRequest}. Out: the same events every time for the same request, one token at a time. It
 * keeps the whole `Engine` contract (abort, early return, stop strings, max tokens, thinking budget, close, usage),
 * runs no model, and counts a token per word. Options make it slow, busy, faulty or short of context.
 */

import {
  type AudioFacts,
  EngineError,
  type Engine,
  type EngineEvent,
  type EngineCapabilities,
  type EngineModel,
  type EngineStatus,
  type EngineVoice,
  type GenerationPart,
  type GenerationRequest,
  type PromptUsage,
  type ReplyCounts,
} from '../src/contract/index.ts'

/** The fake's output for one request. */
interface FakeReply {
  readonly reasoning?: string
  readonly text: string
}

export interface FakeEngineOptions {
  readonly id?: string
  /** Ids served; `fake-omni` when absent. */
  readonly models?: readonly string[]
  /** The reply; by default it repeats the last user text and names the media. */
  readonly reply?: (request: GenerationRequest) => FakeReply
  /** Pause before each token, milliseconds. */
  readonly tokenDelayMs?: number
  /** Pause before `start`, milliseconds. */
  readonly startDelayMs?: number
  readonly contextLength?: number
  readonly maxOutputTokens?: number
  /** Speech frames (80 ms each) per answer token. */
  readonly framesPerToken?: number
  /** Frequency of the tone, hertz. */
  readonly toneHertz?: number
  readonly voices?: readonly EngineVoice[]
  readonly thinking?: boolean
  /** In place of the default capabilities, except tools. */
  readonly capabilities?: Partial<EngineCapabilities>
  /** Without speech the model lists `text` only and refuses `speech`. */
  readonly speech?: boolean
  /** Requests running plus waiting at most; the next gets `overloaded`. */
  readonly maxRequests?: number
  /** Throws instead of sending `start`. */
  readonly failBefore?: (request: GenerationRequest) => Error | undefined
  /** Throws in place of the event with this number (0 is `start`). */
  readonly failAt?: { readonly event: number; readonly error: Error }
  readonly historyAudio?: EngineModel['historyAudio']
  readonly spokenHistoryTurns?: number
  /** Takes tools: a user's `call NAME {json}` calls that one. */
  readonly tools?: boolean
  readonly status?: () => Partial<EngineStatus>
}

/** Audio that was sent before its request. */
export interface FakeArrival {
  readonly request: GenerationRequest
  readonly prefills: boolean
  samples: number
  /** Keys of what it might have been. */
  readonly endings: string[]
  contentKey: string | undefined
  dropped: boolean
}

/** Records for tests. */
export interface FakeEngine extends Engine {
  readonly arrivals: readonly FakeArrival[]
  /** Requests as they came in, in order. */
  readonly requests: readonly GenerationRequest[]
  /** Ids whose work was ended by an abort or an early return. */
  readonly aborted: readonly string[]
}

const sampleRate = 24_000
const samplesPerFrame = 1_920

/** A {@link FakeEngine}; see {@link FakeEngineOptions}. */
export function createFakeEngine(options: FakeEngineOptions = {}): FakeEngine {
  const modelIds = options.models ?? ['fake-omni']
  const speech = options.speech ?? true
  const thinking = options.thinking ?? true
  const contextLength = options.contextLength ?? 65_536
  const voices = options.voices ?? [
    { name: 'Cherry', speaker: 'chelsie', native: false },
    { name: 'Ethan', speaker: 'ethan', native: true },
    { name: 'Chelsie', speaker: 'chelsie', native: true },
  ]
  const requests: GenerationRequest[] = []
  const aborted: string[] = []
  const arrivals: FakeArrival[] = []
  const closing = new AbortController()
  let active = 0

  function check(request: GenerationRequest): PromptUsage {
    if (closing.signal.aborted) throw new EngineError('engine_closed', 'The engine is closed.')
    if (!modelIds.includes(request.model))
      throw new EngineError('unknown_model', `No model '${request.model}'; loaded: ${modelIds.join(', ')}.`, {
        param: 'model',
      })
    if (request.speech && !speech)
      throw new EngineError('unsupported', 'This checkpoint has no speech; ask for text only.', { param: 'modalities' })
    const voice = request.speech?.voice.toLowerCase()
    if (voice !== undefined && !voices.some((known) => known.name.toLowerCase() === voice))
      throw new EngineError('unsupported', `Unknown voice '${request.speech?.voice}'.`, { param: 'audio.voice' })
    if (request.thinking && !thinking)
      throw new EngineError('unsupported', 'This checkpoint cannot think.', { param: 'enable_thinking' })
    if (request.tools && options.tools !== true)
      throw new EngineError('unsupported', 'This checkpoint has no tools.', { param: 'tools' })
    const prompt = countFakePrompt(request)
    if (prompt.total >= contextLength)
      throw new EngineError(
        'context_overflow',
        `The prompt takes ${prompt.total} tokens and the context holds ${contextLength}.`,
        { param: 'messages' },
      )
    if (prompt.total + request.maxTokens > contextLength)
      throw new EngineError(
        'context_overflow',
        `Prompt (${prompt.total}) plus max_tokens (${request.maxTokens}) is over the context of ${contextLength}.`,
        { param: 'max_tokens' },
      )
    return prompt
  }

  async function* run(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<EngineEvent, void, undefined> {
    const prompt = check(request)
    signal.throwIfAborted()
    if (options.maxRequests !== undefined && active >= options.maxRequests)
      throw new EngineError('overloaded', `${active} requests are running; try again later.`)
    active += 1
    requests.push(request)
    let finished = false
    let sent = 0
    const step = async (event: EngineEvent, delayMs: number): Promise<EngineEvent> => {
      await pause(delayMs, AbortSignal.any([signal, closing.signal]))
      signal.throwIfAborted()
      if (closing.signal.aborted) throw new EngineError('engine_closed', 'The engine was closed.')
      if (options.failAt && sent === options.failAt.event) throw options.failAt.error
      sent += 1
      return event
    }
    try {
      const failure = options.failBefore?.(request)
      if (failure) throw failure
      const reply = request.script === undefined ? (options.reply ?? echo)(request) : { text: request.script }
      const tokenDelay = options.tokenDelayMs ?? 0
      const most = request.maxTotalTokens ?? Infinity
      let reasoningTokens = 0
      let textTokens = 0
      let frames = 0
      const counts = (): ReplyCounts => ({ textTokens, reasoningTokens, audioTokens: frames })
      for (const part of request.messages.flatMap(({ content }) => content)) await decodePart(part, signal)
      yield await step({ type: 'start', prompt }, options.startDelayMs ?? 0)
      if (request.thinking) {
        for (const token of words(reply.reasoning ?? 'Let me think about that.')) {
          if (reasoningTokens >= Math.min(request.thinking.budget ?? Infinity, most)) break
          reasoningTokens += 1
          yield await step({ type: 'reasoning-delta', text: token, counts: counts() }, tokenDelay)
        }
      }
      const called = calledTools(request)
      for (const [index, call] of called.entries()) {
        textTokens += 1
        const id = `call_${request.id}_${index}`
        yield await step({ type: 'tool-call-delta', index, id, ...call, counts: counts() }, tokenDelay)
      }
      if (called.length > 0) {
        const end = await step({ type: 'end', reason: 'tool_calls', usage: { prompt, ...counts() } }, 0)
        finished = true
        yield end
        return
      }
      const tokens = words(cutAtStop(reply.text, request.stop))
      const left = Math.min(request.maxTokens, most - reasoningTokens)
      const spoken = tokens.slice(0, left)
      for (const text of spoken) {
        textTokens += 1
        yield await step({ type: 'text-delta', text, counts: counts() }, tokenDelay)
        if (!request.speech) continue
        const count = options.framesPerToken ?? 3
        const pcm = tone(options.toneHertz ?? 440, frames, count)
        frames += count
        yield await step({ type: 'audio-delta', pcm, counts: counts() }, 0)
      }
      const reason = tokens.length > left ? 'length' : 'stop'
      const usage = { prompt, ...counts() }
      const end = await step({ type: 'end', reason, usage }, 0)
      finished = true
      yield end
    } catch (error) {
      if (signal.aborted) aborted.push(request.id)
      finished = true
      throw error
    } finally {
      if (!finished) aborted.push(request.id)
      active -= 1
    }
  }

  return {
    id: options.id ?? 'fake',
    requests,
    aborted,
    arrivals,
    openAudio: (request, { prefills }) => {
      const arrival: FakeArrival = { request, prefills, samples: 0, endings: [], contentKey: undefined, dropped: false }
      let ending: { readonly silence: number; readonly contentKey: string } | undefined
      arrivals.push(arrival)
      return {
        append: (samples) => {
          ending = undefined
          arrival.samples += samples.length
        },
        mayEnd: (silence, contentKey) => {
          ending = { silence, contentKey }
          arrival.endings.push(contentKey)
        },
        complete: (contentKey) => {
          if (ending?.contentKey === contentKey) arrival.samples += ending.silence
          arrival.contentKey = contentKey
        },
        [Symbol.dispose]: () => (arrival.dropped = true),
      }
    },
    models: () => {
      const model = (id: string): EngineModel => ({
        id,
        architecture: 'FakeOmniForConditionalGeneration',
        input: ['text', 'image', 'audio', 'video'],
        output: speech ? ['text', 'audio'] : ['text'],
        thinking,
        capabilities: {
          tools: options.tools ?? false,
          scripted: true,
          seed: true,
          voiceChoice: true,
          promptByModality: true,
          countsPrompt: true,
          ...options.capabilities,
        },
        contextLength,
        maxOutputTokens: options.maxOutputTokens ?? 16_384,
        voices: speech ? voices : [],
        weights: 'none',
        device: 'cpu',
        ...(options.historyAudio && { historyAudio: options.historyAudio }),
        ...(options.spokenHistoryTurns && { spokenHistoryTurns: options.spokenHistoryTurns }),
      })
      return Promise.resolve(modelIds.map(model))
    },
    countPrompt: async (request, signal) => {
      if (options.capabilities?.countsPrompt === false)
        throw new EngineError('unsupported', 'This engine does not count prompts.')
      signal?.throwIfAborted()
      return check(request)
    },
    generate: (request, signal) => run(request, signal),
    status: () => ({ ready: !closing.signal.aborted, active, waiting: 0, ...options.status?.() }),
    close: async () => closing.abort(),
  }
}

/** Reads a medium as an engine would, so that an invalid file fails before `start`. */
async function decodePart(part: GenerationPart, signal: AbortSignal): Promise<void> {
  switch (part.type) {
    case 'text':
      return
    case 'image':
      await part.image.decode(signal)
      return
    case 'audio':
      await part.audio.decode(signal)
      return
    case 'video':
      await part.video.decode(signal)
      return
    default:
      part satisfies never
  }
}

/**
 * The fake's own token counts: a token per word, per 32 x 32 pixels, per 40 ms of audio and per two frames of 32 x 32.
 */
function countFakePrompt(request: GenerationRequest): PromptUsage {
  let text = 2
  let image = 0
  let audio = 0
  let video = 0
  for (const message of request.messages) {
    text += 4
    for (const part of message.content) {
      switch (part.type) {
        case 'text':
          text += words(part.text).length
          break
        case 'image':
          image += tiles(part.image.facts)
          break
        case 'audio':
          audio += Math.ceil(secondsOf(part.audio.facts) * 25)
          break
        case 'video': {
          const { facts } = part.video
          video += Math.ceil(facts.frames / 2) * tiles(facts)
          if (facts.audio) audio += Math.ceil(secondsOf(facts.audio) * 25)
          break
        }
        default:
          part satisfies never
      }
    }
  }
  return { total: text + image + audio + video, text, image, audio, video }
}

function tiles(size: { width: number; height: number }): number {
  return Math.max(1, Math.round(size.width / 32)) * Math.max(1, Math.round(size.height / 32))
}

function secondsOf({ samples, sampleRate }: AudioFacts): number {
  return samples / sampleRate
}

export function echo(request: GenerationRequest): FakeReply {
  const last = request.messages.findLast((message) => message.role === 'user')
  const seen: string[] = []
  let text = ''
  for (const part of last?.content ?? []) {
    switch (part.type) {
      case 'text':
        text += part.text
        break
      case 'image':
        seen.push(`an image of ${part.image.facts.width} by ${part.image.facts.height}`)
        break
      case 'audio':
        seen.push(`${secondsOf(part.audio.facts).toFixed(1)} seconds of sound`)
        break
      case 'video':
        seen.push(`${part.video.facts.frames} frames${part.video.facts.audio ? ' with sound' : ''}`)
        break
      default:
        part satisfies never
    }
  }
  return { text: `You said: ${text}${seen.length > 0 ? ` I got ${seen.join(' and ')}.` : ''}` }
}

/** The calls in the last user message: `call weather {"city": "Rome"}`, one a line. */
function calledTools({ tools, toolChoice, messages }: GenerationRequest): { name: string; arguments: string }[] {
  const last = messages.at(-1)
  if (tools === undefined || toolChoice === 'none' || last?.role !== 'user') return []
  const text = last.content.map((part) => (part.type === 'text' ? part.text : '')).join('')
  return [...text.matchAll(/^call (\S+) (.*)$/gm)].map(([, name = '', json = '{}']) => ({ name, arguments: json }))
}

/**
 * Splits text into tokens that join to it again: words of Latin text with the space before them, single Han characters.
 */
function words(text: string): string[] {
  return text.match(/\s*(?:\p{Script=Han}|[^\s\p{Script=Han}]+)|\s+$/gu) ?? []
}

function cutAtStop(text: string, stop: readonly string[]): string {
  let end = text.length
  for (const needle of stop) {
    const at = needle === '' ? -1 : text.indexOf(needle)
    if (at >= 0 && at < end) end = at
  }
  return text.slice(0, end)
}

/** `count` frames of a sine with a continuous phase from frame `from`. */
function tone(hertz: number, from: number, count: number): Int16Array {
  const pcm = new Int16Array(count * samplesPerFrame)
  for (let index = 0; index < pcm.length; index += 1) {
    const seconds = (from * samplesPerFrame + index) / sampleRate
    pcm[index] = Math.round(Math.sin(2 * Math.PI * hertz * seconds) * 8_000)
  }
  return pcm
}

/** Waits, or returns at once when the signal fires; the caller checks the signal. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (milliseconds === 0) return new Promise((resolve) => void setImmediate(resolve))
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const timer = setTimeout(done, milliseconds)
    function done(): void {
      signal.removeEventListener('abort', done)
      clearTimeout(timer)
      resolve()
    }
    signal.addEventListener('abort', done, { once: true })
  })
}
