import { afterEach, describe, expect, it } from 'vitest'
import { answer, fakeIds, fakeTokenizer } from '../../testing/fake-model.ts'
import { FakeRuntimes } from '../../testing/fake-runtime.ts'
import { talkerSpeech } from '../../testing/fake-talker.ts'
import { makeRequest, readReply } from '../../testing/requests.ts'
import type { GenerationRequest } from '../contract/index.ts'
import { forcedOpening, readToolCall } from './tool-calls.ts'

const runtimes = new FakeRuntimes()
afterEach(async () => {
  for (const alive of await runtimes.close()) expect(alive).toEqual({ sequences: 0, streams: 0 })
})

const tools = [{ name: 'weather' }, { name: 'clock' }]
const open = fakeIds.ttsBegin
const close = fakeIds.ttsEnd
const tokenizer = {
  ...fakeTokenizer,
  tokenId: (token: string) =>
    token === '<tool_call>' ? open : token === '</tool_call>' ? close : fakeTokenizer.tokenId(token),
}
const bytes = (text: string): number[] => [...new TextEncoder().encode(text)]
const call = (text: string): number[] => [open, ...bytes(text), close]

/** A runtime whose thinker generates these ids. */
function start(ids: readonly number[]) {
  return runtimes.start({ speaksBy: talkerSpeech, script: answer(ids) }, { tokenizer, tools: true }).runtime
}

const asking = (change: Partial<GenerationRequest> = {}): GenerationRequest => ({
  ...makeRequest({ text: 'x', maxTokens: 400 }),
  tools,
  ...change,
})

describe('tool calls', () => {
  it('are recognised by their tokens, and end with the reason', async () => {
    const runtime = start([
      ...bytes('Wait. '),
      ...call('\n{"name": "weather", "arguments": {"city": "Rome", "days": 2}}\n'),
      ...bytes('\n'),
      ...call('{"name": "clock", "arguments": {}}'),
    ])
    const { events, text, reason } = await readReply(runtime, asking())
    expect([text, reason]).toEqual(['Wait. ', 'tool_calls'])
    const calls = events.flatMap((event) => (event.type === 'tool-call-delta' ? [event] : []))
    expect(calls).toMatchObject([
      { index: 0, name: 'weather', arguments: '{"city":"Rome","days":2}' },
      { index: 1, name: 'clock', arguments: '{}' },
    ])
    expect(new Set(calls.map(({ id }) => id)).size).toBe(2)
  })

  it('spelled as text are text', async () => {
    const spelled = '<tool_call>{"name": "clock", "arguments": {}}</tool_call>'
    const { text, reason, events } = await readReply(start(bytes(spelled)), asking())
    expect([text, reason]).toEqual([spelled, 'stop'])
    expect(events.some(({ type }) => type === 'tool-call-delta')).toBe(false)
  })

  it('are not spoken', async () => {
    const silent = await readReply(start(bytes('Wait.')), asking({ speech: { voice: 'ethan' } }))
    const called = await readReply(
      start([...bytes('Wait.'), ...call('{"name": "clock", "arguments": {}}')]),
      asking({ speech: { voice: 'ethan' } }),
    )
    expect(called.usage.audioTokens).toBe(silent.usage.audioTokens)
    expect(called.reason).toBe('tool_calls')
  })

  it.each([
    ['no JSON', 'oops'],
    ['a tool that was not offered', '{"name": "format_disk", "arguments": {}}'],
    ['arguments that are no object', '{"name": "clock", "arguments": [1]}'],
  ])('of %s are shown as they were written', async (_, written) => {
    const { text, reason } = await readReply(start(call(written)), asking())
    expect([text, reason]).toEqual([`<tool_call>${written}</tool_call>`, 'stop'])
  })

  it('that a limit cuts are shown as far as they go', async () => {
    const { text, reason } = await readReply(start(call('{"name": "clock"}')), asking({ maxTokens: 5 }))
    expect([text, reason]).toEqual(['<tool_call>{"na', 'length'])
  })

  it('come one at a time when asked to', async () => {
    const two = [...call('{"name": "clock", "arguments": {}}'), ...call('{"name": "weather", "arguments": {}}')]
    const { events, reason } = await readReply(start(two), asking({ parallelToolCalls: false }))
    expect(events.filter(({ type }) => type === 'tool-call-delta')).toHaveLength(1)
    expect(reason).toBe('tool_calls')
  })

  it('are forced by their first ids', async () => {
    const runtime = start([])
    const { text } = await readReply(runtime, asking({ toolChoice: { name: 'clock' }, maxTokens: 60 }))
    expect(text).toContain('<tool_call>\n{"name": "clock", "arguments": {')
    expect(forcedOpening('auto')).toBeUndefined()
    expect(forcedOpening('required')).toBe('\n{"name": "')
  })

  it('are refused where the template has none', async () => {
    const { runtime } = runtimes.start({ speaksBy: talkerSpeech }, { tokenizer })
    await expect(readReply(runtime, asking())).rejects.toMatchObject({ code: 'unsupported', param: 'tools' })
  })
})

it('arguments may come as a string of JSON', () => {
  expect(readToolCall('{"name": "clock", "arguments": "{\\"zone\\": 1}"}', tools)).toEqual({
    name: 'clock',
    arguments: '{"zone":1}',
  })
})
