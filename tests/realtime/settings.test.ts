/**
 * Settings with several documented kinds of values, in both dialects: each is taken as documented, or refused by its
 * name, and the session continues.
 */
import { describe, expect, it } from 'vitest'
import { MODEL_QUERY, oneSentence, RealtimeClient, silence, to24k } from './client.ts'
import { startForFile } from './fake-sessions.ts'

const server = await startForFile({}, { tools: true })

const OPENAI = `/v1/realtime?${MODEL_QUERY}`
const DASHSCOPE = `/api-ws/v1/realtime?${MODEL_QUERY}`
const BETA = { 'openai-beta': 'realtime=v1' }

const open = async (path: string, headers = {}): Promise<RealtimeClient> => {
  const client = await RealtimeClient.open(server.url + path, headers)
  await client.next('session.created')
  return client
}

/** The parameter that an error names. */
async function refused(client: RealtimeClient, event: object): Promise<unknown> {
  client.send(event)
  return (await client.next('error')).error.param
}

/** The engine's request for a reply with these settings. */
async function reply(client: RealtimeClient, response?: object): Promise<(typeof server.engine.requests)[number]> {
  await client.reply(response)
  return server.engine.requests.at(-1)!
}

const hello = {
  type: 'conversation.item.create',
  item: { role: 'user', content: [{ type: 'input_text', text: 'Hi.' }] },
}

describe.each([
  ['OpenAI', OPENAI, {}, 'max_output_tokens', { type: 'realtime', output_modalities: ['text'] }],
  ['OpenAI beta', OPENAI, BETA, 'max_response_output_tokens', { modalities: ['text'] }],
  ['DashScope', DASHSCOPE, {}, 'max_tokens', { modalities: ['text'] }],
  ['DashScope as in its examples', DASHSCOPE, {}, 'max_response_output_token', { modalities: ['text'] }],
] as const)('the limit of a reply in %s', (_, path, headers, key, base) => {
  it('is a number or "inf", for the session or for one reply', async () => {
    await using client = await open(path, headers)
    const shown = path === OPENAI && !('openai-beta' in headers) ? 'max_output_tokens' : 'max_response_output_tokens'
    client.send(hello)
    const free = (await reply(client)).maxTokens
    expect((await client.update({ ...base, [key]: 7 }))[shown]).toBe(7)
    expect((await reply(client)).maxTokens).toBe(7)
    expect((await reply(client, { [key]: 3 })).maxTokens).toBe(3)
    // "inf" lifts the session's limit for this reply.
    expect((await reply(client, { [key]: 'inf' })).maxTokens).toBe(free)
    expect((await reply(client)).maxTokens).toBe(7)
    expect((await client.update({ ...base, [key]: null }))[shown]).toBe(7)
    expect((await client.update({ ...base, [key]: 'inf' }))[shown]).toBe('inf')
    expect((await reply(client)).maxTokens).toBe(free)
    for (const value of ['7', 'Inf', 0, 1.5, -1, {}]) {
      expect(await refused(client, { type: 'session.update', session: { ...base, [key]: value } })).toBe(
        `session.${key}`,
      )
      expect(await refused(client, { type: 'response.create', response: { [key]: value } })).toBe(`response.${key}`)
    }
  })
})

