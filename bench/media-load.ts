/**
 * Many media at once: memory stays within the stated limits, every request is answered, the server works afterwards.
 *
 * Starts `omniserve serve` with nano and sends 128-frame videos and audio of four minutes together. Resident memory is
 * of all processes.
 */

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execFileSync } from 'node:child_process'
import { residentBytes } from '../tests/support/process-memory.ts'
import { type Benchmark, median, round } from './harness.ts'

const main = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url))
const mib = 1024 ** 2

/** The limits: caches and decoded media by their settings, plus an idle server with its processes. */
const cacheMemory = 1024 * mib
const mediaMemory = 512 * mib

export const mediaLoad: Benchmark = {
  name: 'media-load',
  title: 'memory and answers under many videos and long audio at once (nano)',
  long: true,
  async run(context) {
    const { quick } = context
    const [videos, audios] = quick ? [6, 3] : [40, 20]
    const folder = mkdtempSync(join(tmpdir(), 'omniserve-load-'))
    const make = (name: string, ...args: string[]): string => {
      const file = join(folder, name)
      execFileSync('ffmpeg', ['-loglevel', 'error', '-y', ...args, file])
      return readFileSync(file).toString('base64')
    }
    // 64 s at 2 frames a second are 128 frames.
    const video = make('v.mp4', '-f', 'lavfi', '-i', 'testsrc=size=320x240:rate=10', '-t', '64', '-pix_fmt', 'yuv420p')
    const audio = make('a.mp3', '-f', 'lavfi', '-i', 'sine=frequency=440', '-t', '240')
    await using server = await start()
    const idle = residentBytes(server.pid)
    context.log(`idle: ${Math.round(idle / mib)} MiB`)
    let peak = idle
    const timer = setInterval(() => (peak = Math.max(peak, residentBytes(server.pid))), 100)
    const ask = async (part: object): Promise<{ status: number; seconds: number; whole: boolean }> => {
      const begun = performance.now()
      const response = await fetch(`${server.url}/compatible-mode/v1/chat/completions`, {
        method: 'POST',
        body: JSON.stringify({
          model: 'qwen3-omni-flash',
          stream: true,
          max_tokens: 8,
          messages: [{ role: 'user', content: [part, { type: 'text', text: 'What is it?' }] }],
        }),
      })
      const text = await response.text()
      return {
        status: response.status,
        seconds: (performance.now() - begun) / 1000,
        whole: response.ok ? text.includes('[DONE]') && !text.includes('"error"') : response.headers.has('retry-after'),
      }
    }
    const videoPart = { type: 'video_url', video_url: { url: `data:video/mp4;base64,${video}` } }
    const audioPart = { type: 'input_audio', input_audio: { data: `data:audio/mpeg;base64,${audio}`, format: 'mp3' } }
    const all = await Promise.all([
      ...Array.from({ length: videos }, () => ask(videoPart)),
      ...Array.from({ length: audios }, () => ask(audioPart)),
    ])
    clearInterval(timer)
    const after = await ask({ type: 'text', text: 'Who are you?' })
    const ok = all.filter(({ status }) => status === 200)
    const bad = all.filter(({ whole }) => !whole)
    if (bad.length > 0) throw new Error(`${bad.length} requests got neither a whole reply nor a 503: ${bad[0]!.status}`)
    if (after.status !== 200) throw new Error('the server does not serve any more')
    const stated = idle + cacheMemory + mediaMemory
    return [
      {
        case: `${videos} videos, ${audios} audios`,
        answered: ok.length,
        '503 with Retry-After': all.length - ok.length,
        'median (s)': round(median(ok.map(({ seconds }) => seconds))),
        'idle (MiB)': Math.round(idle / mib),
        'peak (MiB)': Math.round(peak / mib),
        'stated (MiB)': Math.round(stated / mib),
        'peak / stated': round(peak / stated),
      },
    ]
  },
}

async function start(): Promise<AsyncDisposable & { readonly url: string; readonly pid: number }> {
  const limits = ['--cache-memory', String(cacheMemory), '--media-memory', String(mediaMemory)]
  const child = spawn(process.execPath, [main, 'serve', '--port', '0', '--log-level', 'error', ...limits], {
    env: { ...process.env, OMNISERVE_HOME: mkdtempSync(join(tmpdir(), 'omniserve-home-')) },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let printed = ''
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (bytes: Buffer) => {
      printed += bytes.toString()
      const ready = /ready on (\S+)/.exec(printed)?.[1]
      if (ready !== undefined) resolve(ready)
    })
    child.once('close', (code) => reject(new Error(`omniserve serve ended with ${code}`)))
  })
  return {
    url,
    pid: child.pid!,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => child.once('close', resolve))
      child.kill('SIGTERM')
      await closed
    },
  }
}
