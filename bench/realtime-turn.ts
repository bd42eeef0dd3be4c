/**
 * A spoken turn over WebSocket: end of the user's speech to the first audio, after 2 to 20 s of speech, ended by hand
 * or by voice activity detection, and against the same turn by chat; interruption to silence; concurrent sessions.
 *
 * Speech is sent at its own pace, so a run takes minutes. The checkpoint is `models/nano`, or the folder or file in
 * `OMNISERVE_BENCH_CHECKPOINT`; `OMNISERVE_BENCH_THREADS` sets the threads, `OMNISERVE_BENCH_SESSIONS` how many
 * sessions (16; 0 leaves them out).
 */

import { existsSync } from 'node:fs'
import { join } from 'node:path'

import { encodeWav } from '../src/media/index.ts'
import { twoSentences } from '../testing/recording.ts'
import { type Benchmark, median, round, type Row } from './harness.ts'
import { SessionClient } from './session-client.ts'
import { ask, type Server, startServer } from './speech-client.ts'

const checkpoint = process.env['OMNISERVE_BENCH_CHECKPOINT'] ?? join(import.meta.dirname, '..', 'models', 'nano')
const threads = process.env['OMNISERVE_BENCH_THREADS']
const sessions = Number(process.env['OMNISERVE_BENCH_SESSIONS'] ?? '16')
const RATE = 16_000
/** Seconds. At the end of 18 s and of 2 s the encoder has the same work left; at the end of 20 s twice that. */
const LENGTHS = [2, 18, 20] as const
/** Where the first sentence begins. */
const ONSET = 11_000
/** Begin and end of both. */
const SENTENCES = [ONSET, 29_000, 49_600, 82_600] as const
/** Silence that ends a turn, milliseconds. */
const SILENCE = 500

/** Rises and falls; differs by turn. */
function volume(at: number, turn: number): number {
  return 0.7 + 0.3 * Math.sin(2 * Math.PI * (at / (17.3 * RATE) + turn * 0.37))
}

/**
 * Two sentences, 6.3 s, in a loop with rising and falling volume; the beginning and the volume differ by `turn`.
 */
function speech(seconds: number, turn: number): Float32Array {
  // Within speech, not silence.
  const first = ONSET + turn * 531
  return Float32Array.from(
    { length: seconds * RATE },
    (_, at) => volume(at, turn) * twoSentences[(first + at) % twoSentences.length]!,
  )
}

/** The two sentences without the silence between them, ending as a sentence ends; `turn` makes each its own. */
function sentences(seconds: number, turn: number): Float32Array {
  const [first, firstEnd, second, secondEnd] = SENTENCES
  const spoken = Float32Array.of(...twoSentences.subarray(first, firstEnd), ...twoSentences.subarray(second, secondEnd))
  const length = seconds * RATE
  const offset = spoken.length - (length % spoken.length)
  return Float32Array.from({ length }, (_, at) => volume(at, turn) * spoken[(offset + at) % spoken.length]!)
}

/** One turn in a session of its own. */
async function turn(server: Server, samples: Float32Array, signal: AbortSignal): Promise<number> {
  await using client = await SessionClient.open(server, true)
  return await client.answerOf(await client.speak(samples, signal))
}

interface VoiceTurn {
  /** Milliseconds from the last sample of speech to the first audio. */
  readonly all: number
  /** From the end of the silence, as reported by the server. */
  readonly afterSilence: number
}

/** One turn that ends by the silence after it. */
async function turnByVoice(server: Server, samples: Float32Array, signal: AbortSignal): Promise<VoiceTurn> {
  await using client = await SessionClient.open(server, { silenceMs: SILENCE })
  const over = new AbortController()
  const spoken = await client.speak(samples, signal)
  const silent = client.speak(noise(10 * RATE), AbortSignal.any([signal, over.signal])).catch(() => undefined)
  const stopped = await client.next('input_audio_buffer.speech_stopped')
  const { at } = await client.next('response.audio.delta')
  over.abort()
  await silent
  return { all: at - spoken, afterSilence: at - stopped.at }
}

function timesOf(turns: ReadonlyMap<number, readonly VoiceTurn[]>, what: keyof VoiceTurn): Map<number, number[]> {
  return new Map([...turns].map(([seconds, all]) => [seconds, all.map((one) => one[what])]))
}

/** Background noise 60 dB under speech. */
function noise(samples: number): Float32Array {
  return Float32Array.from({ length: samples }, () => (Math.random() - 0.5) / 1000)
}

async function byChat(server: Server, samples: Float32Array, signal: AbortSignal): Promise<number> {
  const data = `data:;base64,${Buffer.from(encodeWav(samples, RATE)).toString('base64')}`
  const { firstAudio } = await ask(
    server,
    {
      model: 'qwen3-omni-flash',
      messages: [{ role: 'user', content: [{ type: 'input_audio', input_audio: { data, format: 'wav' } }] }],
      modalities: ['text', 'audio'],
      audio: { voice: 'Cherry', format: 'wav' },
      max_tokens: 40,
    },
    signal,
    { untilAudio: true },
  )
  return firstAudio
}

