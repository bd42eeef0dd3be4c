/** Keys of client events that have no effect: accepted, and named once in the log. */
import pino from 'pino'
import { afterAll, expect, it } from 'vitest'
import { fakeEngine, startTestServer } from '../support/server.ts'
import { MODEL_QUERY, RealtimeClient, SDK_SESSION } from './client.ts'

const lines: string[] = []
const log = pino({ base: null }, { write: (line) => void lines.push((JSON.parse(line) as { msg: string }).msg) })
const server = await startTestServer({}, fakeEngine(), { log })
afterAll(() => server.stop(0))

const OPENAI = `/v1/realtime?${MODEL_QUERY}`
const DASHSCOPE = `/api-ws/v1/realtime?${MODEL_QUERY}`

async function open(path: string, headers = {}): Promise<RealtimeClient> {
  lines.length = 0
  const client = await RealtimeClient.open(server.url + path, headers)
  await client.next('session.created')
  return client
}

const ignored = (): string[] => lines.filter((line) => line.startsWith('not supported and ignored'))

it.each([
  [
    'DashScope',
    DASHSCOPE,
    {},
    {
      modalities: ['text'],
      smart_turn: true,
      turn_detection: { type: 'server_vad', threshold: 0.2, quick: 1 },
      audio: { input: { format: { type: 'pcm', sample_rate: 16_000, packing: 'lsb' } } },
      search_options: {},
      video: null,
    },
    ['session.smart_turn', 'session.turn_detection.quick', 'session.audio.input.format.packing'],
  ],
  [
    'OpenAI beta',
    OPENAI,
    { 'openai-beta': 'realtime=v1' },
    { modalities: ['text'], input_audio_noise_reduction: { type: 'near_field' }, temperature: 0.7 },
    ['session.input_audio_noise_reduction'],
  ],
  [
    'OpenAI',
    OPENAI,
    {},
    {
      type: 'realtime',
      model: 'gpt-realtime',
      tracing: 'auto',
      temperature: 0.7,
      audio: { input: { noise_reduction: { type: 'near_field' } }, output: { voice: 'Cherry' } },
    },
    ['session.temperature', 'session.audio.input.noise_reduction', 'session.model'],
  ],
] as const)(
  '%s: an update with unknown keys takes effect, and the log names them',
  async (_, path, headers, session, keys) => {
    await using client = await open(path, headers)
    await client.update(session)
    await client.update(session)
    expect(ignored()).toEqual([`not supported and ignored: ${keys.map((key) => `session.update: ${key}`).join(', ')}`])
  },
)

it('names settings beside the session, and those of a reply', async () => {
  await using client = await open(DASHSCOPE)
  client.send({ type: 'session.update', instructions: 'Be brief.', session: {} })
  await client.next('session.updated')
  client.send({
    type: 'conversation.item.create',
    item: { role: 'user', content: [{ type: 'input_text', text: 'Hi.' }] },
  })
  await client.reply({ modalities: ['text'], voices: 'Cherry', instructions: null })
  expect(ignored()).toEqual([
    'not supported and ignored: session.update: instructions',
    'not supported and ignored: response.create: response.voices',
  ])
})

it('is silent about all keys that the official SDKs send', async () => {
  await using client = await open(DASHSCOPE)
  await client.update({ ...SDK_SESSION, instructions: 'Be brief.', temperature: 0.9 })
  expect(ignored()).toEqual([])
})

it('limits what one session adds to the log', async () => {
  await using client = await open(DASHSCOPE)
  for (let i = 0; i < 40; i += 1) await client.update({ [`key${i}`]: 1 })
  expect(ignored()).toHaveLength(32)
})
