/** The routes' services, made once at start. */
import type { ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import type { TextCounter } from '../accounting/index.ts'
import type { Catalogue, TextCarrier } from '../catalogue/index.ts'
import type { Settings } from '../config/index.ts'
import type { RequestQueue } from './request-queue.ts'
import type { ClusterPort } from './cluster-port.ts'
import type { MediaPort } from './chat/resolve-media.ts'
import type { SpokenReplies } from './chat/spoken-replies.ts'
import type { EngineHost } from './engine-host.ts'
import type { Metrics } from './metrics.ts'
import type { RateLimiter } from './rate-limit.ts'
import type { BodyMemory } from './read-body.ts'
import type { SpeechPrompt } from './speech-prompt.ts'
import type { Shutdown } from './shutdown.ts'
import type { Upgrade } from './realtime/upgrade.ts'

export interface Services {
  readonly settings: Settings
  readonly version: string
  readonly catalogue: Catalogue
  readonly host: EngineHost
  readonly cluster: ClusterPort | undefined
  readonly media: MediaPort
  readonly counter: TextCounter
  readonly queue: RequestQueue
  readonly bodies: BodyMemory
  readonly rateLimiter: RateLimiter | undefined
  readonly metrics: Metrics
  readonly log: Logger
  readonly shutdown: Shutdown
  readonly spokenReplies: SpokenReplies
  /** The text put before spoken conversations; undefined for none. `always` when the user chose it. */
  readonly speechPrompt: SpeechPrompt | undefined
  /** The field for the text of spoken replies, by model id. Default: `content`. */
  readonly textCarriers: ReadonlyMap<string, TextCarrier>
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** A fresh uuid. */
  readonly uuid: () => string
}

/** Values that middleware sets for the routes. */
export interface RequestVariables {
  /** The request's uuid, also its `x-request-id`. */
  requestId: string
  /** A digest of the caller's key, or `anonymous` without one. */
  caller: string
}

export interface AppEnv {
  /** Node's response, to which replies are streamed. */
  Bindings: { readonly outgoing: ServerResponse; readonly upgrade?: Upgrade }
  Variables: RequestVariables
}
