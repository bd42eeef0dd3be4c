/**
 * Runs one request and turns its chunks into an assistant turn, playing its speech on the way.
 *
 * In: a stored request and its media. Out: the turn, emitted whenever it has changed (at most about 30 times a second).
 * Never throws: failures and stops are states of the turn.
 */
import { streamChat } from '../api/client.ts'
import { toFailure } from '../api/errors.ts'
import { inlineMedia } from '../api/request.ts'
import type { ChatChunk } from '../api/types.ts'
import { player } from '../audio/speech-player.ts'
import { PcmDecoder } from '../audio/wav.ts'
import type { AssistantTurn, Media, StoredRequest } from './conversation.ts'
import { addSpeech, finishSpeech } from './live-speech.ts'

export interface ReplyOptions {
  turnId: string
  request: StoredRequest
  media: Record<string, Media>
  apiKey: string
  /** Play speech as it comes. */
  autoplay: boolean
  signal: AbortSignal
  onTurn: (turn: AssistantTurn) => void
}

const PACE = 33 // milliseconds between updates

export async function runReply(options: ReplyOptions): Promise<void> {
  const { turnId, request, signal } = options
  let turn: AssistantTurn = {
    id: turnId,
    role: 'assistant',
    status: 'waiting',
    text: '',
    reasoning: '',
    model: request.model,
    metrics: {},
    request,
  }
  if (request.audio !== undefined) turn.voice = request.audio.voice
  let timer: ReturnType<typeof setTimeout> | undefined
  const show = (): void => {
    clearTimeout(timer)
    timer = undefined
    options.onTurn(turn)
  }
  const change = (next: Partial<AssistantTurn>): void => {
    turn = { ...turn, ...next }
    timer ??= setTimeout(show, PACE)
  }
  show()

  const decoder = new PcmDecoder()
  let began = 0
  const since = (): number => performance.now() - began
  const mark = (name: 'firstText' | 'firstReasoning' | 'firstAudio'): void => {
    if (turn.metrics[name] === undefined) change({ metrics: { ...turn.metrics, [name]: since() } })
  }

  const take = (chunk: ChatChunk): void => {
    if (chunk.usage) change({ usage: chunk.usage })
    for (const choice of chunk.choices) {
      const { content, reasoning_content: reasoning, audio } = choice.delta
      if (reasoning) {
        mark('firstReasoning')
        change({ status: 'streaming', reasoning: turn.reasoning + reasoning })
      }
      // Some models send the text of a spoken reply with its audio.
      const text = content ? content : (audio?.transcript ?? '')
      if (text !== '') {
        mark('firstText')
        change({ status: 'streaming', text: turn.text + text })
      }
      if (audio?.data) {
        const samples = decoder.decode(audio.data)
        if (samples.length > 0) {
          if (turn.metrics.firstAudio === undefined && options.autoplay) player.begin(turnId)
          mark('firstAudio')
          addSpeech(turnId, samples)
          player.push(turnId, samples)
          change({ status: 'streaming' })
        }
      }
      if (choice.finish_reason !== null) change({ finishReason: choice.finish_reason })
    }
  }

  try {
    const body = JSON.stringify(await inlineMedia(request, options.media))
    signal.throwIfAborted()
    began = performance.now()
    const chunks = streamChat(body, options.apiKey, signal, ({ requestId, warnings }) => {
      change({ ...(requestId !== '' && { requestId }), ...(warnings !== '' && { warnings }) })
    })
    for await (const chunk of chunks) take(chunk)
    turn = { ...turn, status: 'done' }
  } catch (error) {
    turn = signal.aborted ? { ...turn, status: 'stopped' } : { ...turn, status: 'failed', failure: toFailure(error) }
  }
  player.end(turnId)
  const pcm = finishSpeech(turnId)
  turn = { ...turn, metrics: { ...turn.metrics, total: began === 0 ? 0 : since() }, ...(pcm ? { pcm } : {}) }
  show()
}
