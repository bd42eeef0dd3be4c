import { expect, it } from 'vitest'
import { NEW_TALK, reduceTalk, statusOf, type TalkState } from './talk-state.ts'

type Event = Parameters<typeof reduceTalk>[1]

function after(...events: Event[]): TalkState {
  return events.reduce(reduceTalk, NEW_TALK)
}

const started: Event = { type: 'input_audio_buffer.speech_started', item_id: 'u1', audio_start_ms: 100 }
const stopped: Event = { type: 'input_audio_buffer.speech_stopped', item_id: 'u1', audio_end_ms: 900 }
const created: Event = { type: 'response.created', response: { id: 'r1' } }
const words = (delta: string): Event => ({ type: 'response.audio_transcript.delta', response_id: 'r1', delta })
const done = (status = 'completed'): Event => ({ type: 'response.done', response: { id: 'r1', status } })

it('goes through the states of a turn', () => {
  const events: Event[] = [
    { type: 'session.updated' },
    started,
    stopped,
    created,
    words('Hello'),
    { type: 'playing', playing: true },
    words(' there'),
    done(),
    { type: 'playing', playing: false },
  ]
  const seen = events.map((_, index) => statusOf(after(...events.slice(0, index + 1))))
  expect([statusOf(NEW_TALK), ...seen]).toEqual([
    'connecting',
    'listening',
    'hearing',
    'thinking',
    'thinking',
    'thinking',
    'speaking',
    'speaking',
    'speaking',
    'listening',
  ])
  expect(after(...events).captions.map(({ speaker, text, open }) => [speaker, text, open])).toEqual([
    ['you', '', true],
    ['model', 'Hello there', false],
  ])
})

it('marks what was interrupted, while it was made and while it was only still played', () => {
  const spoken: Event[] = [{ type: 'session.updated' }, started, stopped, created, words('One, two')]
  const again: Event = { type: 'input_audio_buffer.speech_started', item_id: 'u2', audio_start_ms: 2000 }
  const during = after(...spoken, { type: 'playing', playing: true }, again, done('cancelled'))
  expect(during.captions[1]).toMatchObject({ text: 'One, two', interrupted: true, open: false })
  expect(statusOf(during)).toBe('hearing')
  const later = after(...spoken, { type: 'playing', playing: true }, done(), again)
  expect(later.captions[1]).toMatchObject({ interrupted: true })
  // A reply played to its end is not.
  const whole = after(...spoken, { type: 'playing', playing: true }, done(), { type: 'playing', playing: false }, again)
  expect(whole.captions[1]).toMatchObject({ interrupted: false })
})

it('puts the transcript where the user spoke, whenever it comes', () => {
  const state = after({ type: 'session.updated' }, started, stopped, created, words('Twelve.'), done(), {
    type: 'conversation.item.input_audio_transcription.completed',
    item_id: 'u1',
    transcript: ' what is seven plus five ',
  })
  expect(state.captions.map(({ text }) => text)).toEqual(['what is seven plus five', 'Twelve.'])
})

it('continues when the audio runs dry before the reply is complete', () => {
  const state = after(
    { type: 'session.updated' },
    created,
    words('a'),
    { type: 'playing', playing: true },
    { type: 'playing', playing: false },
  )
  expect(statusOf(state)).toBe('thinking')
})

it('says what the server said, but not that there was nothing to stop', () => {
  const none = after({
    type: 'error',
    error: { code: 'response_cancel_not_active', message: 'Conversation has none active response' },
  })
  expect(none.problem).toBeUndefined()
  expect(after({ type: 'error', error: { message: 'No memory.' } }).problem).toEqual({
    key: 'serverSaid',
    message: 'No memory.',
  })
})
