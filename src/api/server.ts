/**
 * A listening server: services made from settings, the app, and an orderly shutdown.
 *
 * In: settings and the engines that answer, or a way to load them. Out: a {@link RunningServer}. The port is taken
 * before anything is loaded; until then requests get 503. `stop` refuses new requests, lets replies finish within the
 * grace, then closes engines and media.
 */
import { randomUUID } from 'node:crypto'
import type { Server, ServerOptions as HttpServerOptions } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import type { Logger } from 'pino'
import { createTextCounter, type TextCounter } from '../accounting/index.ts'
import { type Catalogue, createCatalogue } from '../catalogue/index.ts'
import { checkExposure, ConfigError, type Settings } from '../config/index.ts'
import type { Engine } from '../contract/index.ts'
import { createMediaLoader } from '../media/index.ts'
import { RequestQueue } from './request-queue.ts'
import { createApp } from './app.ts'
import type { ClusterPort } from './cluster-port.ts'
import { reportCluster } from './cluster-report.ts'
import type { MediaPort } from './chat/resolve-media.ts'
import { SpokenReplies } from './chat/spoken-replies.ts'
import { EngineHost } from './engine-host.ts'
import { Metrics } from './metrics.ts'
import { RateLimiter } from './rate-limit.ts'
import { attachUpgrades } from './realtime/upgrade.ts'
import { BodyMemory } from './read-body.ts'
import { readSpeechPrompt } from './speech-prompt.ts'
import type { Services } from './services.ts'
import { Shutdown } from './shutdown.ts'
import { answerUnreadableRequests } from './unreadable-requests.ts'

export interface ServerOptions {
  readonly settings: Settings
  /**
   * Engines by the checkpoint names of `--model` and `--bind`, or a function that loads them once the server listens.
   * The server closes them.
   */
  readonly engines: ReadonlyMap<string, Engine> | (() => Promise<ReadonlyMap<string, Engine>>)
  /** Pools of replicas, in place of `engines`. */
  readonly cluster?: ClusterPort | undefined
  readonly log: Logger
  readonly version: string
  readonly playgroundFolder?: string
  /** For tests; by default a media loader with `--media-allow-host`. */
  readonly media?: MediaPort & Partial<AsyncDisposable>
  readonly counter?: TextCounter
  readonly now?: () => number
}

export interface RunningServer extends AsyncDisposable {
  /** Such as `http://127.0.0.1:8000`. */
  readonly url: string
  readonly services: Services
  /** Resolves once requests can be answered; rejects when a checkpoint cannot be loaded. Stop the server then. */
  readonly ready: Promise<void>
  /** Idempotent. `graceMs` defaults to the settings'. */
  stop(graceMs?: number): Promise<void>
}

