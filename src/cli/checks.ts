/**
 * The checks of `omniserve doctor`.
 *
 * In: settings. Out: {@link Check}s, one by one. A fault that a check finds is its result, not an error. What can end
 * its process runs in a child process.
 */
import { existsSync } from 'node:fs'
import { mkdir, readFile, statfs } from 'node:fs/promises'
import { createServer } from 'node:net'
import { arch, availableParallelism, cpus, platform, totalmem } from 'node:os'
import path from 'node:path'
import { checkExposure, homeFolder, packageFolder, type Settings } from '../config/index.ts'
import { readCheckpointFacts } from '../engines/unloaded/unloaded-engine.ts'
import { createMediaLoader, encodeWav, ffmpegBuild, MediaError } from '../media/index.ts'
import { type DeviceKind, packagesFor } from '../tensor/index.ts'
import type { Check } from './check.ts'
import { checkGpu, checkNumericLibrary, checkSelectedDevice } from './device-checks.ts'
import { failureText } from './exit.ts'
import { adviseType } from './memory-advice.ts'
import { findCheckpoint } from './find-checkpoint.ts'
import { bytesText, listText } from './output.ts'
import { packageInfo } from './package-info.ts'
import { checkPlacement } from './placement-check.ts'
import { findPlayer } from './speech-output.ts'

/** Runs every check, cheap ones first. */
export async function* checkMachine(settings: Settings, signal: AbortSignal): AsyncGenerator<Check, void, undefined> {
  yield checkNode(process.versions.node)
  yield await checkProcessor()
  yield checkMemorySize(totalmem(), process.availableMemory())
  yield await checkNumericLibrary(signal)
  let workingDevice: DeviceKind = 'cpu'
  for (const device of ['cuda', 'metal', 'vulkan'] as const) {
    if (packagesFor(device).length === 0) continue
    const { works, ...check } = await checkGpu(device, settings.device === device, signal)
    if (works && workingDevice === 'cpu') workingDevice = device
    yield check
  }
  yield checkSelectedDevice(settings, workingDevice)
  yield await checkDecoder(signal)
  yield await checkFfmpeg()
  const checkpoint = await checkCheckpoint(settings.model)
  yield checkpoint
  // The placement of a checkpoint that cannot be loaded is not useful.
  if (checkpoint.status !== 'fail') yield await checkPlacement(settings, workingDevice, signal)
  yield await checkPort(settings)
  yield await checkFolder()
  yield checkPlayground()
  yield checkPlayer()
}

/** @param version such as `24.1.0` */
export function checkNode(version: string): Check {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const found = `Node ${version}, omniserve ${packageInfo.version}, ${platform()} ${arch()}`
  if (major < 20 || (major === 20 && minor < 19)) {
    return { name: 'Node', status: 'fail', found, fix: 'Install Node 20.19 or later: https://nodejs.org' }
  }
  return { name: 'Node', status: 'ok', found }
}

async function checkProcessor(): Promise<Check> {
  const name = 'processor'
  const model = cpus()[0]?.model.trim() ?? 'unknown'
  const found = `${availableParallelism()} cores, ${model}`
  const flags =
    platform() === 'linux' && arch() === 'x64' ? await readFile('/proc/cpuinfo', 'utf8').catch(() => '') : ''
  if (flags !== '' && !/\bavx2\b/.test(flags)) {
    return {
      name,
      status: 'warn',
      found: `${found}, without AVX2`,
      fix: 'It works, but several times slower than with AVX2.',
    }
  }
  return { name, status: 'ok', found }
}

/** @param total @param available bytes */
export function checkMemorySize(total: number, available: number): Check {
  const found = `${bytesText(total)}, ${bytesText(available)} of it free`
  if (available < 1e9) {
    return { name: 'memory', status: 'warn', found, fix: 'Close other programs: even small checkpoints need 1 GB.' }
  }
  return { name: 'memory', status: 'ok', found }
}

async function checkDecoder(signal: AbortSignal): Promise<Check> {
  const name = 'media decoder'
  const fix = 'Install again: npm ci (sharp decodes images; node-av, with its own FFmpeg, decodes audio and video)'
  try {
    const { default: sharp } = await import('sharp')
    const png = await sharp({ create: { width: 32, height: 32, channels: 3, background: { r: 255, g: 0, b: 0 } } })
      .png()
      .toBuffer()
    const wav = encodeWav(new Int16Array(16_000).fill(1000), 16_000)
    await using loader = createMediaLoader({ workers: 1, decodeTimeoutMs: 30_000 })
    const image = await loader.image(`data:image/png;base64,${png.toString('base64')}`, {}, signal)
    const audio = await loader.audio(`data:;base64,${Buffer.from(wav).toString('base64')}`, {}, signal)
    const { data } = await image.decode(signal)
    const { samples, sampleRate } = await audio.decode(signal)
    const correct = data[0] === 255 && data[1] === 0 && Math.abs(samples.length / sampleRate - 1) < 0.05
    if (correct) return { name, status: 'ok', found: 'decodes images and audio' }
    return { name, status: 'fail', found: 'decodes images or audio incorrectly', fix }
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof MediaError && error.code === 'no_decoder')
      return { name, status: 'warn', found: 'decodes images only', fix: 'For audio and video: npm install node-av' }
    return { name, status: 'fail', found: error instanceof Error ? error.message : String(error), fix }
  }
}

