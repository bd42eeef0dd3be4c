/**
 * Finds a server that runs on this machine at the address of the settings of `serve`.
 *
 * In: the settings of the environment and `omniserve.json`. Out: a connection to the server once it is ready;
 * undefined if there is none, if it refuses the key, or if it serves another checkpoint than the settings name.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { loadSettings, SETTINGS, type Settings } from '../config/index.ts'
import { healthSchema, type Ready, readySchema } from '../protocol/index.ts'
import { type ApiConnection, connectToServer } from './api-connection.ts'
import { clearStatus, note, status } from './output.ts'

/** Milliseconds. A busy server may answer late; a port without a server refuses at once. */
const RESPONSE_TIMEOUT = 5000
/** Milliseconds between requests while the server loads. */
const POLL_INTERVAL = 250

/** @throws ConfigError; the signal's reason once aborted */
export async function findRunningServer(
  apiKey: string | undefined,
  signal: AbortSignal,
): Promise<ApiConnection | undefined> {
  const settings = await loadSettings({ environment: process.env, folder: process.cwd() })
  if (settings.port === 0) return undefined
  const origin = `http://${connectHost(settings.host)}:${settings.port}`
  if (!healthSchema.safeParse(await fetchJson(`${origin}/health`, signal)).success) return undefined
  const state = await untilLoaded(origin, signal)
  if (state?.status !== 'ready') return skipped(origin, state?.reason ?? 'it is not ready')
  if (!(await serves(state, settings))) return skipped(origin, `it does not serve ${settings.model}`)
  // The key is sent only to a server that requires one.
  const key = (await accepts(origin, undefined, signal)) ? undefined : (apiKey ?? settings.apiKey[0])
  if (key !== undefined && !(await accepts(origin, key, signal))) return skipped(origin, 'it refuses the API key')
  if (key === undefined && !(await accepts(origin, undefined, signal))) {
    return skipped(origin, 'it requires an API key (--api-key)')
  }
  if (process.stderr.isTTY) note(`using the server at ${origin} (to run a checkpoint here instead: --checkpoint NAME)`)
  return connectToServer(origin, key)
}

/** The host name to connect to. For a server that listens on all addresses it is the loopback address. */
function connectHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  const bare = host.replace(/^\[|\]$/g, '')
  return bare === '::' ? '[::1]' : bare.includes(':') ? `[${bare}]` : bare
}

function skipped(origin: string, reason: string): undefined {
  note(`not using the server at ${origin}: ${reason}`)
}

/** Waits until the server has loaded. @returns its state; undefined if it does not report one */
async function untilLoaded(origin: string, signal: AbortSignal): Promise<Ready | undefined> {
  try {
    for (;;) {
      const state = readySchema.safeParse(await fetchJson(`${origin}/ready`, signal)).data
      if (state?.status !== 'loading') return state
      status(`the server at ${origin} is ${state.reason ?? 'loading'} ...`)
      await sleep(POLL_INTERVAL, undefined, { signal })
    }
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    clearStatus()
  }
}

/** Whether the server serves the checkpoint that the settings name, or the settings name none. */
async function serves({ models }: Ready, settings: Settings): Promise<boolean> {
  if (settings.model === SETTINGS.model.fallback) return true
  const { findCheckpoint } = await import('./find-checkpoint.ts')
  try {
    return models.includes(findCheckpoint(settings.model).id)
  } catch {
    return models.includes(settings.model)
  }
}

/** The JSON of a response with any status; undefined if there is none in time. */
async function fetchJson(url: string, signal: AbortSignal): Promise<unknown> {
  try {
    const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(RESPONSE_TIMEOUT)]) })
    const body: unknown = await response.json()
    return body
  } catch {
    signal.throwIfAborted()
    return undefined
  }
}

/** Whether the server accepts requests with this key, or without one. */
async function accepts(origin: string, key: string | undefined, signal: AbortSignal): Promise<boolean> {
  try {
    const response = await fetch(`${origin}/v1/models`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(RESPONSE_TIMEOUT)]),
      ...(key !== undefined && { headers: { authorization: `Bearer ${key.split(',')[0]}` } }),
    })
    await response.body?.cancel()
    return response.ok
  } catch {
    signal.throwIfAborted()
    return false
  }
}