/**
 * Starts to listen, and to load if `engines` is a function. Otherwise the server is ready at once.
 * @throws ConfigError for settings that contradict each other, such as an open address without a key, and for a port in
 * use.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { settings, engines } = options
  checkExposure(settings)
  let begin: (app: ReturnType<typeof createApp>) => void = () => undefined
  const app = new Promise<ReturnType<typeof createApp>>((resolve) => {
    begin = resolve
  })
  const server = await listen(async (request, environment) => (await app).fetch(request, environment), settings)
  attachUpgrades(server, async (request, environment) => (await app).fetch(request, environment))
  let services: Services
  try {
    services = await createServices(options)
    if (typeof engines !== 'function') await services.host.ready
  } catch (error) {
    server.close()
    server.closeAllConnections()
    throw error
  }
  begin(
    createApp(services, options.playgroundFolder === undefined ? {} : { playgroundFolder: options.playgroundFolder }),
  )
  const { port } = server.address() as AddressInfo
  const shown = settings.host.includes(':') ? `[${settings.host}]` : settings.host

  let stopped: Promise<void> | undefined
  const stop = (graceMs = settings.shutdownGrace * 1000): Promise<void> => {
    stopped ??= (async () => {
      const finished = services.shutdown.begin(graceMs)
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeIdleConnections()
      await finished
      await services.host.close()
      await services.cluster?.close()
      // Replies are written; wait briefly for their last bytes, then close kept-alive connections.
      server.closeIdleConnections()
      const timer = setTimeout(() => server.closeAllConnections(), 1000)
      await closed
      clearTimeout(timer)
      if (Symbol.asyncDispose in services.media) await (services.media as AsyncDisposable)[Symbol.asyncDispose]()
    })()
    return stopped
  }
  return {
    url: `http://${shown}:${port}`,
    services,
    ready: services.host.ready,
    stop,
    [Symbol.asyncDispose]: () => stop(),
  }
}

/** The routes' services. */
export async function createServices(options: ServerOptions): Promise<Services> {
  const { settings, engines } = options
  const catalogue = catalogueOf(settings)
  const find = (name: string, flag: string): string => {
    const id = catalogue.find(name)?.id
    if (id !== undefined) return id
    const known = catalogue.models.map((model) => model.id).join(', ')
    throw new ConfigError(
      `${flag} names ${name}, which is not an API model of region ${settings.region}. Models: ${known}.`,
    )
  }
  const bind = Object.fromEntries(
    Object.entries(settings.bind).map(([key, checkpoint]) => {
      const [name = '', mode] = key.split(':')
      if (mode !== undefined && mode !== 'thinking')
        throw new ConfigError(`--bind ${key} names the mode "${mode}"; the only mode is "thinking".`)
      return [find(name, '--bind') + (mode === undefined ? '' : `:${mode}`), checkpoint]
    }),
  )
  const textCarriers = new Map(
    Object.entries(settings.textCarrier).map(([name, carrier]) => [find(name, '--text-carrier'), carrier]),
  )
  const [counter, speechPrompt] = await Promise.all([
    options.counter ?? createTextCounter(),
    readSpeechPrompt(settings),
  ])
  const media = options.media ?? mediaLoaderOf(settings)
  // Last, when nothing else can fail: only the server closes a load that has begun.
  const load = typeof engines === 'function' ? engines : async () => engines
  const metrics = new Metrics()
  const { cluster } = options
  const host: EngineHost = new EngineHost(
    cluster === undefined
      ? {
          names: [settings.model, ...Object.values(bind)],
          load: async () => ({ engines: await load(), model: settings.model, bind }),
        }
      : {
          names: cluster.names,
          load: () =>
            cluster.load(
              (event) => reportCluster(event, metrics, options.log),
              (bindings) => void host.rebind(bindings),
            ),
        },
  )
  const now = options.now ?? Date.now
  const queue = new RequestQueue({ maxActive: settings.maxActive, maxWaiting: settings.maxWaiting })
  const bodies = new BodyMemory(settings.maxBodyBytes)
  if (cluster !== undefined) metrics.watchCluster(cluster)
  metrics.watch(queue, host, bodies)
  return {
    settings,
    version: options.version,
    catalogue,
    host,
    cluster,
    media,
    counter,
    queue,
    bodies,
    rateLimiter: settings.rateLimit ? new RateLimiter(settings.region, now) : undefined,
    metrics,
    log: options.log,
    shutdown: new Shutdown(),
    spokenReplies: new SpokenReplies(),
    speechPrompt,
    textCarriers,
    now,
    uuid: randomUUID,
  }
}

/** @throws ConfigError for an alias to an unknown model */
function catalogueOf({ region, alias }: Settings): Catalogue {
  try {
    return createCatalogue(region, alias)
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^alias /, '') : String(error)
    throw new ConfigError(`--alias ${reason}.`, { cause: error })
  }
}

/** @throws ConfigError for a malformed `--media-allow-host` */
function mediaLoaderOf({ mediaAllowHost, mediaMemory }: Settings): MediaPort & AsyncDisposable {
  try {
    return createMediaLoader({ allowHosts: mediaAllowHost, decodedBytes: mediaMemory })
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw new ConfigError(`--media-allow-host: ${error.message.replace(/^allowHosts: /, '')}.`, { cause: error })
  }
}

/**
 * The HTTP server's own limits, milliseconds. Bodies that routes read are answered with the wire's error slightly
 * before.
 */
function arrivalLimits({ bodyTimeout }: Settings): HttpServerOptions {
  const requestTimeout = bodyTimeout === 0 ? 0 : bodyTimeout * 1000 + 5000
  const headersTimeout = bodyTimeout === 0 ? 60_000 : Math.min(60_000, bodyTimeout * 1000)
  return { requestTimeout, headersTimeout, connectionsCheckingInterval: Math.min(30_000, headersTimeout) }
}

/** @throws ConfigError when the address is not available */
function listen(fetch: Parameters<typeof serve>[0]['fetch'], settings: Settings): Promise<Server> {
  return new Promise((resolve, reject) => {
    const { host: hostname, port } = settings
    const server = serve({ fetch, hostname, port, serverOptions: arrivalLimits(settings) }, () => {
      server.off('error', fail)
      resolve(server as Server)
    })
    answerUnreadableRequests(server as Server)
    const fail = (error: Error): void => {
      const hint = listenText('code' in error ? error.code : undefined, settings) ?? error.message
      reject(new ConfigError(`cannot listen: ${hint}`, { cause: error }))
    }
    server.once('error', fail)
  })
}

function listenText(code: unknown, { host, port }: Settings): string | undefined {
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} of ${host} is taken; choose another with --port.`
    case 'EADDRNOTAVAIL':
      return `${host} is no address of this machine; choose another with --host.`
    case 'EACCES':
      return `port ${port} requires rights that this process lacks; choose one over 1023 with --port.`
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the name ${host} has no address; choose another with --host.`
    default:
      return undefined
  }
}
