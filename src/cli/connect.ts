/** Connects a command to the server of `--url`, to a running server on this machine, or to one in this process. */
import { type ApiConnection, connectToServer } from './api-connection.ts'
import { CommandError, EXIT } from './exit.ts'
import type { LocalConnectionOptions } from './local-connection.ts'

export interface ConnectOptions extends LocalConnectionOptions {
  /** `http://HOST[:PORT]`; without a path `/compatible-mode/v1` is added. */
  readonly url?: string | undefined
  readonly apiKey?: string | undefined
  /** Whether a running server on this machine may be used if no option selects a checkpoint or device. */
  readonly useRunning?: boolean
}

/** @throws CommandError, ConfigError; EngineError `bad_checkpoint` */
export async function connect(options: ConnectOptions): Promise<ApiConnection> {
  const { url, checkpoint, flags = {} } = options
  if (url !== undefined && checkpoint !== undefined) {
    throw new CommandError(
      `--checkpoint ${checkpoint} and --url ${url} cannot be combined: use one of them`,
      EXIT.usage,
    )
  }
  if (url !== undefined) return connectToServer(url, options.apiKey)
  const hasNoOptions = checkpoint === undefined && Object.values(flags).every((value) => value === undefined)
  if (options.useRunning === true && hasNoOptions) {
    const { findRunningServer } = await import('./running-server.ts')
    const running = await findRunningServer(options.apiKey, options.signal)
    if (running !== undefined) return running
  }
  const { openLocalConnection } = await import('./local-connection.ts')
  return openLocalConnection(options)
}
