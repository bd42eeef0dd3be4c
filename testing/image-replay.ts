/**
 * Runs the Dockerfile's steps in clean Debian roots, without a container engine, then the image's command as its user.
 * Needs what `clean-root.ts` needs, and npm's registry.
 *
 *   node testing/image-replay.ts [--ffmpeg none] [--keep]
 *
 * A clean root stands in for the base image. Instructions this Dockerfile does not use are refused.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { cleanRoot, inside, type Place, sh, workFolder } from './clean-root.ts'

const { values: options } = parseArgs({ options: { ffmpeg: { type: 'string' }, keep: { type: 'boolean' } } })
const root = path.join(import.meta.dirname, '..')

interface Instruction {
  readonly name: string
  readonly rest: string
}

interface Stage extends Place {
  readonly environment: Record<string, string>
  readonly labels: Record<string, string>
  workingFolder: string
  user: string
  entrypoint: readonly string[]
  command: readonly string[]
  healthcheck: readonly string[]
}

/** Lines continued by a backslash are one; comments go. */
function readInstructions(text: string): Instruction[] {
  const lines = text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .replace(/\\\n\s*/g, '')
    .split('\n')
  return lines
    .filter((line) => line.trim() !== '')
    .map((line) => ({ name: line.split(' ', 1)[0]!, rest: line.slice(line.indexOf(' ') + 1).trim() }))
}

