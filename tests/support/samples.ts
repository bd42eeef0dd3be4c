/** The programs of `testdata/samples`, unchanged except for their hosts, with the media that they request. */
import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Usage, usageSchema } from '../../src/protocol/index.ts'
import { type FileServer, jpeg, png, serveFiles, wav } from './media.ts'

const programs = fileURLToPath(new URL('../../testdata/samples/', import.meta.url))
const root = fileURLToPath(new URL('../../', import.meta.url))

export const SAMPLE_KEY = 'sk-sample'

export interface Samples extends AsyncDisposable {
  /** Where programs run and write to. */
  readonly folder: string
  /** Serves the media; its host must be allowed to the server under test. */
  readonly files: FileServer
  /** Runs one against a server; what it printed. @throws when it ends with an error */
  run(name: string, url: string): Promise<string>
}

export interface SampleOptions {
  /** Default `python3`. */
  readonly python?: string
  /** Milliseconds a program may take. Default 60,000. */
  readonly timeout?: number
}

export async function openSamples({ python = 'python3', timeout = 150_000 }: SampleOptions = {}): Promise<Samples> {
  // Inside the package, so that programs find `openai` and `wav`.
  await mkdir(path.join(root, '.cache'), { recursive: true })
  const folder = await mkdtemp(path.join(root, '.cache', 'samples-'))
  const made = { 'picture.png': await png(320, 320), 'frame.jpg': await jpeg(640, 360), 'sound.wav': wav(4) }
  for (const [name, bytes] of Object.entries(made)) await writeFile(path.join(folder, name), bytes)
  await copyFile(path.join(root, 'testdata/media/clip.mp4'), path.join(folder, 'clip.mp4'))
  const files = await serveFiles({
    '/picture.png': { body: made['picture.png'], type: 'image/png' },
    '/frame.jpg': { body: made['frame.jpg'], type: 'image/jpeg' },
    '/sound.wav': { body: made['sound.wav'], type: 'audio/wav' },
    '/clip.mp4': { body: await readFile(path.join(folder, 'clip.mp4')), type: 'video/mp4' },
  })
  return {
    folder,
    files,
    async run(name, url) {
      const source = await readFile(path.join(programs, name), 'utf8')
      const here = source
        .replaceAll('https://dashscope-intl.aliyuncs.com', url)
        .replaceAll('https://help-static-aliyun-doc.aliyuncs.com', files.url)
      const copy = path.join(folder, name)
      await writeFile(copy, here)
      const command = name.endsWith('.mjs') ? process.execPath : name.endsWith('.py') ? python : 'sh'
      const env = { ...process.env, DASHSCOPE_API_KEY: SAMPLE_KEY, PYTHONIOENCODING: 'utf-8' }
      const { stdout } = await promisify(execFile)(command, [copy], { cwd: folder, env, timeout, maxBuffer: 1e8 })
      return stdout
    },
    [Symbol.asyncDispose]: async () => {
      await files[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Usage lines among what a program printed. */
export function usagesIn(output: string): Usage[] {
  return output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => usageSchema.parse(JSON.parse(line)))
}
