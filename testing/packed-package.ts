/**
 * `npm run test:package`: packs the package, installs it in an empty folder and uses it there as a newcomer would:
 * serves, chats, speaks, reads an image and audio, takes README's tour, imports every export; then once more without
 * node-av. Needs npm's registry.
 *
 * Out: a line per check; ends with 1 at the first that fails.
 */
import { type ChildProcess, exec, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { readReadme, takeTour } from './readme-tour.ts'
import { userPath } from './user-path.ts'

const root = path.join(import.meta.dirname, '..')
const folder = await mkdtemp(path.join(tmpdir(), 'omniserve-packed-'))
const command = path.join(folder, 'node_modules', 'omniserve', 'bin', 'omniserve.js')
const environment = { ...process.env, PATH: userPath, SKIP_FFMPEG: 'true', OMNISERVE_HOME: path.join(folder, 'home') }

async function run(program: string, args: readonly string[], cwd = folder): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, {
    cwd,
    env: environment,
    maxBuffer: 2 ** 28,
    // npm is a command file on Windows.
    shell: process.platform === 'win32' && program === 'npm',
  })
  return stdout
}

function check(name: string, right: boolean, seen: unknown): void {
  if (!right) throw new Error(`${name}: ${JSON.stringify(seen)}`)
  console.log(`ok  ${name}`)
}

async function serve(): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn('node', [command, 'serve', '--port', '0', '--log-level', 'error'], {
    cwd: folder,
    env: environment,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let printed = ''
  for await (const text of child.stdout) {
    printed += String(text)
    const url = /ready on (\S+)/.exec(printed)?.[1]
    if (url !== undefined) return { child, url }
  }
  throw new Error(`serve ended: ${printed}`)
}

/** Status and body of a request with one medium. */
async function asks(url: string, part: object): Promise<{ status: number; text: string }> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({
      model: 'qwen3-omni-flash',
      stream: true,
      max_tokens: 8,
      messages: [{ role: 'user', content: [part, { type: 'text', text: 'What is this?' }] }],
    }),
  })
  return { status: response.status, text: await response.text() }
}

async function uses(withFfmpeg: boolean): Promise<void> {
  const { child, url } = await serve()
  try {
    check('serve answers the playground', (await (await fetch(url)).text()).includes('<title>'), url)
    const image = (await readFile(path.join(root, 'docs/images/circle.png'))).toString('base64')
    const seen = await asks(url, { type: 'image_url', image_url: { url: `data:image/png;base64,${image}` } })
    check('an image is read', seen.status === 200 && seen.text.includes('[DONE]'), seen)
    const audio = await run('node', [
      command,
      'chat',
      '--url',
      url,
      'Who are you?',
      '--voice',
      'Cherry',
      '--save-audio',
      'hello.wav',
    ])
    const wav = await readFile(path.join(folder, 'hello.wav'))
    check('chat answers', audio.includes('I am nano'), audio)
    check('chat speaks', wav.length > 48_000 && wav.toString('latin1', 0, 4) === 'RIFF', wav.length)
    // As README shows them, in the folder that the package is installed in.
    if (withFfmpeg)
      await takeTour(
        readReadme(),
        async (line) => {
          const env = { ...environment, OMNISERVE_PORT: new URL(url).port }
          return (await promisify(exec)(`${line} 2>&1`, { cwd: folder, env })).stdout
        },
        check,
      )
    const data = `data:;base64,${wav.toString('base64')}`
    const reply = await asks(url, { type: 'input_audio', input_audio: { data, format: 'wav' } })
    if (withFfmpeg) check('audio is read', reply.status === 200 && reply.text.includes('[DONE]'), reply)
    else
      check(
        'without node-av audio is refused, and why is said',
        reply.status === 503 && reply.text.includes('node-av'),
        reply,
      )
  } finally {
    const closed = once(child, 'close')
    child.kill('SIGTERM')
    await closed
  }
}

try {
  const packed = JSON.parse(
    await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], root),
  ) as [{ filename: string; files: { path: string }[]; size: number }]
  const [{ filename, files, size }] = packed
  console.log(`${filename}: ${files.length} files, ${(size / 1e6).toFixed(1)} MB`)
  const strays = files.filter(({ path: file }) => /\.test\.|^(src|tests|testdata|bench|reference)\//.test(file))
  check('holds no tests and no sources', strays.length === 0, strays)
  for (const name of ['LICENSE', 'NOTICE', 'THIRD-PARTY-NOTICES', 'sbom.cdx.json', 'README.md'])
    check(
      `holds ${name}`,
      files.some(({ path: file }) => file === name),
      files.length,
    )
  await writeFile(path.join(folder, 'package.json'), '{ "private": true, "type": "module" }\n')
  await cp(path.join(root, 'docs', 'images'), path.join(folder, 'docs', 'images'), { recursive: true })
  await run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', path.join(folder, filename)])
  console.log(`Node ${(await run('node', ['--version'])).trim()}`)
  check('the command runs', /^\d+\.\d+\.\d+/.test(await run('node', [command, '--version'])), '')
  const imports = ['omniserve', 'omniserve/contract', 'omniserve/protocol', 'omniserve/server']
  await writeFile(path.join(folder, 'imports.mjs'), imports.map((name) => `import '${name}'\n`).join(''))
  await run('node', ['imports.mjs'])
  check('every export is found', true, imports)
  const doctor = JSON.parse(await run('node', [command, 'doctor', '--port', '0', '--json'])) as {
    checks: { name: string; found: string }[]
  }
  check(
    'doctor names FFmpeg',
    doctor.checks.some(({ name, found }) => name === 'FFmpeg' && found.includes('GPL')),
    doctor,
  )
  await uses(true)
  for (const name of ['node-av', '@seydx']) await rm(path.join(folder, 'node_modules', name), { recursive: true })
  await uses(false)
} finally {
  await rm(folder, { recursive: true, force: true })
}