/** `A=b C="d e"` with variables filled in. */
function pairs(text: string, variables: Readonly<Record<string, string>>): Record<string, string> {
  const found = [...text.matchAll(/([\w.]+)=(?:"([^"]*)"|(\S*))/g)]
  return Object.fromEntries(found.map(([, key = '', quoted, bare]) => [key, filled(quoted ?? bare ?? '', variables)]))
}

function filled(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replace(/\$\{?(\w+)\}?/g, (_, name: string) => variables[name] ?? '')
}

/** The build context: what git has or would add, less what .dockerignore names. */
function makeContext(folder: string): void {
  const patterns = readFileSync(path.join(root, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
  const ignored = (file: string): boolean =>
    patterns.some((pattern) => path.matchesGlob(file, pattern) || path.matchesGlob(file, `${pattern}/**`))
  const files = sh('git', ['-C', root, 'ls-files', '-co', '--exclude-standard']).split('\n')
  const list = files.filter((file) => file !== '' && existsSync(path.join(root, file)) && !ignored(file))
  writeFileSync(`${folder}.list`, list.join('\n'))
  mkdirSync(folder)
  sh('sh', ['-c', `tar -C '${root}' -cf - -T '${folder}.list' | tar -C '${folder}' -xf -`])
}

function copy(stage: Stage, from: string, sources: readonly string[], target: string): void {
  const absolute = path.posix.resolve(stage.workingFolder, target)
  for (const source of sources) {
    const place = path.join(from, source)
    const many = target.endsWith('/')
    const isFolder = sh('stat', ['-c', '%F', place]).startsWith('directory')
    const to = path.join(stage.folder, many && !isFolder ? path.posix.join(absolute, path.basename(source)) : absolute)
    mkdirSync(path.dirname(to), { recursive: true })
    // Owned by root, as after COPY.
    sh('cp', ['-rdT', '--preserve=mode,timestamps', place, to])
  }
}

function exec(text: string): string[] {
  return JSON.parse(text) as string[]
}

function build(work: string): Stage {
  const context = path.join(work, 'context')
  makeContext(context)
  const stages = new Map<string, Stage>()
  let stage: Stage | undefined
  let last: Stage | undefined
  let variables: Record<string, string> = {}
  const given: Record<string, string> = options.ffmpeg === undefined ? {} : { FFMPEG: options.ffmpeg }
  for (const { name, rest } of readInstructions(readFileSync(path.join(root, 'Dockerfile'), 'utf8'))) {
    console.log(`# ${name} ${rest.slice(0, 140)}`)
    if (name === 'FROM') {
      const [image = '', , label] = rest.split(' ')
      if (!image.startsWith('node:24-bookworm'))
        throw new Error(`the base ${image} is not the one this script stands in for`)
      const folder = path.join(work, label ?? `stage-${stages.size}`)
      sh('cp', ['-a', '--reflink=auto', cleanRoot(), folder])
      stage = {
        folder,
        environment: {},
        labels: {},
        workingFolder: '/',
        user: 'root',
        entrypoint: [],
        command: [],
        healthcheck: [],
      }
      stages.set(label ?? folder, stage)
      last = stage
      variables = {}
      continue
    }
    if (stage === undefined) throw new Error(`${name} before FROM`)
    switch (name) {
      case 'ARG': {
        const [key = ''] = rest.split('=', 1)
        variables[key] = given[key] ?? pairs(rest, variables)[key] ?? ''
        break
      }
      case 'ENV':
        Object.assign(stage.environment, pairs(rest, { ...variables, ...stage.environment }))
        break
      case 'LABEL':
        Object.assign(stage.labels, pairs(rest, { ...variables, ...stage.environment }))
        break
      case 'WORKDIR':
        stage.workingFolder = path.posix.resolve(stage.workingFolder, rest)
        mkdirSync(path.join(stage.folder, stage.workingFolder), { recursive: true })
        break
      case 'COPY': {
        const words = rest.split(/\s+/)
        const flag = words[0]?.startsWith('--from=') === true ? words.shift()!.slice('--from='.length) : undefined
        const from = flag === undefined ? context : stages.get(flag)?.folder
        if (from === undefined) throw new Error(`COPY from ${flag}, which is no stage`)
        copy(stage, from, words.slice(0, -1), words.at(-1)!)
        break
      }
      case 'RUN':
        execFileSync('unshare', inside(stage, ['/bin/sh', '-c', rest], variables), {
          stdio: ['ignore', 'inherit', 'inherit'],
        })
        break
      case 'USER':
        stage.user = rest
        break
      case 'ENTRYPOINT':
        stage.entrypoint = exec(rest)
        break
      case 'CMD':
        stage.command = exec(rest)
        break
      case 'HEALTHCHECK':
        stage.healthcheck = exec(rest.slice(rest.indexOf('CMD') + 3))
        break
      case 'VOLUME':
      case 'EXPOSE':
      case 'STOPSIGNAL':
        break
      default:
        throw new Error(`${name} is not replayed`)
    }
  }
  if (last === undefined) throw new Error('the Dockerfile has no FROM')
  return last
}

function check(name: string, right: boolean, seen: unknown): void {
  if (!right) throw new Error(`${name}: ${String(seen)}`)
  console.log(`ok  ${name}`)
}

const KEY = 'sk-replay'
const PORT = '18473'

async function use(stage: Stage): Promise<void> {
  const own = { OMNISERVE_API_KEY: KEY, OMNISERVE_PORT: PORT }
  const child: ChildProcess = spawn('unshare', inside(stage, [...stage.entrypoint, ...stage.command], own), {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const ended = new Promise<number | null>((resolve) => void child.once('close', resolve))
  try {
    const healthy = (): boolean => {
      try {
        execFileSync('unshare', inside(stage, stage.healthcheck, own), { stdio: 'ignore' })
        return true
      } catch {
        return false
      }
    }
    while (!healthy()) {
      if (child.exitCode !== null) throw new Error(`the image's command ended with ${child.exitCode}`)
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
    console.log('ok  the health check succeeds')
    const omniserve = (...words: string[]): string =>
      execFileSync('unshare', inside(stage, ['omniserve', ...words], own), {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
      })
    const answer = omniserve(
      'chat',
      '--url',
      `http://127.0.0.1:${PORT}`,
      'Who are you?',
      '--voice',
      'Cherry',
      '--save-audio',
      '/data/hello.wav',
    )
    check('chat answers and speaks', answer.includes('I am nano'), answer)
    check('speech is in the volume', readFileSync(path.join(stage.folder, 'data', 'hello.wav')).length > 48_000, '')
    const refused = await fetch(`http://127.0.0.1:${PORT}/v1/models`)
    check('a caller without the key is refused', refused.status === 401, refused.status)
    const hasFfmpeg = readdirSync(path.join(stage.folder, 'omniserve', 'node_modules')).includes('node-av')
    check('holds FFmpeg as asked', hasFfmpeg === (options.ffmpeg !== 'none'), hasFfmpeg)
    check(
      'holds no development packages',
      !existsSync(path.join(stage.folder, 'omniserve', 'node_modules', 'vitest')),
      '',
    )
    console.log(
      `labels ${JSON.stringify(stage.labels)}; ${sh('du', ['-sh', path.join(stage.folder, 'omniserve')]).split('\t')[0]} in /omniserve`,
    )
  } finally {
    child.kill('SIGTERM')
    const code = await ended
    check('SIGTERM ends it with 0', code === 0, code)
  }
}

const work = workFolder()
try {
  await use(build(work))
} finally {
  if (options.keep === true) console.log(`kept ${work}`)
  else rmSync(work, { recursive: true, force: true })
}