describe('OpenAI', () => {
  const session = (change: object): object => ({ type: 'session.update', session: { type: 'realtime', ...change } })
  const input = (change: object): object => session({ audio: { input: change } })

  it('refuses unsupported settings by name', async () => {
    await using client = await open(OPENAI)
    for (const [name, change] of [
      ['session.prompt', { prompt: { id: 'pmpt_1' } }],
      ['session.reasoning', { reasoning: { effort: 'low' } }],
      ['session.include', { include: ['item.input_audio_transcription.logprobs'] }],
      ['session.truncation', { truncation: 'disabled' }],
      ['session.truncation', { truncation: { type: 'retention_ratio', retention_ratio: 0.5 } }],
      ['session.tracing', { tracing: 3 }],
      ['session.parallel_tool_calls', { parallel_tool_calls: 'yes' }],
      ['session.tool_choice', { tool_choice: { type: 'mcp', server_label: 'x' } }],
      ['session.tools.0', { tools: [{ type: 'mcp', server_label: 'x' }] }],
      ['session.audio.output.voice', { audio: { output: { voice: { id: 'voice_1' } } } }],
      ['session.audio.output.format.type', { audio: { output: { format: { type: 'audio/pcmu' } } } }],
      ['session.audio.input.noise_reduction', { audio: { input: { noise_reduction: { type: 'loud' } } } }],
      ['session.audio.input.transcription.language', { audio: { input: { transcription: { language: '!' } } } }],
    ] as const)
      expect([name, await refused(client, session(change))]).toEqual([name, name])
    for (const [name, response] of [
      ['response.prompt', { prompt: { id: 'pmpt_1' } }],
      ['response.reasoning', { reasoning: { effort: 'low' } }],
      ['response.conversation', { conversation: 'conv_123' }],
      ['response.audio.output.format.type', { audio: { output: { format: { type: 'audio/pcma' } } } }],
    ] as const)
      expect([name, await refused(client, { type: 'response.create', response })]).toEqual([name, name])
  })

  it('accepts null and the defaults of every setting, and shows those without effect as null', async () => {
    await using client = await open(OPENAI)
    const updated = await client.update({
      type: 'realtime',
      prompt: null,
      include: null,
      truncation: 'auto',
      tracing: 'auto',
      parallel_tool_calls: false,
      tool_choice: 'required',
      tools: [{ type: 'function', name: 'look', parameters: {} }],
      audio: { input: { noise_reduction: { type: 'near_field' }, transcription: { model: 'gpt-4o-transcribe' } } },
    })
    expect(updated).toMatchObject({ tracing: null, parallel_tool_calls: false, tool_choice: 'required' })
    expect(updated).toMatchObject({ audio: { input: { noise_reduction: null } } })
    client.send(hello)
    const asked = await reply(client, { output_modalities: ['text'], conversation: 'auto', metadata: { a: 'b' } })
    expect(asked).toMatchObject({ parallelToolCalls: false, toolChoice: 'required' })
    expect(await reply(client, { output_modalities: ['text'], parallel_tool_calls: true })).toMatchObject({
      parallelToolCalls: true,
    })
  })

  it('supports the eagerness of semantic_vad', async () => {
    await using client = await open(OPENAI)
    const detection = async (change: object): Promise<unknown> => {
      const updated = await client.update({ type: 'realtime', audio: { input: { turn_detection: change } } })
      return (updated['audio'] as { input: { turn_detection: unknown } }).input.turn_detection
    }
    for (const [eagerness, silence_duration_ms] of [
      ['low', 1000],
      ['high', 300],
      ['medium', 500],
      ['auto', 500],
    ] as const)
      expect(await detection({ type: 'semantic_vad', eagerness })).toMatchObject({ eagerness, silence_duration_ms })
    const other = await detection({ type: 'server_vad', silence_duration_ms: 700 })
    expect(other).toMatchObject({ type: 'server_vad', silence_duration_ms: 700 })
    expect(other).not.toHaveProperty('eagerness')
    const param = 'session.audio.input.turn_detection'
    const ask = (turn_detection: object): Promise<unknown> => refused(client, input({ turn_detection }))
    expect(await ask({ type: 'semantic_vad', eagerness: 'very' })).toBe(`${param}.eagerness`)
    expect(await ask({ type: 'server_vad', eagerness: 'low' })).toBe(`${param}.eagerness`)
    expect(await ask({ type: 'server_vad', idle_timeout_ms: 6000 })).toBe(`${param}.idle_timeout_ms`)
  })

  it('passes the language and prompt of transcription to the model', async () => {
    await using client = await open(OPENAI)
    const transcription = { model: 'whisper-1', language: 'de', prompt: 'Qwen' }
    const updated = await client.update({
      type: 'realtime',
      audio: { input: { turn_detection: null, transcription } },
    })
    expect(updated).toMatchObject({ audio: { input: { transcription } } })
    client.say(to24k(oneSentence), 24_000)
    await client.next('conversation.item.input_audio_transcription.completed')
    expect(server.engine.requests.at(-1)!.messages.at(-1)!.content.at(-1)).toEqual({
      type: 'text',
      text: 'Transcribe the audio. It is in German. These words may occur: Qwen',
    })
  })
})

describe('the beta and DashScope', () => {
  it('take sampling, metadata and the format for one reply', async () => {
    await using client = await open(OPENAI, BETA)
    await client.update({ modalities: ['text'], temperature: 0.7 })
    client.send(hello)
    const asked = await reply(client, { temperature: 1.1, metadata: { a: 'b' }, output_audio_format: 'pcm16' })
    expect(asked.sampling.temperature).toBe(1.1)
    expect((await reply(client)).sampling.temperature).toBe(0.7)
    const ask = (response: object): Promise<unknown> => refused(client, { type: 'response.create', response })
    expect(await ask({ temperature: 'hot' })).toBe('response.temperature')
    expect(await ask({ output_audio_format: 'g711_ulaw' })).toBe('response.output_audio_format')
    expect(await ask({ metadata: { a: 1 } })).toBe('response.metadata')
    expect(await ask({ conversation: 'other' })).toBe('response.conversation')
  })

  it('refuse undocumented values by name', async () => {
    await using client = await open(DASHSCOPE)
    for (const [name, session] of [
      ['session.smooth_output', { smooth_output: 'yes' }],
      ['session.turn_detection.idle_timeout_ms', { turn_detection: { type: 'server_vad', idle_timeout_ms: 6000 } }],
      ['session.turn_detection.type', { turn_detection: { type: 'smart_turn' } }],
      ['session.input_audio_transcription.language', { input_audio_transcription: { language: 'klingon' } }],
      ['session.enable_search', { enable_search: true }],
      ['session.modalities', { modalities: 'text' }],
    ] as const)
      expect([name, await refused(client, { type: 'session.update', session })]).toEqual([name, name])
    const updated = await client.update({
      smooth_output: null,
      turn_detection: { type: 'server_vad', threshold: 0.2 },
    })
    expect(updated).toMatchObject({ smooth_output: null, turn_detection: { threshold: 0.2 } })
    client.speak(silence(0.1))
  })
})
