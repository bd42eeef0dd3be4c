/** Saves speech as a WAV file and plays it with an installed player. */
import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { joinPcm } from '../arithmetic/pcm.ts'
import { SPEECH_RATE } from '../media/encode/encode-speech.ts'
import { encodeWav, wavHeader } from '../media/wav.ts'
import { CommandError, EXIT } from './exit.ts'

interface Player {
  readonly command: string
  readonly arguments: readonly string[]
  /** `wav` and `raw` are streamed to standard input; `file` is a file that is played once it is complete. */
  readonly input: 'wav' | 'raw' | 'file'
}

const players: readonly Player[] = [
  { command: 'ffplay', arguments: ['-nodisp', '-autoexit', '-loglevel', 'error', '-i', '-'], input: 'wav' },
  { command: 'pw-play', arguments: ['--raw', '--rate=24000', '--channels=1', '--format=s16', '-'], input: 'raw' },
  { command: 'paplay', arguments: ['--raw', '--rate=24000', '--channels=1', '--format=s16le'], input: 'raw' },
  { command: 'aplay', arguments: ['-q', '-'], input: 'wav' },
  {
    command: 'play',
    arguments: ['-q', '-t', 'raw', '-r', '24000', '-e', 'signed-integer', '-b', '16', '-c', '1', '-'],
    input: 'raw',
  },
  { command: 'afplay', arguments: [], input: 'file' },
]

/** The first player that is installed. */
export function findPlayer(environment: NodeJS.ProcessEnv = process.env): Player | undefined {
  const folders = (environment['PATH'] ?? '').split(path.delimiter).filter((folder) => folder !== '')
  return players.find(({ command }) => folders.some((folder) => canRun(path.join(folder, command))))
}

function canRun(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** @throws CommandError that names players to install */
export function requirePlayer(): Player {
  const player = findPlayer()
  if (player !== undefined) return player
  throw new CommandError(
    `--play: no player is installed; install one of ${players.map(({ command }) => command).join(', ')}, or use --save-audio FILE`,
    EXIT.usage,
  )
}

/** @throws CommandError for a file name with the extension of another format than WAV */
export function checkWavName(file: string): void {
  const extension = path.extname(file).toLowerCase()
  if (!['.mp3', '.opus', '.ogg', '.oga', '.flac', '.m4a', '.aac', '.aiff', '.pcm', '.raw'].includes(extension)) return
  const name = `${file.slice(0, -extension.length)}.wav`
  throw new CommandError(`${file}: speech is saved as WAV only; give a name such as ${name}`, EXIT.usage)
}

/** Collects and plays one reply's speech. Call `end` to finish playback; disposing stops it at once. */
export class SpeechOutput implements AsyncDisposable {
  readonly #pieces: Int16Array[] = []
  readonly #player: Player | undefined
  #process: ChildProcess | undefined
  #failure: string | undefined

  /** @param player that plays the samples as they arrive; undefined for none */
  constructor(player?: Player) {
    this.#player = player
  }

  get seconds(): number {
    return this.#pieces.reduce((sum, piece) => sum + piece.length, 0) / SPEECH_RATE
  }

  write(samples: Int16Array): void {
    this.#pieces.push(samples)
    const player = this.#player
    if (player === undefined || player.input === 'file') return
    if (this.#process === undefined) {
      this.#process = this.#start(player, player.arguments)
      if (player.input === 'wav') this.#process.stdin?.write(wavHeader(SPEECH_RATE))
    }
    this.#process.stdin?.write(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength))
  }

  /** Waits until playback ends. @throws CommandError if the player failed */
  async end(signal: AbortSignal): Promise<void> {
    const player = this.#player
    if (player !== undefined && this.#pieces.length > 0) {
      if (player.input === 'file') await this.#playFile(player, signal)
      else if (this.#process !== undefined) {
        this.#process.stdin?.end()
        await exited(this.#process, signal)
      }
    }
    if (this.#failure !== undefined) throw new CommandError(`--play: ${this.#failure}`)
  }

  /** Writes the samples so far as a WAV file. */
  async save(file: string): Promise<void> {
    await writeFile(file, encodeWav(joinPcm(this.#pieces), SPEECH_RATE))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process !== undefined && this.#process.exitCode === null) this.#process.kill()
  }

  async #playFile(player: Player, signal: AbortSignal): Promise<void> {
    const folder = await mkdtemp(path.join(tmpdir(), 'omniserve-'))
    try {
      const file = path.join(folder, 'reply.wav')
      await this.save(file)
      this.#process = this.#start(player, [...player.arguments, file])
      await exited(this.#process, signal)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }

  #start(player: Player, options: readonly string[]): ChildProcess {
    const child = spawn(player.command, options, { stdio: ['pipe', 'ignore', 'pipe'] })
    let errors = ''
    child.stderr.on('data', (text: Buffer) => {
      errors = (errors + text.toString()).slice(-4000)
    })
    // Writing fails if the player ends early; its exit code is checked below.
    child.stdin.on('error', () => undefined)
    child.on('error', (error) => {
      this.#failure = `${player.command}: ${error.message}`
    })
    child.on('exit', (code) => {
      if (code !== null && code !== 0) this.#failure = `${player.command} exited with code ${code}: ${errors.trim()}`
    })
    // ffplay exits with 0 if there is no audio device, so its messages are checked.
    child.on('close', () => {
      const cause = errorLine(errors)
      if (cause !== undefined) this.#failure ??= `${player.command} failed: ${cause}`
    })
    return child
  }
}

/** The line that names the cause: the player's own, or else one of ALSA's. */
function errorLine(log: string): string | undefined {
  const lines = log.split(/[\r\n]+/).filter((line) => /failed|error|cannot|could ?n['o]t/i.test(line))
  return (lines.find((line) => !line.startsWith('ALSA lib')) ?? lines[0])?.trim()
}

async function exited(child: ChildProcess, signal: AbortSignal): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  await new Promise<void>((resolve, reject) => {
    child.once('close', () => resolve())
    child.once('error', () => resolve())
    signal.addEventListener(
      'abort',
      () => {
        child.kill()
        reject(signal.reason)
      },
      { once: true },
    )
  })
}
