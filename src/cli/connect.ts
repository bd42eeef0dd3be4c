/**
 * Which server a command uses: that of `--url`, one that already runs on this machine, or one started in this process.
 */
import { type ApiConnection, connectToServer } from './api-connection.ts'
import { CommandError, EXIT } from './exit.ts'
import type { LocalConnectionOptions } from './local-connection.ts'

export interface ConnectOptions extends LocalConnectionOptions {
  /** `http://HOST[:PORT]`, with or without a path; without one `/compatible-mode/v1` is added. */
  readonly url?: string | undefined
  readonly apiKey?: string | undefined
  /** Whether a running server on this machine may be used when no option says how to run one. */
  readonly useRunning?: boolean
}

/** @throws CommandError, ConfigError; EngineError `bad_checkpoint` */
export async function connect(options: ConnectOptions): Promise<ApiConnection> {
  const { url, checkpoint, flags = {} } = options
  if (url !== undefined && checkpoint !== undefined) {
    throw new CommandError(`--checkpoint ${checkpoint} and --url ${url} exclude each other: leave one out`, EXIT.usage)
  }
  if (url !== undefined) return connectToServer(url, options.apiKey)
  const isOpen = checkpoint === undefined && Object.values(flags).every((value) => value === undefined)
  if (options.useRunning === true && isOpen) {
    const { findRunningServer } = await import('./running-server.ts')
    const running = await findRunningServer(options.apiKey, options.signal)
    if (running !== undefined) return running
  }
  const { openLocalConnection } = await import('./local-connection.ts')
  return openLocalConnection(options)
}
