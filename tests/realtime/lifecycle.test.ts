/** Realtime sessions that are dropped, idle, too large or cut off: nothing leaks, limits hold. */
import { getEventListeners } from 'node:events'
import type { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { EngineError } from '../../src/contract/index.ts'
import type { TestServer } from '../support/server.ts'
import { eventually, until } from '../../testing/until.ts'
import { oneSentence, pcmBase64, RealtimeClient, silence } from './client.ts'
import { start } from './fake-sessions.ts'

const hello = {
  type: 'conversation.item.create',
  item: { role: 'user', content: [{ type: 'input_text', text: 'word '.repeat(150) }] },
}

async function sessionsOf(server: TestServer): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text()
  return Number(/^omniserve_realtime_sessions (\d+)$/m.exec(text)?.[1])
}

describe('sessions', () => {
  it('dropped at any moment leave nothing behind', async () => {
    const server = await start({}, { tokenDelayMs: 1 })
    const audio = { type: 'input_audio_buffer.append', audio: pcmBase64(oneSentence.subarray(0, 22_000)) }
    const moments: ((client: RealtimeClient) => Promise<void> | void)[] = [
      () => undefined,
      async (client) => void (await client.next('session.created')),
      (client) => client.send(audio),
      async (client) => {
        client.send(audio)
        await client.next('input_audio_buffer.speech_started')
      },
      async (client) => {
        client.send(hello)
        client.send({ type: 'response.create' })
        await client.next('response.created')
      },
      async (client) => {
        client.send(hello)
        client.send({ type: 'response.create' })
        await client.next('response.audio.delta')
      },
      async (client) => {
        client.send(hello)
        client.send({ type: 'response.create' })
        client.send({ type: 'response.cancel' })
        await client.next('response.done')
      },
      (client) => client.socket.send('garbage'),
      (client) => client.socket.send(Buffer.alloc(1000, 7)),
      async (client) => {
        client.send(hello)
        client.send({ type: 'response.create' })
        await client.next('response.created')
        client.socket.send(Buffer.alloc(1000, 7))
        client.socket.send('[')
        await client.next('error')
      },
      // Half a frame, and then no more.
      (client) => {
        const { _socket: raw } = client.socket as unknown as { _socket: Socket }
        raw.write(Buffer.from([0x81, 0xfe, 0xff]))
        client.socket.terminate()
      },
    ]
    const listeners = (): number =>
      [server.services.shutdown.begun, server.services.shutdown.signal].reduce(
        (sum, signal) => sum + getEventListeners(signal, 'abort').length,
        0,
      )
    const before = listeners()
    for (let round = 0; round < 10; round += 1) {
      await Promise.all(
        Array.from({ length: 20 }, async (_, index) => {
          const client = await RealtimeClient.dashscope(server)
          await moments[(round * 20 + index) % moments.length]!(client)
          if (index % 2 === 0) client.socket.terminate()
          else client.socket.close()
          await client.closed
        }),
      )
    }
    for (const client of await Promise.all([RealtimeClient.dashscope(server), RealtimeClient.dashscope(server)])) {
      client.socket.send('x'.repeat(22 * 1024 * 1024))
      expect((await client.closed).code).toBe(1009)
    }
    await until(async () => (await sessionsOf(server)) === 0)
    await until(() => server.services.queue.active === 0)
    await until(() => server.services.shutdown.running === 0)
    await until(() => server.engine.status().active === 0)
    await eventually(() => expect(listeners()).toBe(before))
    // Many of them were in the middle of a reply.
    expect(server.engine.aborted.length).toBeGreaterThan(30)
    await using after = await RealtimeClient.dashscope(server)
    await after.next('session.created')
  }, 180_000)

  it('are refused past the limit', async () => {
    const server = await start({ realtimeSessions: 1 })
    await using first = await RealtimeClient.dashscope(server)
    await first.next('session.created')
    await expect(RealtimeClient.dashscope(server)).rejects.toThrow('503')
  })

  it('end at their time limit, and when idle', async () => {
    const short = await start({ realtimeSessionLimit: 0.05 })
    const expired = await RealtimeClient.dashscope(short)
    expect((await expired.next('error')).error.code).toBe('session_expired')
    expect((await expired.closed).code).toBe(1001)
    const idle = await start({ realtimeIdle: 0.05 })
    const left = await RealtimeClient.dashscope(idle)
    expect((await left.next('error')).error.code).toBe('session_idle')
    expect(await left.closed).toMatchObject({ code: 1000, reason: expect.stringContaining('nothing was sent') })
  })

  it('finish their reply when the server stops, and are closed after the grace period', async () => {
    const server = await start({}, { tokenDelayMs: 2 })
    const idle = await RealtimeClient.dashscope(server)
    const busy = await RealtimeClient.dashscope(server)
    busy.send(hello)
    busy.send({ type: 'response.create' })
    await busy.next('response.audio.delta')
    const stopped = server.stop(60_000)
    expect((await idle.closed).code).toBe(1001)
    expect((await busy.next('response.done')).response.status).toBe('completed')
    expect((await busy.closed).code).toBe(1001)
    await stopped
    const endless = await start({}, { tokenDelayMs: 60_000 })
    const stuck = await RealtimeClient.dashscope(endless)
    stuck.send(hello)
    stuck.send({ type: 'response.create' })
    await stuck.next('response.created')
    await endless.stop(10)
    expect((await stuck.closed).code).toBe(1001)
  })

  it('take a place in the queue only for replies, and report engine failures', async () => {
    const server = await start({ maxActive: 1, maxWaiting: 1 }, { tokenDelayMs: 60_000 })
    const clients = await Promise.all([
      RealtimeClient.dashscope(server),
      RealtimeClient.dashscope(server),
      RealtimeClient.dashscope(server),
    ])
    for (const [index, client] of clients.entries()) {
      client.send(hello)
      client.send({ type: 'response.create' })
      await client.next('response.created')
      // The third is refused.
      await until(() => server.services.queue.active + server.services.queue.waiting === Math.min(index + 1, 2))
    }
    const { error } = await clients[2].next('error')
    expect(error.code).toBe('ModelServingError')
    const { response } = await clients[2].next('response.done')
    expect(response).toMatchObject({ status: 'failed', status_details: { error: { code: 'ModelServingError' } } })
    for (const client of clients) client.socket.terminate()
    const broken = await start({}, { failAt: { event: 3, error: new EngineError('engine_crashed', 'gone') } })
    await using client = await RealtimeClient.dashscope(broken)
    client.send(hello)
    client.send({ type: 'response.create' })
    const failed = await client.next('response.done')
    expect(failed.response.status).toBe('failed')
    expect(client.types).toContain('response.audio_transcript.done')
  })

  it('take a minute of silence without a turn or growth', async () => {
    const server = await start()
    await using client = await RealtimeClient.dashscope(server)
    const half = pcmBase64(silence(30))
    for (let count = 0; count < 2; count += 1) client.send({ type: 'input_audio_buffer.append', audio: half })
    await client.update({})
    expect(client.types).toEqual(['session.created', 'session.updated'])
    // What is kept of the minute is less than a second.
    client.send({ type: 'input_audio_buffer.commit' })
    const response = await client.reply({ modalities: ['text'] })
    expect(response.output[0].content[0].text).toMatch(/ 0\.\d seconds of sound/)
  })

  it('are closed when a client does not read its reply, which is aborted', async () => {
    const server = await start({ stallTimeout: 0.05 }, { reply: () => ({ text: 'word '.repeat(16_000) }) })
    const client = await RealtimeClient.dashscope(server)
    client.send(hello)
    client.send({ type: 'response.create' })
    await client.next('response.created')
    client.socket.pause()
    await until(async () => (await sessionsOf(server)) === 0)
    await until(() => server.engine.status().active === 0)
    expect(server.engine.aborted).toHaveLength(1)
    client.socket.terminate()
  })
})
