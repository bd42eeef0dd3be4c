import { expect, it } from 'vitest'
import type { GenerationMessage } from '../../contract/index.ts'
import { trimHistory } from './trim-history.ts'

const say = (role: 'system' | 'user' | 'assistant', text: string): GenerationMessage => ({
  role,
  content: [{ type: 'text', text }],
})
const talk = [
  say('system', 's'),
  ...[1, 2, 3].flatMap((turn) => [say('user', `u${turn}`), say('assistant', `a${turn}`)]),
  say('user', 'u4'),
]
const texts = (messages: readonly GenerationMessage[]) =>
  messages.flatMap(({ content }) => content.map((part) => (part.type === 'text' ? part.text : part.type)))

it('keeps the system message and the latest turns, and says what it left out', () => {
  const { messages, warning } = trimHistory(talk, 2, 'nano')
  expect(texts(messages)).toEqual(['s', 'u3', 'a3', 'u4'])
  expect(warning).toBe("messages: the checkpoint 'nano' understands 2 turns; the oldest 2 of 4 were left out")
})

it('leaves a conversation alone that is short enough, or whose checkpoint has no limit', () => {
  expect(trimHistory(talk, 4, 'nano')).toEqual({ messages: talk, warning: undefined })
  expect(trimHistory(talk, undefined, 'big')).toEqual({ messages: talk, warning: undefined })
})
