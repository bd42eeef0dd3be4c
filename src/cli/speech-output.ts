/** Destinations of speech: a WAV file, an installed player, or both. */
import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { joinPcm } from '../arithmetic/pcm.ts'
import { encodeWav, wavHeader } from '../media/wav.ts'
import { SPEECH_RATE } from './ask.ts'
import { CommandError, EXIT } from './exit.ts'

interface Player {
  readonly command: string
  readonly arguments: readonly string[]
  /** `wav` and `raw` are streamed to its standard input; `file` is played once whole. */
  readonly takes: 'wav' | 'raw' | 'file'
}

const players: readonly Player[] = [
  { command: 'ffplay', arguments: ['-nodisp', '-autoexit', '-loglevel', 'error', '-i', '-'], takes: 'wav' },
  { command: 'pw-play', arguments: ['--raw', '--rate=24000', '--channels=1', '--format=s16', '-'], takes: 'raw' },
  { command: 'paplay', arguments: ['--raw', '--rate=24000', '--channels=1', '--format=s16le'], takes: 'raw' },
  { command: 'aplay', arguments: ['-q', '-'], takes: 'wav' },
  {
    command: 'play',
    arguments: ['-q', '-t', 'raw', '-r', '24000', '-e', 'signed-integer', '-b', '16', '-c', '1', '-'],
    takes: 'raw',
  },
  { command: 'afplay', arguments: [], takes: 'file' },
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

/** @throws CommandError naming players to install */
export function requirePlayer(): Player {
  const player = findPlayer()
  if (player !== undefined) return player
  throw new CommandError(
    `--play: no player is installed; install one of ${players.map(({ command }) => command).join(', ')}, or use --save-audio FILE`,
    EXIT.usage,
  )
}

/** @throws CommandError for a name that promises another format than WAV */
export function checkWavName(file: string): void {
  const ending = path.extname(file).toLowerCase()
  if (!['.mp3', '.opus', '.ogg', '.oga', '.flac', '.m4a', '.aac', '.aiff', '.pcm', '.raw'].includes(ending)) return
  const name = `${file.slice(0, -ending.length)}.wav`
  throw new CommandError(`${file}: speech is saved as WAV only; give a name such as ${name}`, EXIT.usage)
}

/** Collects one reply's speech. Call `end` (or dispose, to stop playing at once). */
export class SpeechOutput implements AsyncDisposable {
  readonly #pieces: Int16Array[] = []
  readonly #player: Player | undefined
  #process: ChildProcess | undefined
  #failure: string | undefined

  /** @param player of the arriving samples, if any */
  constructor(player?: Player) {
    this.#player = player
  }

  get seconds(): number {
    return this.#pieces.reduce((sum, piece) => sum + piece.length, 0) / SPEECH_RATE
  }

  write(samples: Int16Array): void {
    this.#pieces.push(samples)
    const player = this.#player
    if (player === undefined || player.takes === 'file') return
    if (this.#process === undefined) {
      this.#process = this.#start(player, player.arguments)
      if (player.takes === 'wav') this.#process.stdin?.write(wavHeader(SPEECH_RATE))
    }
    this.#process.stdin?.write(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength))
  }

  /** Waits until playback ends. @throws CommandError when the player failed */
  async end(signal: AbortSignal): Promise<void> {
    const player = this.#player
    if (player !== undefined && this.#pieces.length > 0) {
      if (player.takes === 'file') await this.#playFile(player, signal)
      else if (this.#process !== undefined) {
        this.#process.stdin?.end()
        await exited(this.#process, signal)
      }
    }
    if (this.#failure !== undefined) throw new CommandError(`--play: ${this.#failure}`)
  }

  /** Writes what has arrived as a WAV file. */
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
    let said = ''
    child.stderr.on('data', (text: Buffer) => {
      said = (said + text.toString()).slice(-4000)
    })
    // A player that has ended accepts no more; its exit code shows why.
    child.stdin.on('error', () => undefined)
    child.on('error', (error) => {
      this.#failure = `${player.command}: ${error.message}`
    })
    child.on('exit', (code) => {
      if (code !== null && code !== 0) this.#failure = `${player.command} ended with code ${code}: ${said.trim()}`
    })
    // ffplay ends with 0 when there is no audio device.
    child.on('close', () => {
      const complaint = complaintOf(said)
      if (complaint !== undefined) this.#failure ??= `${player.command} says: ${complaint}`
    })
    return child
  }
}

/** The line with the cause: the player's own, or one of ALSA's trace before it. */
function complaintOf(log: string): string | undefined {
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
