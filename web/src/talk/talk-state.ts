/**
 * The state of a spoken conversation: who speaks, the captions, the error. Pure.
 *
 * In: server events of the realtime API, and the page's actions. Out: the next state, which the page renders.
 * Reference: docs/realtime.md, DashScope's dialect; the realtime guide's server events.
 */

/** The server events that change what is shown; others are ignored. */
export type ServerEvent =
  | { type: 'session.updated' }
  | { type: 'input_audio_buffer.speech_started'; item_id: string; audio_start_ms: number }
  | { type: 'input_audio_buffer.speech_stopped'; item_id: string; audio_end_ms: number }
  | { type: 'conversation.item.input_audio_transcription.completed'; item_id: string; transcript: string }
  | { type: 'conversation.item.input_audio_transcription.failed'; item_id: string }
  | { type: 'response.created'; response: { id: string } }
  | { type: 'response.audio_transcript.delta' | 'response.text.delta'; response_id: string; delta: string }
  | { type: 'response.audio.delta'; response_id: string; item_id: string; delta: string }
  | { type: 'response.audio.done'; response_id: string }
  | { type: 'response.done'; response: { id: string; status: string } }
  | { type: 'error'; error: { message: string; code?: string | null } }

export interface Caption {
  id: string
  speaker: 'you' | 'model'
  text: string
  /** More may come: the turn is being spoken, or its transcript is still to be made. */
  open: boolean
  interrupted: boolean
}

/** Key under `talk` or `problem` in the translations, and the message it quotes. */
export interface TalkProblem {
  key: string
  message: string
}

export interface TalkState {
  phase: 'connecting' | 'live' | 'ended'
  userSpeaks: boolean
  /** The user has finished and no reply has begun yet. */
  awaiting: boolean
  /** The reply being generated or still played. */
  replyId: string | undefined
  playing: boolean
  muted: boolean
  captions: readonly Caption[]
  problem: TalkProblem | undefined
}

export const NEW_TALK: TalkState = {
  phase: 'connecting',
  userSpeaks: false,
  awaiting: false,
  replyId: undefined,
  playing: false,
  muted: false,
  captions: [],
  problem: undefined,
}

type TalkEvent =
  | ServerEvent
  | { type: 'playing'; playing: boolean }
  | { type: 'interrupted' }
  | { type: 'muted'; muted: boolean }
  | { type: 'problem'; problem: TalkProblem | undefined }
  | { type: 'ended'; problem: TalkProblem | undefined }

export type TalkStatus = 'connecting' | 'listening' | 'hearing' | 'thinking' | 'speaking' | 'muted' | 'ended'

export function statusOf(state: TalkState): TalkStatus {
  if (state.phase !== 'live') return state.phase
  if (state.userSpeaks) return 'hearing'
  if (state.playing) return 'speaking'
  if (state.awaiting || state.replyId !== undefined) return 'thinking'
  return state.muted ? 'muted' : 'listening'
}

function change(state: TalkState, id: string, next: (caption: Caption) => Partial<Caption>): TalkState {
  return {
    ...state,
    captions: state.captions.map((caption) => (caption.id === id ? { ...caption, ...next(caption) } : caption)),
  }
}

function add(state: TalkState, id: string, speaker: Caption['speaker']): TalkState {
  return { ...state, captions: [...state.captions, { id, speaker, text: '', open: true, interrupted: false }] }
}

export function reduceTalk(state: TalkState, event: TalkEvent): TalkState {
  switch (event.type) {
    case 'session.updated':
      return { ...state, phase: 'live' }
    case 'input_audio_buffer.speech_started': {
      // It interrupts the current reply.
      const cut = state.replyId
      const quiet = cut === undefined ? state : change(state, cut, () => ({ open: false, interrupted: true }))
      return add(
        { ...quiet, userSpeaks: true, awaiting: false, playing: false, replyId: undefined },
        event.item_id,
        'you',
      )
    }
    case 'input_audio_buffer.speech_stopped':
      return { ...state, userSpeaks: false, awaiting: true }
    case 'conversation.item.input_audio_transcription.completed':
      return change(state, event.item_id, () => ({ text: event.transcript.trim(), open: false }))
    case 'conversation.item.input_audio_transcription.failed':
      return change(state, event.item_id, () => ({ open: false }))
    case 'response.created':
      return add(
        { ...state, awaiting: false, replyId: event.response.id, problem: undefined },
        event.response.id,
        'model',
      )
    case 'response.audio_transcript.delta':
    case 'response.text.delta':
      return change(state, event.response_id, ({ text }) => ({ text: text + event.delta }))
    case 'response.audio.delta':
    case 'response.audio.done':
      return state
    case 'response.done': {
      const { id, status } = event.response
      const closed = change(state, id, (caption) => ({
        open: false,
        interrupted: caption.interrupted || status === 'cancelled',
      }))
      return closed.replyId === id && !closed.playing ? { ...closed, replyId: undefined } : closed
    }
    case 'error':
      // Sent for a reply that ended just before it was to be stopped.
      if (event.error.code === 'response_cancel_not_active') return state
      return { ...state, awaiting: false, problem: { key: 'serverSaid', message: event.error.message } }
    case 'playing': {
      if (state.playing === event.playing) return state
      const reply = state.captions.find(({ id }) => id === state.replyId)
      const over = !event.playing && reply?.open !== true
      return { ...state, playing: event.playing, replyId: over ? undefined : state.replyId }
    }
    case 'interrupted':
      return state.replyId === undefined ? state : change(state, state.replyId, () => ({ interrupted: true }))
    case 'muted':
      return { ...state, muted: event.muted }
    case 'problem':
      return { ...state, problem: event.problem }
    case 'ended': {
      const captions = state.captions.map((caption) => ({ ...caption, open: false }))
      return {
        ...state,
        phase: 'ended',
        userSpeaks: false,
        awaiting: false,
        playing: false,
        captions,
        problem: event.problem,
      }
    }
    default:
      // The API has more events than these.
      event satisfies never
      return state
  }
}
