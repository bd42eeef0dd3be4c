/**
 * The hosted service's event sequence of a text conversation with two parallel tool calls, as captured in October
 * 2026, against ours: the same events with the same keys, ids masked in the order in which they occur. The
 * service's random `obfuscation` on deltas is left out.
 */
import { expect, it } from 'vitest'
import { RealtimeClient, type ServerEvent } from './client.ts'
import { startForFile } from './fake-sessions.ts'

const server = await startForFile({}, { tools: true })

const ID = /^(?:sess|item|resp|conv)_[A-Za-z0-9]{21}$|^call_[0-9a-f]{24}$/

/** Ids become `item 1`, `item 2`, ...; counts of tokens become their type. */
function masked(events: readonly ServerEvent[]): unknown[] {
  const seen = new Map<string, string>()
  const counts = new Map<string, number>()
  const mask = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(mask)
    if (typeof value === 'object' && value !== null)
      return Object.fromEntries(
        Object.entries(value).map(([key, inner]) => [key, key.endsWith('_tokens') ? typeof inner : mask(inner)]),
      )
    if (typeof value !== 'string' || !ID.test(value)) return value
    const kind = value.split('_')[0]!
    if (!seen.has(value)) {
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
      seen.set(value, `${kind} ${counts.get(kind)}`)
    }
    return seen.get(value)
  }
  return events.map((event) => mask(Object.fromEntries(Object.entries(event).filter(([key]) => key !== 'event_id'))))
}

interface Place {
  readonly response: string
  readonly item: string
  readonly index?: number
}

const object = 'realtime.item'
const user = (id: string, text: string): object => ({
  id,
  object,
  type: 'message',
  status: 'completed',
  role: 'user',
  content: [{ type: 'input_text', text }],
})
const message = (id: string, content: readonly object[], status = 'completed'): object => ({
  id,
  object,
  type: 'message',
  status,
  role: 'assistant',
  content,
})
const call = (id: string, callId: string, name: string, text = ''): object => ({
  id,
  object,
  type: 'function_call',
  status: text === '' ? 'in_progress' : 'completed',
  call_id: callId,
  name,
  arguments: text,
})
const created = (item: object, previous?: string): object => ({
  type: 'conversation.item.created',
  ...(previous !== undefined && { previous_item_id: previous }),
  item,
})
const response = (id: string, output?: readonly object[]): object => ({
  id,
  object: 'realtime.response',
  conversation_id: 'conv 1',
  status: output === undefined ? 'in_progress' : 'completed',
  modalities: ['text'],
  voice: 'Cherry',
  output_audio_format: 'pcm24',
  output: output ?? [],
  ...(output !== undefined && {
    usage: {
      total_tokens: 'number',
      input_tokens: 'number',
      output_tokens: 'number',
      input_tokens_details: { text_tokens: 'number' },
      output_tokens_details: { text_tokens: 'number' },
    },
  }),
})
const at = ({ response: id, item, index = 0 }: Place): object => ({
  response_id: id,
  item_id: item,
  output_index: index,
})
const output = (type: 'added' | 'done', place: Place, item: object): object => ({
  type: `response.output_item.${type}`,
  response_id: place.response,
  output_index: place.index ?? 0,
  item,
})

function textReply(place: Place, previous: string, pieces: readonly string[]): object[] {
  const text = pieces.join('')
  const where = { ...at(place), content_index: 0 }
  const { item, response: id } = place
  return [
    { type: 'response.created', response: response(id) },
    output('added', place, message(item, [], 'in_progress')),
    created(message(item, [], 'in_progress'), previous),
    { type: 'response.content_part.added', ...where, part: { type: 'text', text: '' } },
    ...pieces.map((delta) => ({ type: 'response.text.delta', ...where, delta })),
    { type: 'response.text.done', ...where, text },
    { type: 'response.content_part.done', ...where, part: { type: 'text', text } },
    output('done', place, message(item, [{ type: 'text' }])),
    { type: 'response.done', response: response(id, [message(item, [{ type: 'text', text }])]) },
  ]
}

function toolCall(place: Place, previous: string, callId: string, name: string): object[] {
  const type = 'response.function_call_arguments'
  return [
    output('added', place, call(place.item, callId, name)),
    created(call(place.item, callId, name), previous),
    { type: `${type}.delta`, ...at(place), call_id: callId, delta: '{}' },
    { type: `${type}.done`, ...at(place), call_id: callId, name, arguments: '{}' },
    output('done', place, call(place.item, callId, name, '{}')),
  ]
}

it('the event sequence is that of the service', async () => {
  await using client = await RealtimeClient.dashscope(server)
  const tool = (name: string): object => ({
    type: 'function',
    function: { name, description: `The ${name}.`, parameters: { type: 'object', properties: {} } },
  })
  const say = (text: string): void =>
    client.send({
      event_id: 'mine',
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
    })
  client.send({
    type: 'session.update',
    session: { modalities: ['text'], max_tokens: 128, tools: [tool('test_color'), tool('test_shape')] },
  })
  say('remember')
  await client.reply()
  const calls = 'call test_color {}\ncall test_shape {}'
  say(calls)
  const { output: made } = (await client.reply()) as { output: { call_id: string }[] }
  for (const [index, text] of ['blue', 'square'].entries()) {
    client.send({
      type: 'conversation.item.create',
      item: { type: 'function_call_output', call_id: made[index]!.call_id, output: text },
    })
  }
  await client.reply()
  const [opened, updated, ...events] = masked(client.events) as { type: string; text?: string; delta?: string }[]
  expect([opened!.type, updated!.type]).toEqual(['session.created', 'session.updated'])
  const pieces = (id: string): string[] =>
    events.flatMap((event) =>
      event.type === 'response.text.delta' && (event as unknown as { response_id: string }).response_id === id
        ? [event.delta!]
        : [],
    )
  const answer = (id: string, callId: string, text: string): object => ({
    id,
    object,
    type: 'function_call_output',
    status: 'completed',
    call_id: callId,
    output: text,
  })
  const first = { response: 'resp 2', item: 'item 4' }
  const second = { response: 'resp 2', item: 'item 5', index: 1 }
  expect(pieces('resp 1').length).toBeGreaterThan(1)
  expect(events).toEqual([
    created(user('item 1', 'remember')),
    ...textReply({ response: 'resp 1', item: 'item 2' }, 'item 1', pieces('resp 1')),
    created(user('item 3', calls), 'item 2'),
    { type: 'response.created', response: response('resp 2') },
    ...toolCall(first, 'item 3', 'call 1', 'test_color'),
    ...toolCall(second, 'item 4', 'call 2', 'test_shape'),
    {
      type: 'response.done',
      response: response('resp 2', [
        call('item 4', 'call 1', 'test_color', '{}'),
        call('item 5', 'call 2', 'test_shape', '{}'),
      ]),
    },
    created(answer('item 6', 'call 1', 'blue'), 'item 5'),
    created(answer('item 7', 'call 2', 'square'), 'item 6'),
    ...textReply({ response: 'resp 3', item: 'item 8' }, 'item 7', pieces('resp 3')),
  ])
})
