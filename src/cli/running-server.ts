/**
 * A server that already runs on this machine, found at the address of the settings of `serve`.
 *
 * In: the settings of the environment and `omniserve.json`. Out: a connection to it, once it is ready; undefined when
 * there is none, when it refuses the key, or when it serves another checkpoint than the settings name.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { loadSettings, SETTINGS, type Settings } from '../config/index.ts'
import { healthSchema, type Ready, readySchema } from '../protocol/index.ts'
import { type ApiConnection, connectToServer } from './api-connection.ts'
import { clearStatus, note, status } from './output.ts'

/** Milliseconds in which a busy server answers. A port without a listener refuses at once. */
const ANSWER_WITHIN = 5000
const POLL_EVERY = 250

/** @throws ConfigError; the signal's reason once aborted */
export async function findRunningServer(
  apiKey: string | undefined,
  signal: AbortSignal,
): Promise<ApiConnection | undefined> {
  const settings = await loadSettings({ environment: process.env, folder: process.cwd() })
  if (settings.port === 0) return undefined
  const origin = `http://${reachable(settings.host)}:${settings.port}`
  if (!healthSchema.safeParse(await answer(`${origin}/health`, signal)).success) return undefined
  const state = await untilLoaded(origin, signal)
  if (state?.status !== 'ready') return skipped(origin, state?.reason ?? 'it is not ready')
  if (!(await serves(state, settings))) return skipped(origin, `it does not serve ${settings.model}`)
  // The key is only sent to a server that asks for one.
  const key = (await accepts(origin, undefined, signal)) ? undefined : (apiKey ?? settings.apiKey[0])
  if (key !== undefined && !(await accepts(origin, key, signal))) return skipped(origin, 'it refuses the API key')
  if (key === undefined && !(await accepts(origin, undefined, signal))) {
    return skipped(origin, 'it requires an API key (--api-key)')
  }
  if (process.stderr.isTTY) note(`using the server at ${origin} (to run a checkpoint here instead: --checkpoint NAME)`)
  return connectToServer(origin, key)
}

/** An address that listens everywhere is called through the loopback one. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  const bare = host.replace(/^\[|\]$/g, '')
  return bare === '::' ? '[::1]' : bare.includes(':') ? `[${bare}]` : bare
}

function skipped(origin: string, reason: string): undefined {
  note(`not using the server at ${origin}: ${reason}`)
}

async function untilLoaded(origin: string, signal: AbortSignal): Promise<Ready | undefined> {
  try {
    for (;;) {
      const state = readySchema.safeParse(await answer(`${origin}/ready`, signal)).data
      if (state?.status !== 'loading') return state
      status(`the server at ${origin} is ${state.reason ?? 'loading'} ...`)
      await sleep(POLL_EVERY, undefined, { signal })
    }
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    clearStatus()
  }
}

/** Whether it answers with the checkpoint that the settings name, or they name none. */
async function serves({ models }: Ready, settings: Settings): Promise<boolean> {
  if (settings.model === SETTINGS.model.fallback) return true
  const { findCheckpoint } = await import('./open-engines.ts')
  try {
    return models.includes(findCheckpoint(settings.model).id)
  } catch {
    return models.includes(settings.model)
  }
}

/** The response's JSON, for any status. Undefined when there is none in time. */
async function answer(url: string, signal: AbortSignal): Promise<unknown> {
  try {
    const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_WITHIN)]) })
    const body: unknown = await response.json()
    return body
  } catch {
    signal.throwIfAborted()
    return undefined
  }
}

async function accepts(origin: string, key: string | undefined, signal: AbortSignal): Promise<boolean> {
  try {
    const response = await fetch(`${origin}/v1/models`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_WITHIN)]),
      ...(key !== undefined && { headers: { authorization: `Bearer ${key.split(',')[0]}` } }),
    })
    await response.body?.cancel()
    return response.ok
  } catch {
    signal.throwIfAborted()
    return false
  }
}
