/** `omniserve serve` as a process of its own, on a free port unless the arguments name one. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

export interface ServeProcess extends AsyncDisposable {
  readonly url: string
  readonly child: ChildProcess
}

export interface ServeOptions {
  /** `OMNISERVE_HOME`; a new folder by default. */
  readonly home?: string
}

/** Waits for the ready line. @throws when the command ends before it, with its output */
export async function serve(args: readonly string[] = [], { home }: ServeOptions = {}): Promise<ServeProcess> {
  const child = spawn(process.execPath, [main, 'serve', '--port', '0', '--log-level', 'error', ...args], {
    // Tests of other files run at the same time: threads that wait for each other would only wait longer.
    env: {
      ...process.env,
      OMNISERVE_HOME: home ?? mkdtempSync(path.join(tmpdir(), 'omniserve-home-')),
      OMNISERVE_THREADS: '1',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const closed = once(child, 'close')
  let printed = ''
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (bytes: Buffer) => {
      printed += bytes.toString()
      const ready = /ready on (\S+)/.exec(printed)?.[1]
      if (ready !== undefined) resolve(ready)
    })
    child.once('close', (code) => reject(new Error(`omniserve serve ended with ${code}: ${printed}`)))
  })
  return {
    url,
    child,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGTERM')
      await closed
    },
  }
}