/** Cancels a reply during its speech. Returns the milliseconds to its end. */
async function cancellation(server: Server, round: number, signal: AbortSignal): Promise<number> {
  await using client = await SessionClient.open(server, true)
  await client.answerOf(await client.speak(speech(2, round), signal))
  return await client.cancel()
}

/**
 * Speaks as soon as a reply begins. Returns the milliseconds to the reply's end; NaN when it has ended before.
 */
async function interruption(server: Server, signal: AbortSignal): Promise<number> {
  await using client = await SessionClient.open(server, false)
  // Half a second of silence and a sentence, then silence until the reply begins.
  const sentence = new Float32Array(5 * RATE)
  sentence.set(twoSentences.subarray(0, 40_000))
  const over = new AbortController()
  const said = client.speak(sentence, AbortSignal.any([signal, over.signal])).catch(() => undefined)
  await client.next('response.audio.delta')
  over.abort()
  await said
  const begun = performance.now()
  const speaking = client.speak(twoSentences.subarray(ONSET, ONSET + RATE), signal, 32)
  const { at, event } = await client.next('response.done')
  await speaking
  return (event['response'] as { status: string }).status === 'cancelled' ? at - begun : Number.NaN
}

/** `count` sessions with turns of 5 to 20 s of speech; a session's next turn begins at the end of its reply. */
async function together(server: Server, count: number, turns: number, signal: AbortSignal): Promise<number[]> {
  const times: number[] = []
  await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      await using client = await SessionClient.open(server, true)
      for (let number = 0; number < turns; number += 1) {
        const seconds = 5 + ((index * 7 + number * 11) % 16)
        times.push(await client.answerOf(await client.speak(speech(seconds, index * turns + number), signal)))
        await client.next('response.done')
      }
    }),
  )
  return times
}

export const benchmark: Benchmark = {
  name: 'realtime-turn',
  title: 'end of speech to first audio over WebSocket after 2 to 20 s of speech, interruption, sessions at once',
  long: true,
  async run(context) {
    const { quick, signal } = context
    if (!existsSync(checkpoint)) throw new Error(`there is no checkpoint at ${checkpoint}`)
    await using server = await startServer(checkpoint, threads === undefined ? [] : ['--threads', threads])
    const rounds = quick ? 1 : 3
    await turn(server, speech(1, 99), signal)
    const realtime = new Map<number, number[]>(LENGTHS.map((seconds) => [seconds, []]))
    const voice = new Map<number, VoiceTurn[]>(LENGTHS.map((seconds) => [seconds, []]))
    const chat = new Map<number, number[]>(LENGTHS.map((seconds) => [seconds, []]))
    for (let number = 0; number < rounds; number += 1) {
      for (const seconds of LENGTHS) {
        realtime.get(seconds)!.push(await turn(server, speech(seconds, number), signal))
        voice.get(seconds)!.push(await turnByVoice(server, sentences(seconds, number), signal))
        chat.get(seconds)!.push(await byChat(server, speech(seconds, 50 + number), signal))
      }
      context.log(`  round ${number + 1} of ${rounds}`)
    }
    const rows: Row[] = LENGTHS.map((seconds) => ({
      case: `${seconds} s of speech`,
      'first audio ms': round(median(realtime.get(seconds)!)),
      'worst ms': round(Math.max(...realtime.get(seconds)!)),
      'by chat ms': round(median(chat.get(seconds)!)),
    }))
    for (const seconds of LENGTHS) {
      const all = voice.get(seconds)!.map((one) => one.all)
      rows.push({
        case: `${seconds} s of speech, voice activity`,
        'first audio ms': round(median(all)),
        'worst ms': round(Math.max(...all)),
        'after the silence ms': round(median(voice.get(seconds)!.map((one) => one.afterSilence))),
      })
    }
    const [short, ...long] = LENGTHS
    for (const seconds of long) {
      const ratio = (times: ReadonlyMap<number, number[]>): number =>
        round(median(times.get(seconds)!) / median(times.get(short)!))
      rows.push(
        { case: `${seconds} s over ${short} s`, 'first audio ms': ratio(realtime), 'by chat ms': ratio(chat) },
        {
          case: `${seconds} s over ${short} s, voice activity`,
          'first audio ms': ratio(timesOf(voice, 'all')),
          'after the silence ms': ratio(timesOf(voice, 'afterSilence')),
        },
      )
    }

    const cancelled: number[] = []
    const cut: number[] = []
    for (let number = 0; number < (quick ? 1 : 3); number += 1) {
      cancelled.push(await cancellation(server, number, signal))
      cut.push(await interruption(server, signal))
    }
    const spoken = cut.filter((time) => !Number.isNaN(time))
    rows.push(
      { case: 'response.cancel to silence', 'first audio ms': round(median(cancelled)) },
      {
        case: `speech to silence (${spoken.length} of ${cut.length} cut)`,
        'first audio ms': spoken.length === 0 ? 'too short' : round(median(spoken)),
      },
    )
    if (sessions > 0) {
      context.log(`  ${sessions} sessions at once`)
      const times = await together(server, sessions, quick ? 1 : 2, signal)
      rows.push({
        case: `${sessions} sessions, 5 to 20 s of speech`,
        'first audio ms': round(median(times)),
        'worst ms': round(Math.max(...times)),
      })
    }
    return rows
  },
}
