/**
 * The API server from code: `import { startServer } from 'omniserve/server'`.
 *
 * In: settings that differ from the defaults, and the caller's own engines or, without them, the checkpoint that the
 * settings name. Out: a listening server with its address. Neither the environment nor a configuration file is read.
 */
import path from 'node:path'
import pino, { type Logger } from 'pino'
import { startServer as listen } from './api/index.ts'
import { openEngines } from './cli/open-engines.ts'
import { packageInfo } from './cli/package-info.ts'
import { loadSettings, packageFolder, type Settings } from './config/index.ts'
import type { Engine } from './contract/index.ts'

export type { Engine, Settings }

export interface StartOptions {
  /** As the options of `omniserve serve`, in camel case; defaults for the rest. `port: 0` picks a free port. */
  readonly settings?: Partial<Settings>
  /**
   * Engines by checkpoint name, closed by the server. The first answers for every API model unless `settings.model`
   * names another. By default the checkpoints of `settings.model` and `settings.bind` are loaded, each in a process of
   * its own.
   */
  readonly engines?: ReadonlyMap<string, Engine>
  /** Whether `/` is the playground. Default true. */
  readonly playground?: boolean
  /** Default: no log. */
  readonly log?: Logger
  /** Cancels loading. A running server is stopped by {@link ApiServer.stop}. */
  readonly signal?: AbortSignal
}

export interface ApiServer extends AsyncDisposable {
  /** Such as `http://127.0.0.1:8000`. */
  readonly url: string
  /**
   * Refuses new requests, finishes running ones, closes the engines. Idempotent. `graceMs` defaults to the settings'.
   */
  stop(graceMs?: number): Promise<void>
}

/**
 * Resolves when requests can be answered.
 * @throws ConfigError for invalid settings and a port in use; EngineError `bad_checkpoint`
 */
export async function startServer(options: StartOptions = {}): Promise<ApiServer> {
  const { engines, signal, log = pino({ level: 'silent' }) } = options
  const flags: Record<string, unknown> = { ...options.settings }
  const [first] = engines?.keys() ?? []
  if (first !== undefined) flags['model'] ??= first
  const settings = await loadSettings({ flags })
  signal?.throwIfAborted()
  const server = await listen({
    settings,
    engines:
      engines ??
      (() =>
        openEngines({
          settings,
          log: (text, facts) => log.info(facts, text),
          warn: (text, facts) => log.warn(facts, text),
          ...(signal && { signal }),
        })),
    log,
    version: packageInfo.version,
    ...(options.playground !== false && { playgroundFolder: path.join(packageFolder, 'web', 'dist') }),
  })
  try {
    await server.ready
  } catch (error) {
    await server.stop(0)
    throw error
  }
  const { url } = server
  const stop = (graceMs?: number): Promise<void> => server.stop(graceMs)
  return { url, stop, [Symbol.asyncDispose]: () => stop() }
}
