/**
 * A server whose checkpoint has tools, for manual tests of clients (`reference/clients/`): the fake engine, which calls
 * the tool that a user names (`call weather {"city": "Rome"}`) and answers with the tool's result.
 *
 * Run: `npx node testing/tools-server.ts [PORT]` (8001). Ends with SIGINT or SIGTERM.
 */
import pino from 'pino'
import { createTextCounter } from '../src/accounting/index.ts'
import { startServer } from '../src/api/index.ts'
import { VOICES } from '../src/catalogue/index.ts'
import { loadSettings } from '../src/config/index.ts'
import { createFakeEngine } from './fake-engine.ts'

const port = Number(process.argv[2] ?? 8001)
const voices = VOICES.map(({ name }) => ({ name, speaker: 'ethan', native: false }))
const server = await startServer({
  settings: { ...(await loadSettings({})), port, model: 'fake-omni' },
  engines: new Map([['fake-omni', createFakeEngine({ tools: true, voices })]]),
  log: pino({ level: 'error' }),
  version: '0.0.0-tools',
  counter: await createTextCounter(),
})
console.log(`ready on ${server.url}`)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void server.stop(0))
