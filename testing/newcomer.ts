/**
 * README's commands and tour as a new user runs them: a clone in an empty folder, an empty home, npm's registry. The
 * output must equal README's, except for times. Clones the last commit.
 *
 *   node testing/newcomer.ts                 on this machine
 *   node testing/newcomer.ts --clean-root    in a Debian root that holds Node and npm alone (see clean-root.ts)
 *   … --tests                                the second command, `npm test`, too
 *
 * Out: a line per check; ends with 1 at the first that fails.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { cleanRoot, inside, sh, workFolder } from './clean-root.ts'
import { freePort } from './free-port.ts'
import { readReadme, takeTour } from './readme-tour.ts'
import { userPath } from './user-path.ts'

const { values: options } = parseArgs({ options: { 'clean-root': { type: 'boolean' }, tests: { type: 'boolean' } } })
const root = path.join(import.meta.dirname, '..')

function check(name: string, right: boolean, seen: unknown): void {
  if (!right) throw new Error(`${name}: ${JSON.stringify(seen)}`)
  console.log(`ok  ${name}`)
}

interface Newcomer {
  /** The clone, as this machine sees it. */
  readonly clone: string
  /** A shell command in the clone, in a process group of its own. */
  readonly start: (command: string) => ChildProcess
  readonly remove: () => void
}

function arrive(environment: Readonly<Record<string, string>>): Newcomer {
  const stdio = ['ignore', 'pipe', 'pipe'] as const
  if (options['clean-root'] === true) {
    const folder = path.join(workFolder(), 'root')
    sh('cp', ['-a', '--reflink=auto', cleanRoot(), folder])
    const clone = path.join(folder, 'home', 'node', 'omniserve')
    sh('git', ['clone', '--quiet', root, clone])
    sh('chown', ['-R', '1000:1000', clone])
    const place = { folder, environment, workingFolder: '/home/node/omniserve', user: 'node' }
    return {
      clone,
      start: (command) =>
        spawn('unshare', inside(place, ['/bin/sh', '-c', command]), { detached: true, stdio: [...stdio] }),
      remove: () => rmSync(path.dirname(folder), { recursive: true }),
    }
  }
  const folder = mkdtempSync(path.join(tmpdir(), 'omniserve-newcomer-'))
  const [clone, home] = [path.join(folder, 'omniserve'), path.join(folder, 'home')]
  mkdirSync(home)
  sh('git', ['clone', '--quiet', root, clone])
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(npm_|OMNISERVE_|NODE_(ENV|OPTIONS|PATH)$)/i.test(name),
  )
  const env = { ...Object.fromEntries(inherited), PATH: userPath, HOME: home, ...environment }
  return {
    clone,
    start: (command) => spawn('sh', ['-c', command], { cwd: clone, env, detached: true, stdio: [...stdio] }),
    remove: () => rmSync(folder, { recursive: true }),
  }
}

/** Runs to the end; all that it printed. @throws when it fails */
async function run(newcomer: Newcomer, command: string, shown = false): Promise<string> {
  const child = newcomer.start(command)
  let printed = ''
  for (const stream of [child.stdout!, child.stderr!])
    stream.on('data', (bytes: Buffer) => {
      printed += bytes.toString()
      if (shown) process.stdout.write(bytes)
    })
  const code = await new Promise((resolve) => void child.once('close', resolve))
  if (code !== 0) throw new Error(`${command} ended with ${String(code)}: ${printed}`)
  return printed
}

/** `npm start` until it is ready: its address, and how to press Ctrl-C. */
async function serve(newcomer: Newcomer, command: string): Promise<{ url: string; interrupt: () => Promise<unknown> }> {
  const child = newcomer.start(command)
  const ended = new Promise((resolve) => void child.once('close', resolve))
  let printed = ''
  const url = await new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout!, child.stderr!])
      stream.on('data', (bytes: Buffer) => {
        printed += bytes.toString()
        const ready = /ready on (http:\S+)/.exec(printed)?.[1]
        if (ready !== undefined) resolve(ready)
      })
    void ended.then((code) => reject(new Error(`${command} ended with ${String(code)}: ${printed}`)))
  })
  // A terminal interrupts the whole group.
  return { url, interrupt: () => (process.kill(-child.pid!, 'SIGINT'), ended) }
}

const readme = readReadme()
const port = await freePort()
const newcomer = arrive({ OMNISERVE_PORT: String(port) })
try {
  const [start, test] = readme.commands
  const began = performance.now()
  const { url, interrupt } = await serve(newcomer, start)
  try {
    check(`$ ${start}`, url === `http://127.0.0.1:${port}`, url)
    console.log(`    ready after ${((performance.now() - began) / 1000).toFixed(0)} s`)
    for (const page of ['/', '/reference', '/openapi.json']) {
      const response = await fetch(url + page)
      check(`${page} is served`, response.status === 200 && (await response.text()).length > 500, response.status)
    }
    await takeTour(readme, (command) => run(newcomer, `${command} 2>&1`), check)
    writeFileSync(path.join(newcomer.clone, 'tour.mjs'), readme.program.replace('http://127.0.0.1:8000', url))
    const said = await run(newcomer, 'node tour.mjs')
    check('the program with the official SDK', said.startsWith('I am nano'), said)
  } finally {
    const code = await interrupt()
    console.log(`    Ctrl-C ends it with ${String(code)}`)
  }
  if (options.tests === true) {
    await run(newcomer, test, true)
    check(`$ ${test}`, true, '')
  }
} finally {
  newcomer.remove()
}