/** Reports the licence of the installed FFmpeg, which matters for redistribution. */
async function checkFfmpeg(): Promise<Check> {
  const name = 'FFmpeg'
  try {
    const { version, licence, incompatible } = await ffmpegBuild()
    const parts = incompatible.length > 0 ? ` with ${listText(incompatible)}` : ''
    const found = `${version} of node-av, ${licence}${parts}`
    if (incompatible.length === 0) return { name, status: 'ok', found }
    return { name, status: 'ok', found: `${found}: do not redistribute (see NOTICE)` }
  } catch {
    return { name, status: 'absent', found: 'node-av is not installed: no audio or video input (see NOTICE)' }
  }
}

async function checkCheckpoint(model: string): Promise<Check> {
  const name = 'checkpoint'
  try {
    const found = findCheckpoint(model)
    const { model: facts, weightBytes, speakers, description } = await readCheckpointFacts(found)
    const speech = speakers.length > 0 ? `voices: ${listText(speakers)}` : 'no speech'
    const text = `${model}: ${facts.architecture}, ${facts.weights}, ${bytesText(weightBytes)}, ${speech}`
    const available = process.availableMemory()
    if (weightBytes + 256e6 > available) {
      const { type, bytes } = adviseType(description)
      const fix =
        type === undefined || bytes >= weightBytes
          ? 'Use a smaller checkpoint or a machine with more memory.'
          : `omniserve convert ${model} --quantize ${type} makes it ${bytesText(bytes)}.`
      return {
        name,
        status: 'fail',
        found: `${text}, but only ${bytesText(available)} of memory is free`,
        fix,
      }
    }
    if (found.id === 'tiny-random' && model === 'nano') {
      return {
        name,
        status: 'warn',
        found: text,
        fix: 'models/nano is missing: random weights give meaningless replies.',
      }
    }
    return { name, status: 'ok', found: text }
  } catch (error) {
    const text = failureText(error, {})
    return {
      name,
      status: 'fail',
      found: text,
      fix: 'Choose another checkpoint with --model, or download one: omniserve pull OWNER/NAME',
    }
  }
}

async function checkPort(settings: Settings): Promise<Check> {
  const { host, port } = settings
  const name = 'port'
  try {
    checkExposure(settings)
  } catch (error) {
    return {
      name,
      status: 'fail',
      found: error instanceof Error ? error.message : '',
      fix: 'Set --api-key or --host 127.0.0.1.',
    }
  }
  const problem = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    const server = createServer()
    server.once('error', resolve)
    server.listen(port, host, () => server.close(() => resolve(undefined)))
  })
  if (problem === undefined)
    return { name, status: 'ok', found: port === 0 ? 'any free port' : `${host}:${port} is free` }
  if (problem.code !== 'EADDRINUSE') {
    return {
      name,
      status: 'fail',
      found: `${host}:${port}: ${problem.message}`,
      fix: 'Choose another --port or --host.',
    }
  }
  return (await isOmniserve(host, port))
    ? { name, status: 'ok', found: `an omniserve server is running on ${host}:${port}` }
    : {
        name,
        status: 'fail',
        found: `${host}:${port} is used by another program`,
        fix: 'Choose another port: --port 8001.',
      }
}

async function isOmniserve(host: string, port: number): Promise<boolean> {
  try {
    const hostname = host.includes(':') ? `[${host}]` : host
    const response = await fetch(`http://${hostname}:${port}/health`, { signal: AbortSignal.timeout(2000) })
    const body: unknown = await response.json()
    return typeof body === 'object' && body !== null && 'status' in body && body.status === 'ok' && 'version' in body
  } catch {
    return false
  }
}

async function checkFolder(): Promise<Check> {
  const folder = homeFolder()
  try {
    await mkdir(folder, { recursive: true })
    const { bavail, bsize } = await statfs(folder)
    const free = bavail * bsize
    const found = `${folder}, ${bytesText(free)} free`
    if (free < 2e9)
      return { name: 'disk', status: 'warn', found, fix: 'Free some space, or set OMNISERVE_HOME to a larger disk.' }
    return { name: 'disk', status: 'ok', found }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return { name: 'disk', status: 'fail', found: reason, fix: 'Set OMNISERVE_HOME to a writable folder.' }
  }
}

function checkPlayground(): Check {
  const built = existsSync(path.join(packageFolder, 'web', 'dist', 'index.html'))
  return built
    ? { name: 'playground', status: 'ok', found: 'built' }
    : { name: 'playground', status: 'warn', found: 'not built', fix: 'npm run build (the API works without it)' }
}

function checkPlayer(): Check {
  const player = findPlayer()
  return player === undefined
    ? {
        name: 'player',
        status: 'warn',
        found: 'none',
        fix: 'For chat --play, install ffmpeg, alsa-utils, pulseaudio-utils or sox.',
      }
    : { name: 'player', status: 'ok', found: `${player.command} (chat --play)` }
}
