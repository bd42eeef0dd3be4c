import { expect, it } from 'vitest'
import { listing } from '../api/listing.fixture.ts'
import type { AssistantTurn, UserTurn } from '../state/conversation.ts'
import { DEFAULT_SETTINGS } from '../state/settings.ts'
import { talkHistory, talkSettings } from './talk-settings.ts'

const flash = listing('qwen3-omni-flash')

it('takes voice, system message and changed sampling over, and speaks although thinking is on', () => {
  const settings = { ...DEFAULT_SETTINGS, voice: 'Ethan', system: 'Be brief.', thinking: true, topK: 7, speech: false }
  const session = talkSettings(flash, settings)
  expect(session).toMatchObject({
    modalities: ['text', 'audio'],
    voice: 'Ethan',
    instructions: 'Be brief.',
    top_k: 7,
    turn_detection: { type: 'server_vad' },
  })
  expect(session).not.toHaveProperty('temperature')
})

it('asks a checkpoint that does not speak for text', () => {
  const mute = { ...flash, served_by: flash.served_by && { ...flash.served_by, output_modalities: ['text' as const] } }
  const session = talkSettings(mute, { ...DEFAULT_SETTINGS, voice: 'Ethan' })
  expect(session['modalities']).toEqual(['text'])
  expect(session).not.toHaveProperty('voice')
})

it('sends what was said before as text: the newest turns, transcripts in place of audio', () => {
  const user = (text: string, transcript?: string): UserTurn => ({
    id: text,
    role: 'user',
    text,
    mediaIds: [],
    ...(transcript !== undefined && { transcript }),
  })
  const reply = (text: string): AssistantTurn => ({
    id: text,
    role: 'assistant',
    status: 'done',
    text,
    reasoning: '',
    model: 'm',
    metrics: {},
    request: { model: 'm', messages: [], stream: true, stream_options: { include_usage: true }, modalities: ['text'] },
  })
  expect(talkHistory([user('', 'spoken'), reply('played'), user(''), reply('an image'), user('typed')])).toEqual([
    { role: 'user', text: 'spoken' },
    { role: 'assistant', text: 'played' },
    { role: 'assistant', text: 'an image' },
    { role: 'user', text: 'typed' },
  ])
  const many = Array.from({ length: 20 }, (_, index) => user(`turn ${index}`))
  expect(talkHistory(many).map(({ text }) => text)).toEqual(many.slice(8).map(({ text }) => text))
})
