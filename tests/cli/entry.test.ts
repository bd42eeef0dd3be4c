/** `bin/omniserve.js` in a checkout without a build, with a fake npm that only records its calls. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, existsSync } from 'node:fs'
import { chmod, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { temporaryFolder } from './run-cli.ts'

const repository = fileURLToPath(new URL('../../', import.meta.url))

let folder: Awaited<ReturnType<typeof temporaryFolder>>
beforeEach(async () => {
  folder = await temporaryFolder()
  await cp(path.join(repository, 'bin'), path.join(folder.path, 'bin'), { recursive: true })
  await writeFile(path.join(folder.path, 'package.json'), '{"type": "module"}')
  await mkdir(path.join(folder.path, 'src', 'cli'), { recursive: true })
  await writeFile(path.join(folder.path, 'src', 'cli', 'main.ts'), '')
  await npmThat('')
})
afterEach(() => folder[Symbol.asyncDispose]())

/** An npm that records its calls, and installs and builds by creating the files. `first` runs before that. */
async function npmThat(first: string): Promise<void> {
  const tools = path.join(folder.path, 'tools')
  await mkdir(tools, { recursive: true })
  await writeFile(
    path.join(tools, 'npm'),
    `#!/bin/sh
echo "$*" >> "${folder.path}/asked"
echo "npm speaks"
${first}
case "$*" in
  ci*) mkdir -p node_modules && touch node_modules/.package-lock.json ;;
  *build) mkdir -p dist/cli && echo 'console.log("arguments: " + process.argv.slice(2).join(" "))' > dist/cli/main.js ;;
esac
`,
  )
  await chmod(path.join(tools, 'npm'), 0o755)
}

async function run(...args: string[]) {
  const child = spawn(process.execPath, [path.join(folder.path, 'bin', 'omniserve.js'), ...args], {
    env: { ...process.env, PATH: `${path.join(folder.path, 'tools')}:/usr/bin:/bin`, TMPDIR: folder.path },
  })
  let out = ''
  let errors = ''
  child.stdout.on('data', (bytes: Buffer) => (out += bytes.toString()))
  child.stderr.on('data', (bytes: Buffer) => (errors += bytes.toString()))
  const [code]: unknown[] = await once(child, 'close')
  return { code, out, errors }
}

const asked = async (): Promise<string[]> =>
  (await readFile(path.join(folder.path, 'asked'), 'utf8').catch(() => ''))
    .split('\n')
    .map((line) =>
      line
        .split(' ')
        .filter((word) => !word.startsWith('-'))
        .join(' '),
    )
    .filter((line) => line !== '')

describe('a checkout that is not built', () => {
  it('is installed and built by the first call only, with a message', async () => {
    const first = await run('chat', 'Hello there')
    expect(first).toMatchObject({ code: 0, out: 'arguments: chat Hello there\n' })
    expect(first.errors).toContain(`omniserve: installing what it needs: npm ci in ${folder.path}`)
    expect(first.errors).toContain('omniserve: building it, once: npm run build')
    expect(await asked()).toEqual(['ci', 'run build'])
    expect(await run('again')).toEqual({ code: 0, out: 'arguments: again\n', errors: '' })
    expect(await asked()).toEqual(['ci', 'run build'])
  })

  it('is only built when its dependencies are installed', async () => {
    await mkdir(path.join(folder.path, 'node_modules'))
    await writeFile(path.join(folder.path, 'node_modules', '.package-lock.json'), '{}')
    expect((await run()).code).toBe(0)
    expect(await asked()).toEqual(['run build'])
  })

  it('is installed or built again after a failure half-way', async () => {
    await npmThat('mkdir -p node_modules/half; exit 7')
    expect(await run()).toMatchObject({
      code: 1,
      out: '',
      errors: expect.stringContaining(`failed (code 7). Run it in ${folder.path}`) as string,
    })
    await npmThat('case "$*" in *build) mkdir -p dist/cli; echo "half" > dist/cli/main.js; exit 2 ;; esac')
    expect(await run()).toMatchObject({ code: 1, errors: expect.stringContaining('build failed (code 2)') as string })
    await npmThat('')
    expect(await run('x')).toMatchObject({ code: 0, out: 'arguments: x\n' })
    expect(await asked()).toEqual(['ci', 'ci', 'run build', 'run build'])
  })

  it('is built once by two simultaneous calls, and not blocked by one that was killed', async () => {
    await npmThat('sleep 1')
    const results = await Promise.all([run('one'), run('two')])
    expect(results.map(({ out }) => out).toSorted()).toEqual(['arguments: one\n', 'arguments: two\n'])
    expect(await asked()).toEqual(['ci', 'run build'])
    expect(results.map(({ errors }) => errors).join('')).toContain('waiting for another omniserve')
    // A lock whose process has ended.
    await rm(path.join(folder.path, 'dist'), { recursive: true })
    const { stdout } = await promisify(execFile)('sh', [
      '-c',
      `cd ${folder.path} && printf %s ${folder.path} | sha256sum | cut -c1-16`,
    ])
    const lock = path.join(folder.path, `omniserve-setup-${stdout.trim()}`)
    await mkdir(lock)
    await writeFile(path.join(lock, 'pid'), '999999999')
    expect(await run('three')).toMatchObject({ code: 0, out: 'arguments: three\n' })
    expect(existsSync(lock)).toBe(false)
  })
})

describe('the package', () => {
  it('names an executable entry that exists before any build', async () => {
    const { bin, files }: { bin: Record<string, string>; files: string[] } = JSON.parse(
      await readFile(path.join(repository, 'package.json'), 'utf8'),
    )
    expect(bin['omniserve']).toBe('bin/omniserve.js')
    expect(files).toContain('bin')
    accessSync(path.join(repository, 'bin', 'omniserve.js'), constants.X_OK)
  })

  it('reports missing built files', async () => {
    await rm(path.join(folder.path, 'src'), { recursive: true })
    expect(await run()).toMatchObject({ code: 1, errors: expect.stringContaining('is not complete') as string })
    expect(await asked()).toEqual([])
  })
})
