/**
 * Speech as a file: WAV here, MP3 and Opus in a process of its own, since encoding is native code.
 *
 * In: a stream of 24 kHz mono samples. Out: a stream of the file's bytes.
 */
import { spawn } from 'node:child_process'
import type { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { wavHeader } from '../wav.ts'

export type SpeechFormat = 'pcm' | 'wav' | 'mp3' | 'opus'

export const SPEECH_RATE = 24_000

/** The encoder of a format failed: node-av is missing, or the process ended. */
export class CoderError extends Error {
  override readonly name = 'CoderError'
}

const MIME_TYPES: Readonly<Record<SpeechFormat, string>> = {
  pcm: 'audio/pcm',
  wav: 'audio/wav',
  mp3: 'audio/mpeg',
  opus: 'audio/ogg',
}

export function mimeTypeOf(format: SpeechFormat): string {
  return MIME_TYPES[format]
}

/**
 * Encodes a stream of samples. A WAV header marks its length as unknown. Rejects with the signal's reason once aborted,
 * and when the encoder fails. Returning early ends the encoder.
 */
export async function* encodeSpeech(
  samples: AsyncIterable<Int16Array>,
  format: SpeechFormat,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (format === 'wav') yield wavHeader(SPEECH_RATE)
  if (format === 'pcm' || format === 'wav') {
    for await (const pcm of samples) yield bytesOf(pcm)
    return
  }
  yield* encodeElsewhere(samples, format, signal)
}

async function* encodeElsewhere(
  samples: AsyncIterable<Int16Array>,
  format: SpeechFormat,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  signal.throwIfAborted()
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  const main = fileURLToPath(new URL(`./encoder-main.${extension}`, import.meta.url))
  const child = spawn(process.execPath, ['--max-old-space-size=128', '--no-warnings', main, format], {
    env: process.env['SystemRoot'] === undefined ? {} : { SystemRoot: process.env['SystemRoot'] },
    stdio: ['pipe', 'pipe', 'ignore'],
    signal,
  })
  let failure: unknown
  child.once('error', (error) => (failure ??= error))
  // An encoder that ends early closes its input; its exit code shows why.
  child.stdin.on('error', () => undefined)
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve))
  const feeding = feed(samples, child.stdin).catch((error: unknown) => {
    failure ??= error
    child.kill('SIGKILL')
  })
  try {
    for await (const piece of child.stdout) yield piece as Buffer
    await feeding
    const code = await exited
    signal.throwIfAborted()
    if (failure !== undefined) throw failure
    if (code !== 0) throw new CoderError(`The ${format} coder ended with ${code}. wav and pcm need none.`)
  } finally {
    child.kill('SIGKILL')
  }
}

/** Ends early, and its samples with it, once the encoder takes no more. */
async function feed(samples: AsyncIterable<Int16Array>, input: Writable): Promise<void> {
  for await (const pcm of samples) {
    if (!input.write(bytesOf(pcm))) await drained(input)
    if (input.destroyed) return
  }
  input.end()
}

/** Resolves once more may be written, or nothing ever. */
async function drained(input: Writable): Promise<void> {
  if (input.destroyed) return
  await new Promise<void>((resolve) => {
    const go = (): void => {
      input.off('drain', go)
      input.off('close', go)
      resolve()
    }
    input.once('drain', go)
    input.once('close', go)
  })
}

/** Little-endian, which is every machine Node runs on. */
function bytesOf(pcm: Int16Array): Uint8Array {
  return new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength)
}
