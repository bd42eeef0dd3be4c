/**
 * Media preparation against other tools on the same files: the media loader (decoder processes warm, data URI in,
 * pixels and samples out) against the `ffmpeg` command and Pillow.
 *
 * In: files made from test images and noise by `ffmpeg`, kept in the bench folder. Out: milliseconds, medians, for the
 * same output: same frames, same size, same rate. `ffmpeg` includes the start of its process; Pillow is timed inside
 * Python. Tools that are not installed are left out and named.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createMediaLoader, type MediaLoader } from '../src/media/index.ts'
import { type Benchmark, type BenchmarkContext, measure, median, round, type Row } from './harness.ts'

interface Case {
  readonly name: string
  readonly file: string
  /** `ffmpeg`'s arguments to make the file. */
  readonly make: readonly string[]
  readonly load: (loader: MediaLoader, source: string) => Promise<unknown>
  /** `ffmpeg`'s arguments for the same result, one list per run of the command. */
  readonly peer: readonly (readonly string[])[]
  readonly pillow?: boolean
}

/** The files are larger than a data URI may be; in practice they are sent by URL. */
const limits = { dataUriMaxBytes: 2 ** 30 }

const scene = (size: string, seconds: number) => [
  '-f',
  'lavfi',
  '-i',
  `testsrc2=size=${size}:rate=30:duration=${seconds}`,
]
const noise = (seconds: number) => ['-f', 'lavfi', '-i', `anoisesrc=r=44100:d=${seconds}:a=0.3:c=pink:seed=1`]
const samples = ['-vn', '-f', 'f32le', '-ac', '1', '-ar', '16000']

const encoding = '-c:v libx264 -preset veryfast -crf 28 -pix_fmt yuv420p -c:a aac -shortest'.split(' ')

const image = (file: string, size: string): Case => ({
  name: `${size} ${file.slice(file.lastIndexOf('.') + 1)}`,
  file,
  make: [...scene(size, 1), '-frames:v', '1', '-update', '1', '-q:v', '3'],
  load: (loader, source) => loader.image(source, limits),
  peer: [['-f', 'rawvideo', '-pix_fmt', 'rgb24']],
  pillow: true,
})
const audio = (file: string, seconds: number, codec: readonly string[]): Case => ({
  name: `${seconds} s ${file.slice(file.lastIndexOf('.') + 1)}`,
  file,
  make: [...noise(seconds), ...codec, '-b:a', '96k'],
  load: (loader, source) => loader.audio(source, limits),
  peer: [samples],
})
/** @param delivered the frame size under the default limits */
const video = (file: string, size: string, seconds: number, delivered: string): Case => ({
  name: `${size} ${seconds} s mp4, ${seconds * 2} frames and audio`,
  file,
  make: scene(size, seconds).concat(noise(seconds), encoding),
  load: (loader, source) => loader.video(source, limits),
  peer: [['-an', '-vf', `fps=2,scale=${delivered}`, '-f', 'rawvideo', '-pix_fmt', 'rgb24'], samples],
})

const cases: readonly Case[] = [
  image('photo-1080p.jpg', '1920x1080'),
  image('photo-12mp.jpg', '4000x3000'),
  image('image-1080p.png', '1920x1080'),
  audio('noise-30s.mp3', 30, ['-c:a', 'libmp3lame']),
  audio('noise-180s.m4a', 180, ['-c:a', 'aac']),
  video('video-720p-10s.mp4', '1280x720', 10, '1280:720'),
  video('video-1080p-30s.mp4', '1920x1080', 30, '1280:720'),
]

const has = (command: string, ...args: string[]) => spawnSync(command, args, { stdio: 'ignore' }).status === 0

function ffmpeg(args: readonly string[]): Buffer {
  const stdio: ['ignore', 'pipe', 'ignore'] = ['ignore', 'pipe', 'ignore']
  return execFileSync('ffmpeg', ['-loglevel', 'error', '-y', ...args], { maxBuffer: 2 ** 31 - 1, stdio })
}

/** Median milliseconds of opening and converting with Pillow, the interpreter's start not counted. */
function pillowTime(file: string, times: number): number {
  const script = `
import sys, time
from PIL import Image
times = []
for i in range(int(sys.argv[2]) + 1):
    t = time.perf_counter(); Image.open(sys.argv[1]).convert('RGB').tobytes(); times.append(time.perf_counter() - t)
print(sorted(times[1:])[int(sys.argv[2]) // 2] * 1000)`
  return Number(execFileSync('python3', ['-c', script, file, String(times)], { encoding: 'utf8' }))
}

export const mediaPreparation: Benchmark = {
  name: 'media-preparation',
  title: 'Images, audio and video to pixels and samples, against the ffmpeg command and Pillow on the same files',
  async run(context: BenchmarkContext): Promise<readonly Row[]> {
    if (!has('ffmpeg', '-version')) {
      context.log('skipped: the ffmpeg command (Debian: ffmpeg) makes the files and is the peer')
      return []
    }
    const pillow = has('python3', '-c', 'import PIL')
    if (!pillow) context.log('Pillow is not installed: left out')
    const folder = join(context.directory, 'media')
    mkdirSync(folder, { recursive: true })
    await using loader = createMediaLoader({ workers: 1 })
    const times = context.quick ? 1 : 7
    const rows: Row[] = []
    for (const { name, file, make, load, peer, pillow: comparable } of context.quick ? cases.slice(0, 4) : cases) {
      context.signal.throwIfAborted()
      context.log(name)
      const path = join(folder, file)
      if (!existsSync(path)) ffmpeg([...make, path])
      const source = `data:;base64,${readFileSync(path).toString('base64')}`
      // oxlint-disable no-await-in-loop -- one at a time is what is measured
      const ours = median(await measure(times, () => load(loader, source)))
      const theirs = median(await measure(times, () => peer.forEach((args) => ffmpeg(['-i', path, ...args, '-']))))
      // oxlint-enable no-await-in-loop
      const python = pillow && comparable === true ? pillowTime(path, times) : undefined
      rows.push({
        case: name,
        'omniserve ms': round(ours),
        'ffmpeg ms': round(theirs),
        'of ffmpeg': round(ours / theirs),
        ...(python === undefined ? {} : { 'Pillow ms': round(python), 'of Pillow': round(ours / python) }),
      })
    }
    return rows
  },
}
