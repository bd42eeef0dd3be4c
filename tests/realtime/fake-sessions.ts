/** Servers over the fake engine, for tests of what a session does. */
import { afterAll, onTestFinished } from 'vitest'
import type { Settings } from '../../src/config/index.ts'
import type { FakeEngineOptions } from '../../testing/fake-engine.ts'
import { fakeEngine, startTestServer, type TestServer } from '../support/server.ts'

/** A server over the fake engine; it stops after the test. */
export async function start(settings: Partial<Settings> = {}, engine: FakeEngineOptions = {}): Promise<TestServer> {
  const server = await startTestServer(settings, fakeEngine(engine))
  onTestFinished(() => server.stop(0))
  return server
}

/** A server over the fake engine for all tests of a file. */
export async function startForFile(
  settings: Partial<Settings> = {},
  engine: FakeEngineOptions = {},
): Promise<TestServer> {
  const server = await startTestServer(settings, fakeEngine(engine))
  afterAll(() => server.stop(0))
  return server
}
