/**
 * Runs a server in this process for the duration of a command, on a free loopback port with a random key.
 */
import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { createLazyTextCounter } from '../accounting/index.ts'
import { type RunningServer, startServer } from '../api/index.ts'
import { VOICES } from '../catalogue/index.ts'
import { loadSettings, type Settings } from '../config/index.ts'
import type { Engine } from '../contract/index.ts'
import type { RequestMetrics } from '../engines/local/local-engine.ts'
import { mapVoices } from '../engines/local/voices.ts'
import { type ApiConnection, connectToServer } from './api-connection.ts'
import { LocalFiles } from './local-files.ts'
import { createLog } from './log.ts'
import { openEngines } from './open-engines.ts'
import { findCheckpoint } from './find-checkpoint.ts'
import { clearStatus, note, status, warn } from './output.ts'
import { packageInfo } from './package-info.ts'
import { createUnloadedEngine } from '../engines/unloaded/unloaded-engine.ts'

export interface LocalConnectionOptions {
  /** Checkpoint to load. Default: the settings' checkpoint. */
  readonly checkpoint?: string | undefined
  /** Other settings from command line options, by name. */
  readonly flags?: Readonly<Record<string, unknown>> | undefined
  /** Whether to load weights. Without them the server gives only facts. */
  readonly load: boolean
  /** Prints the server's log on standard error. */
  readonly verbose?: boolean | undefined
  /** Called with the metrics of each request. */
  readonly onMetrics?: ((metrics: RequestMetrics) => void) | undefined
  readonly signal: AbortSignal
}

/** @throws ConfigError; EngineError `bad_checkpoint` */
export async function openLocalConnection(options: LocalConnectionOptions): Promise<ApiConnection> {
  const settings = await localSettings(options)
  const files = await LocalFiles.start()
  try {
    return await open(settings, files, options)
  } catch (error) {
    await files[Symbol.asyncDispose]()
    throw error
  }
}

/** The settings of `serve`, without rate limits and, if a checkpoint is given, without bindings. */
async function localSettings(options: Pick<LocalConnectionOptions, 'checkpoint' | 'flags'>): Promise<Settings> {
  const flags = { ...options.flags, ...(options.checkpoint !== undefined && { model: options.checkpoint }) }
  const loaded = await loadSettings({ flags, environment: process.env, folder: process.cwd() })
  const bind = options.checkpoint === undefined ? loaded.bind : {}
  return { ...loaded, bind, rateLimit: false }
}

async function open(given: Settings, files: LocalFiles, options: LocalConnectionOptions): Promise<ApiConnection> {
  // The key keeps other users of this machine from calling the server.
  const key = randomUUID()
  const settings: Settings = {
    ...given,
    host: '127.0.0.1',
    port: 0,
    apiKey: [key],
    mediaAllowHost: [...given.mediaAllowHost, files.host],
  }
  const { signal } = options
  let engines: ReadonlyMap<string, Engine>
  if (options.load) {
    status(`loading ${settings.model} ...`)
    try {
      engines = await openEngines({
        settings,
        log: (text, facts) => {
          if (options.verbose === true) note(`${text} ${JSON.stringify(facts)}`)
        },
        warn: (text) => warn(text),
        ...(options.onMetrics && { onMetrics: options.onMetrics }),
        signal,
      })
    } finally {
      clearStatus()
    }
  } else engines = await unloadedEngines(settings)
  const log = createLog({ logLevel: options.verbose === true ? 'info' : 'silent', logFormat: settings.logFormat })
  let server: RunningServer
  try {
    server = await startServer({
      settings,
      engines,
      log,
      version: packageInfo.version,
      ...(!options.load && { counter: createLazyTextCounter() }),
    })
  } catch (error) {
    await Promise.all([...new Set(engines.values())].map((engine) => engine.close()))
    throw error
  }
  const remote = connectToServer(server.url, key)
  return {
    ...remote,
    name: settings.model,
    remote: false,
    engines,
    shareFile: (file) => files.share(path.resolve(file)),
    async [Symbol.asyncDispose]() {
      await server.stop(0)
      await files[Symbol.asyncDispose]()
    },
  }
}

async function unloadedEngines(settings: Settings): Promise<ReadonlyMap<string, Engine>> {
  const names = [...new Set([settings.model, ...Object.values(settings.bind)])]
  const opened = names.map(
    async (name) => [name, await createUnloadedEngine(findCheckpoint(name), mapVoices(VOICES))] as const,
  )
  return new Map(await Promise.all(opened))
}
