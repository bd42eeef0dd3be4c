/**
 * Media preparation against its peers on the same files: the media room (decoder processes warm, data URI in, pixels and
 * samples out) next to the `ffmpeg` command and Pillow, the tools people use for the same work.
 *
 * In: nothing; larger files are made from noise and tones by `ffmpeg` into `bench/work/`. Out: a table and
 * `bench/results/media-preparation.json`. Peers that are not installed are left out and named. Run:
 * `node bench/media-preparation.ts [rounds]`.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { createMediaLoader } from '../src/media/index.ts'

const rounds = Number(process.argv[2] ?? 7)
const work = new URL('./work/', import.meta.url)
const results = new URL('./results/', import.meta.url)
mkdirSync(work, { recursive: true })
mkdirSync(results, { recursive: true })
const path = (name: string) => new URL(name, work).pathname

const has = (command: string, ...args: string[]) => spawnSync(command, args, { stdio: 'ignore' }).status === 0
const ffmpeg = has('ffmpeg', '-version')
const pillow = has('python3', '-c', 'import PIL')

interface Row {
  readonly file: string
  readonly what: string
  readonly ours: number
  readonly peers: Readonly<Record<string, number>>
}

function make(name: string, ...args: string[]): string {
  if (!existsSync(path(name))) execFileSync('ffmpeg', ['-loglevel', 'error', '-y', ...args, path(name)])
  return path(name)
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

/** Milliseconds: the median of the rounds after one to warm up. */
async function timed(run: () => unknown): Promise<number> {
  await run()
  const times: number[] = []
  for (let i = 0; i < rounds; i += 1) {
    const started = performance.now()
    // oxlint-disable-next-line no-await-in-loop -- one at a time is what is measured
    await run()
    times.push(performance.now() - started)
  }
  return median(times)
}

/** Pillow timed inside Python, so that starting the interpreter is not counted against it. */
function pillowTime(file: string): number {
  const script = `
import sys, time
from PIL import Image
times = []
for i in range(${rounds + 1}):
    t = time.perf_counter(); im = Image.open(sys.argv[1]); im.convert('RGB').tobytes(); times.append(time.perf_counter() - t)
print(sorted(times[1:])[${Math.floor(rounds / 2)}] * 1000)`
  return Number(execFileSync('python3', ['-c', script, file], { encoding: 'utf8' }))
}

const run = (...args: string[]) =>
  execFileSync('ffmpeg', ['-loglevel', 'error', ...args, '-'], {
    maxBuffer: 2 ** 31 - 1,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
const uri = (file: string) => `data:;base64,${readFileSync(file).toString('base64')}`

await using loader = createMediaLoader({ workers: 1 })
/** The files are larger than a data URI may be; over a network they would come by URL. */
const limits = { dataUriMaxBytes: 2 ** 30 }
const rows: Row[] = []

if (!ffmpeg) {
  console.log('media preparation: skipped, the ffmpeg command (Debian: ffmpeg) is needed to make the files')
  process.exit(0)
}
const scene = (size: string, seconds: number) => [
  '-f',
  'lavfi',
  '-i',
  `testsrc2=size=${size}:rate=30:duration=${seconds}`,
]
const tone = (seconds: number) => ['-f', 'lavfi', '-i', `anoisesrc=r=44100:d=${seconds}:a=0.3:c=pink:seed=1`]

for (const [name, size] of [
  ['photo-1080p.jpg', '1920x1080'],
  ['photo-12mp.jpg', '4000x3000'],
  ['picture-1080p.png', '1920x1080'],
] as const) {
  const file = make(name, ...scene(size, 1), '-frames:v', '1', '-update', '1', '-q:v', '3')
  const source = uri(file)
  rows.push({
    file: name,
    what: `image ${size}`,
    ours: await timed(() => loader.image(source, limits)),
    peers: {
      ffmpeg: await timed(() => run('-i', file, '-f', 'rawvideo', '-pix_fmt', 'rgb24')),
      ...(pillow ? { pillow: pillowTime(file) } : {}),
    },
  })
}
for (const [name, seconds, codec] of [
  ['speech-30s.mp3', 30, ['-c:a', 'libmp3lame', '-b:a', '96k']],
  ['speech-180s.m4a', 180, ['-c:a', 'aac', '-b:a', '96k']],
] as const) {
  const file = make(name, ...tone(seconds), ...codec)
  const source = uri(file)
  rows.push({
    file: name,
    what: `sound ${seconds} s`,
    ours: await timed(() => loader.audio(source, limits)),
    peers: { ffmpeg: await timed(() => run('-i', file, '-f', 'f32le', '-ac', '1', '-ar', '16000')) },
  })
}
for (const [name, size, seconds] of [
  ['clip-720p-10s.mp4', '1280x720', 10],
  ['clip-1080p-30s.mp4', '1920x1080', 30],
] as const) {
  const encode = [
    '-c:v',
    'libx264',
    '-preset',
    'veryfast',
    '-crf',
    '28',
    '-pix_fmt',
    'yuv420p',
    '-c:a',
    'aac',
    '-shortest',
  ]
  const file = make(name, ...scene(size, seconds), ...tone(seconds), ...encode)
  const source = uri(file)
  const count = seconds * 2
  // the same number of frames at the size ours come in, and the sound
  const first = (await loader.video(source, limits)).video.frames[0]!
  const filter = `fps=2,scale=${first.width}:${first.height}`
  rows.push({
    file: name,
    what: `video ${size}, ${seconds} s, ${count} frames and sound`,
    ours: await timed(() => loader.video(source, limits)),
    peers: {
      ffmpeg: await timed(() => {
        run('-i', file, '-an', '-vf', filter, '-f', 'rawvideo', '-pix_fmt', 'rgb24')
        run('-i', file, '-vn', '-f', 'f32le', '-ac', '1', '-ar', '16000')
      }),
    },
  })
}

console.log(`media preparation, median of ${rounds}, ${cpus()[0]?.model} x ${cpus().length}`)
if (!pillow) console.log('Pillow is not installed: left out')
console.table(
  rows.map(({ what, ours, peers }) => ({
    what,
    'omniserve ms': ours.toFixed(1),
    ...Object.fromEntries(
      Object.entries(peers).map(([name, ms]) => [name, `${ms.toFixed(1)} ms (${(ours / ms).toFixed(2)} x)`]),
    ),
  })),
)
writeFileSync(new URL('media-preparation.json', results), JSON.stringify({ rounds, rows }, null, 2))
