/**
 * Starts `omniserve serve` in a process of its own and times replies, text and speech, as a client on the wire.
 *
 * In: a checkpoint and requests. Out: milliseconds to first text and first audio, seconds of speech, peak memory of the
 * processes.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export interface Reply {
  /** Milliseconds from sending the request. */
  readonly firstText: number
  /** NaN when there was no audio. */
  readonly firstAudio: number
  readonly total: number
  readonly textTokens: number
  readonly audioSeconds: number
  /** Longest gap of playback that starts with the first audio, milliseconds. */
  readonly silence: number
}

export interface Server extends AsyncDisposable {
  readonly url: string
  /** Peak resident bytes of the server and of its engine processes. */
  peakBytes(): { readonly server: number; readonly engine: number }
}

/** Starts a server on a free port. Throws when it ends before it is ready, with what it wrote. */
export async function startServer(
  checkpoint: string,
  args: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Promise<Server> {
  const main = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url))
  const child = spawn(process.execPath, [main, 'serve', '--port', '0', '--model', checkpoint, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, OMNISERVE_LOG_LEVEL: 'warn', ...environment },
  })
  let said = ''
  const url = await new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        said += `${line}\n`
        const found = /ready on (http:\S+)/.exec(line)?.[1]
        if (found) resolve(found)
      })
    }
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}: ${said}`)))
  })
  return {
    url,
    peakBytes: () => ({
      server: peakOf(child.pid ?? 0),
      engine: childrenOf(child.pid ?? 0).reduce((sum, id) => sum + peakOf(id), 0),
    }),
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null) return
      child.kill('SIGTERM')
      await once(child, 'exit')
    },
  }
}

/** Peak resident bytes of a process (Linux; 0 elsewhere). */
export function peakOf(id: number): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}

function childrenOf(parent: number): number[] {
  try {
    return readdirSync(`/proc/${parent}/task`).flatMap((task) =>
      readFileSync(`/proc/${parent}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
    )
  } catch {
    return []
  }
}

interface Chunk {
  readonly choices?: readonly {
    readonly delta?: { readonly content?: string | null; readonly audio?: { readonly data?: string } }
  }[]
  readonly usage?: { readonly completion_tokens_details?: { readonly text_tokens?: number } } | null
}

/** One streamed reply; with `untilAudio` only up to its first audio. Throws on any status but 200. */
export async function ask(
  server: Server,
  body: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
  { untilAudio = false } = {},
): Promise<Reply> {
  const begun = performance.now()
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ stream: true, stream_options: { include_usage: true }, ...body }),
    signal,
  })
  if (!response.ok || !response.body) throw new Error(`${response.status}: ${await response.text()}`)
  let firstText = Number.NaN
  let firstAudio = Number.NaN
  let textTokens = 0
  let samples = 0
  let silence = 0
  let rest = ''
  for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
    const now = performance.now() - begun
    const lines = (rest + part).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (!line.startsWith('data: {')) continue
      const { choices, usage } = JSON.parse(line.slice(6)) as Chunk
      textTokens = usage?.completion_tokens_details?.text_tokens ?? textTokens
      const delta = choices?.[0]?.delta
      if (delta?.content && Number.isNaN(firstText)) firstText = now
      if (!delta?.audio?.data) continue
      if (Number.isNaN(firstAudio)) firstAudio = now
      else silence = Math.max(silence, now - firstAudio - (samples / 24_000) * 1000)
      samples += Buffer.byteLength(delta.audio.data, 'base64') / 2
    }
    if (untilAudio && samples > 0) break
  }
  return {
    firstText,
    firstAudio,
    total: performance.now() - begun,
    textTokens,
    audioSeconds: samples / 24_000,
    silence,
  }
}
