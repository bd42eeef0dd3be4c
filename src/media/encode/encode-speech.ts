/**
 * Encodes speech as WAV, MP3 or Opus (in Ogg). MP3 and Opus are encoded by FFmpeg in a child process.
 *
 * In: a stream of 24 kHz mono samples, 16 bits. Out: a stream of the file's bytes.
 */
import { spawn } from 'node:child_process'
import type { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { wavHeader } from '../wav.ts'

export type SpeechFormat = 'pcm' | 'wav' | 'mp3' | 'opus'

/** Sample rate of speech, Hz. */
export const SPEECH_RATE = 24_000

/** The encoder process failed, for example because node-av is not installed. */
export class EncoderError extends Error {
  override readonly name = 'EncoderError'
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
 * Encodes a stream of samples. The length in a WAV header is unknown (0xffffffff). Returning early ends the encoder.
 *
 * @throws EncoderError if the encoder fails; the signal's reason once aborted
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
  yield* encodeInProcess(samples, format, signal)
}

async function* encodeInProcess(
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
  // Writing fails if the encoder ends early; its exit code is checked below.
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
    if (code !== 0)
      throw new EncoderError(
        `The ${format} encoder exited with code ${code}. Use the format wav or pcm, which need no encoder.`,
      )
  } finally {
    child.kill('SIGKILL')
  }
}

/** Writes the samples to the encoder. Stops, and ends the source, once the encoder has closed its input. */
async function feed(samples: AsyncIterable<Int16Array>, input: Writable): Promise<void> {
  for await (const pcm of samples) {
    if (!input.write(bytesOf(pcm))) await drained(input)
    if (input.destroyed) return
  }
  input.end()
}

/** Resolves once the stream accepts more data or is closed. */
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

/** The samples' bytes, little-endian on every machine that Node supports. */
function bytesOf(pcm: Int16Array): Uint8Array {
  return new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength)
}
