/**
 * The real server with the built playground and an engine of the test's choice, on a free loopback port.
 *
 * In: the engine, settings as flags. Out: a running server. Used by the browser tests, the browser benchmarks, and by
 * hand: `node tests/browser/playground-server.ts 8123`.
 */
import { cpSync, existsSync, mkdtempSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import { createTextCounter, type TextCounter } from '../../src/accounting/index.ts'
import { startServer, type RunningServer } from '../../src/api/index.ts'
import { loadSettings } from '../../src/config/index.ts'
import type { Engine } from '../../src/contract/index.ts'
import { createFakeEngine } from '../../testing/fake-engine.ts'

export const playgroundFolder = fileURLToPath(new URL('../../web/dist', import.meta.url))

/** Whether the playground is built, as `npm test` does first. */
export const playgroundIsBuilt = existsSync(`${playgroundFolder}/index.html`)
if (playgroundIsBuilt) {
  const builtAt = statSync(`${playgroundFolder}/index.html`).mtimeMs
  const sources = fileURLToPath(new URL('../../web/src', import.meta.url))
  for (const name of readdirSync(sources, { recursive: true, encoding: 'utf8' }))
    if (/(?<!\.test)\.(?:tsx?|css)$/.test(name) && statSync(path.join(sources, name)).mtimeMs > builtAt)
      throw new Error(`web/dist is older than web/src/${name}. Build the playground first: npm run build`)
}

/** The built playground with additional files that a test loads from the same origin. */
export function playgroundWith(files: Record<string, string>): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'omniserve-playground-'))
  cpSync(playgroundFolder, folder, { recursive: true })
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, name), text)
  return folder
}

let counter: Promise<TextCounter> | undefined

/** Starts a server whose checkpoint `nano` is `engine`. */
export async function startPlayground(
  engine: Engine,
  flags: Record<string, unknown> = {},
  folder: string = playgroundFolder,
): Promise<RunningServer> {
  counter ??= createTextCounter()
  const settings = await loadSettings({ flags: { port: 0, logLevel: 'silent', ...flags } })
  return startServer({
    settings,
    engines: new Map([['nano', engine]]),
    log: pino({ level: 'silent' }),
    version: '0.0.0-test',
    counter: await counter,
    playgroundFolder: folder,
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const engine = createFakeEngine({
    models: ['nano'],
    tokenDelayMs: 40,
    reply: (request) => ({
      reasoning: 'The person says hello. I should answer briefly, and say what I am.',
      text: request.messages.at(-1)?.content.some((part) => part.type === 'image')
        ? 'A red circle on a pale background. It is in the middle of the image, and nothing else is there.'
        : 'Hello! I am nano, a small model that **sees**, **hears** and **speaks**. Try:\n\n1. an image\n2. a recording\n3. a short video\n',
    }),
  })
  const server = await startPlayground(engine, { port: process.argv[2] ?? '8123' })
  console.log(`ready on ${server.url}`)
}
