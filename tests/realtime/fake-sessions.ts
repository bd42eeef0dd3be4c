/** Servers over the fake engine and sessions with them, for tests of what a session does. */
import { afterEach } from 'vitest'
import type { Settings } from '../../src/config/index.ts'
import type { FakeEngineOptions } from '../../testing/fake-engine.ts'
import { fakeEngine, startTestServer, type TestServer } from '../support/server.ts'
import { RealtimeClient } from './client.ts'

const servers: TestServer[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop(0)
})

/** A server over the fake engine; it stops after the test. */
export async function start(settings: Partial<Settings> = {}, engine: FakeEngineOptions = {}): Promise<TestServer> {
  const server = await startTestServer(settings, fakeEngine(engine))
  servers.push(server)
  return server
}

/** A session in the dialect of the hosted service. */
export const open = (server: TestServer): Promise<RealtimeClient> =>
  RealtimeClient.open(`${server.url}/api-ws/v1/realtime?model=qwen3-omni-flash-realtime`)
