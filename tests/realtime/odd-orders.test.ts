/**
 * Realtime events in orders that no client should send, and clients that do not read: a session answers or ends, and
 * the server continues.
 */
import { describe, expect, it } from 'vitest'
import { eventually, until } from '../../testing/until.ts'
import { jpeg } from '../support/media.ts'
import { oneSentence, RealtimeClient, silence } from './client.ts'
import { start } from './fake-sessions.ts'

const isClosed = ({ socket }: RealtimeClient): boolean => socket.readyState === socket.CLOSED

// First: before the model of voice activity is loaded.
it('sessions opened at once are no more than the limit', async () => {
  const server = await start({ realtimeSessions: 2 })
  const opened = await Promise.allSettled(Array.from({ length: 20 }, () => RealtimeClient.dashscope(server)))
  const clients = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  const greetedOf = () => clients.filter(({ types }) => types.includes('session.created'))
  await until(() => greetedOf().length >= 2 && clients.every((one) => greetedOf().includes(one) || isClosed(one)))
  const greeted = greetedOf()
  for (const client of clients) if (!greeted.includes(client)) expect((await client.closed).code).toBe(1013)
  expect(greeted.length).toBe(2)
  for (const client of greeted) client.socket.terminate()
})

describe('a session', () => {
  it('does not answer a deleted turn', async () => {
    const server = await start({}, { tokenDelayMs: 20 })
    await using client = await RealtimeClient.dashscope(server)
    const turn_detection = { type: 'server_vad', interrupt_response: false }
    client.send({ type: 'session.update', session: { turn_detection, input_audio_transcription: null } })
    client.write('word '.repeat(10_000), { id: 'first' })
    client.send({ type: 'response.create' })
    await client.next('response.created')
    client.speak(Float32Array.of(...oneSentence, ...silence(1)))
    const { item_id } = await client.next('input_audio_buffer.committed')
    for (const id of ['first', item_id]) {
      client.send({ type: 'conversation.item.delete', item_id: id })
      await client.next('conversation.item.deleted')
    }
    client.send({ type: 'response.cancel' })
    expect((await client.next('response.done')).response.status).toBe('cancelled')
    client.write('hello', { id: 'second' })
    expect((await client.reply())['status']).toBe('completed')
  })

  it('refuses invalid tool names', async () => {
    const server = await start({}, { tools: true })
    await using client = await RealtimeClient.dashscope(server)
    const tool = { type: 'function', name: 'get_time' }
    const other = { type: 'function', name: 'get_tmie' }
    const wrong: [object, string][] = [
      [{ type: 'session.update', session: { tools: [{ ...tool, name: 'get time' }] } }, 'session.tools.0'],
      [{ type: 'session.update', session: { tools: [tool], tool_choice: other } }, 'session.tool_choice'],
      [{ type: 'response.create', response: { tools: [tool], tool_choice: other } }, 'response.tool_choice'],
    ]
    for (const [event, param] of wrong) {
      client.send(event)
      expect((await client.next('error')).error.param).toBe(param)
    }
    expect(client.events.at(-1)!['error'].message).toContain("Did you mean 'get_time'")
    client.send({ type: 'session.update', session: { tools: [tool], tool_choice: tool } })
    expect((await client.next('session.updated')).session.tools).toHaveLength(1)
  })

  it('keeps the current turn when turn detection is changed', async () => {
    const server = await start()
    await using client = await RealtimeClient.dashscope(server)
    client.send({ type: 'session.update', session: { input_audio_transcription: null } })
    client.speak(oneSentence.subarray(0, 22_000))
    const started = await client.next('input_audio_buffer.speech_started')
    const turn_detection = { type: 'server_vad', threshold: 0.4, silence_duration_ms: 1200 }
    client.send({ type: 'session.update', session: { turn_detection } })
    client.speak(Float32Array.of(...oneSentence.subarray(22_000), ...silence(1.5)))
    const stopped = await client.next('input_audio_buffer.speech_stopped')
    await client.next('response.done')
    expect(client.types.filter((type) => type === 'input_audio_buffer.speech_started')).toHaveLength(1)
    expect(stopped.item_id).toBe(started.item_id)
    const part = server.engine.requests.at(-1)!.messages.at(-1)!.content.at(-1)!
    if (part.type !== 'audio') throw new Error('the request has no audio')
    const taken = (part.audio.facts.samples / part.audio.facts.sampleRate) * 1000
    expect(taken).toBeCloseTo(stopped['audio_end_ms'] - started['audio_start_ms'], -1)
  })

  it('keeps the image of a deleted turn for the reply that runs', async () => {
    const server = await start({}, { tokenDelayMs: 20 })
    await using client = await RealtimeClient.dashscope(server)
    const image_url = `data:image/jpeg;base64,${(await jpeg(64, 48)).toString('base64')}`
    const content = [
      { type: 'input_image', image_url },
      { type: 'input_text', text: 'word '.repeat(10_000) },
    ]
    client.send({ type: 'conversation.item.create', item: { id: 'seen', role: 'user', content } })
    client.send({ type: 'response.create' })
    await client.next('response.audio.delta')
    client.send({ type: 'conversation.item.delete', item_id: 'seen' })
    await client.next('conversation.item.deleted')
    const [part] = server.engine.requests.at(-1)!.messages.at(-1)!.content
    if (part?.type !== 'image') throw new Error('the request has no image')
    expect((await part.image.decode()).width).toBeGreaterThan(0)
    client.send({ type: 'response.cancel' })
    await client.next('response.done')
    await eventually(() => expect(part.image.decode()).rejects.toThrow())
  })

  it('stops handling events while its client does not read the answers', async () => {
    const server = await start({ stallTimeout: 0.3 })
    const client = await RealtimeClient.dashscope(server)
    // The answer contains the instructions, and so do the answers to the small events that follow.
    await client.update({ instructions: 'x'.repeat(1024 * 1024) })
    client.socket.pause()
    const before = process.memoryUsage().external
    let most = 0
    for (let count = 0; count < 300; count += 1) client.send({ type: 'session.update', session: {} })
    await until(() => {
      most = Math.max(most, process.memoryUsage().external - before)
      return server.services.shutdown.running === 0
    })
    expect(most).toBeLessThan(100 * 1024 * 1024)
    client.socket.terminate()
  })

  it('refuses a frame with too much nesting or too many values, and continues', async () => {
    const server = await start()
    await using client = await RealtimeClient.dashscope(server)
    const deep = `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`
    client.socket.send(
      `{"type":"session.update","session":{"tools":[{"type":"function","name":"f","parameters":${deep}}]}}`,
    )
    client.socket.send(`{"type":"session.update","session":{"tools":[${'1,'.repeat(200_000)}1]}}`)
    for (const fault of ['nested more than 64 deep', 'more than 100000 values']) {
      const { error } = await client.next('error')
      expect(error.code).toBe('invalid_json')
      expect(error.message).toContain(fault)
    }
    await client.update({})
  })

  it('refuses property names of JavaScript as turn detection types', async () => {
    const server = await start()
    await using client = await RealtimeClient.dashscope(server)
    client.send({ type: 'session.update', session: { turn_detection: { type: 'constructor' } } })
    expect((await client.next('error')).error.param).toBe('session.turn_detection.type')
  })
})
