/** A real server on a free port over the fake engine, for tests of the wire. */
import pino from 'pino'
import { createTextCounter, type TextCounter } from '../../src/accounting/index.ts'
import { type RunningServer, type ServerOptions, startServer } from '../../src/api/index.ts'
import { VOICES } from '../../src/catalogue/index.ts'
import { loadSettings, type Settings } from '../../src/config/index.ts'
import { createFakeEngine, type FakeEngine, type FakeEngineOptions } from '../../testing/fake-engine.ts'

let counter: Promise<TextCounter> | undefined

export interface TestServer extends RunningServer {
  readonly engine: FakeEngine
  /** With `/compatible-mode/v1`. */
  readonly baseUrl: string
  /** Posts JSON (or text unchanged) to the chat route. */
  chat(body: unknown, init?: RequestInit): Promise<Response>
}

/** The fake, with all 49 voices spoken by two speakers. */
export function fakeEngine(options: FakeEngineOptions = {}): FakeEngine {
  const voices = VOICES.map(({ name, sex }) => {
    const speaker = sex === 'male' ? 'ethan' : 'chelsie'
    return { name, speaker, native: speaker === name.toLowerCase() }
  })
  return createFakeEngine({ voices, ...options })
}

export async function startTestServer(
  settings: Partial<Settings> = {},
  engine: FakeEngine = fakeEngine(),
  options: Partial<ServerOptions> = {},
): Promise<TestServer> {
  counter ??= createTextCounter()
  const server = await startServer({
    settings: { ...(await loadSettings({})), port: 0, model: 'fake-omni', ...settings },
    engines: new Map([['fake-omni', engine]]),
    log: pino({ level: 'silent' }),
    version: '0.0.0-test',
    counter: await counter,
    ...options,
  })
  const baseUrl = `${server.url}/compatible-mode/v1`
  return {
    ...server,
    [Symbol.asyncDispose]: () => server.stop(0),
    engine,
    baseUrl,
    chat: (body, init) =>
      fetch(`${baseUrl}/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: typeof body === 'string' ? body : JSON.stringify(body),
        ...init,
      }),
  }
}
