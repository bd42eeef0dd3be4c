#!/usr/bin/env node
/**
 * The entry of the `omniserve` command. Runs the built command; in a checkout that is not built yet, installs and
 * builds first, and says so on standard error. Plain JavaScript, because it runs before anything is compiled.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const main = path.join(root, 'dist', 'cli', 'main.js')
/** There while a build runs, and after one that did not end. */
const unfinished = path.join(root, 'dist', '.unfinished')
/** npm writes it when everything is installed. */
const installed = path.join(root, 'node_modules', '.package-lock.json')

const isCheckout = existsSync(path.join(root, 'src', 'cli', 'main.ts'))
const isBuilt = () => existsSync(main) && !existsSync(unfinished)

/** @returns {never} */
function fail(message, code = 1) {
  process.stderr.write(`omniserve: ${message}\n`)
  process.exit(code)
}

/** Runs npm in the checkout, its output on standard error. */
function npm(...words) {
  // Settings of an enclosing npx are about npx, not about this.
  const environment = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^npm_(config_(package|call|yes|local_prefix)|command)$/i.test(name),
    ),
  )
  // node-av would also download an ffmpeg command, which is not used.
  environment.SKIP_FFMPEG ??= 'true'
  const { status, signal, error } = spawnSync('npm', words, {
    cwd: root,
    env: environment,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  })
  if (status === 0) return
  const reason = error?.message ?? signal ?? `code ${status}`
  fail(`npm ${words.join(' ')} failed (${reason}). Run it in ${root} to see why.`, signal === 'SIGINT' ? 130 : 1)
}

function setUp() {
  if (!existsSync(installed)) {
    process.stderr.write(`omniserve: installing what it needs: npm ci in ${root}\n`)
    npm('ci', '--no-audit', '--no-fund', '--loglevel=error')
  }
  process.stderr.write(`omniserve: building it, once: npm run build in ${root}\n`)
  mkdirSync(path.dirname(unfinished), { recursive: true })
  writeFileSync(unfinished, '')
  npm('run', '--silent', 'build')
  rmSync(unfinished, { force: true })
}

/** Runs `work` while no other process of this machine does for the same checkout. */
async function alone(work) {
  const lock = path.join(tmpdir(), `omniserve-setup-${createHash('sha256').update(root).digest('hex').slice(0, 16)}`)
  const owner = path.join(lock, 'pid')
  for (let waited = false; ; waited = true) {
    try {
      mkdirSync(lock)
      writeFileSync(owner, String(process.pid))
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
      if (!(await isHeld(owner))) rmSync(lock, { recursive: true, force: true })
      else {
        if (!waited) process.stderr.write('omniserve: waiting for another omniserve that builds this checkout\n')
        await sleep(200)
      }
    }
  }
  const release = () => rmSync(lock, { recursive: true, force: true })
  process.once('exit', release)
  try {
    work()
  } finally {
    release()
    process.off('exit', release)
  }
}

/** Whether the process that made the lock lives. One that has just made it has not written its id yet. */
async function isHeld(owner) {
  for (let tries = 0; tries < 5; tries += 1) {
    try {
      process.kill(Number(readFileSync(owner, 'utf8')) || Number.NaN, 0)
      return true
    } catch (error) {
      if (error.code === 'ESRCH') return false
      if (error.code === 'EPERM') return true
      await sleep(100)
    }
  }
  return false
}

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19)) {
  fail(`it requires Node 20.19 or later, and this is ${process.versions.node}: https://nodejs.org`, 2)
}
if (!isBuilt()) {
  if (!isCheckout) fail(`the package in ${root} is not complete: install it again`)
  await alone(() => {
    if (!isBuilt()) setUp()
  })
}
await import(pathToFileURL(main).href)
