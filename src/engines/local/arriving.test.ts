/**
 * The reply to audio that is encoded while it arrives equals the reply to audio that comes with its request: token for
 * token, code for code.
 *
 * Tiny random checkpoints of both families, and nano, greedy. Audio that begins in silence, grows louder late, or has
 * odd lengths.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodedAudio, decodedImage } from '../../../testing/decoded-media.ts'
import { tinyCheckpoint } from '../../../testing/golden-conversations.ts'
import { twoSentences } from '../../../testing/recording.ts'
import { makeRequest, readReply } from '../../../testing/requests.ts'
import { until } from '../../../testing/until.ts'
import type { AudioMedium, GenerationMessage, GenerationRequest } from '../../contract/index.ts'
import { loadHostedModel, type OpenHostedModel } from './load-model.ts'

const RATE = 16_000

/** `samples` samples of the recording, from `from` on, in a loop. */
function speech(samples: number, from = 0): Float32Array {
  return Float32Array.from({ length: samples }, (_, at) => twoSentences[(from + at) % twoSentences.length]!)
}

const kinds: Record<string, (samples: number) => Float32Array> = {
  'even speech': (samples) => speech(samples),
  'silence first': (samples) => speech(samples).map((value, at) => (at < samples / 3 ? 0 : value)),
  'louder and louder': (samples) => speech(samples, 9000).map((value, at) => value * (at / samples) ** 2),
  'loudest at the end': (samples) =>
    speech(samples, 30_000).map((value, at) => (samples - at < 1500 ? Math.sin(at / 5) : value * 0.05)),
}

const nano = new URL('../../../models/nano', import.meta.url).pathname
const checkpoints = { 'tiny-moe': tinyCheckpoint('tiny-moe'), 'tiny25-grouped': tinyCheckpoint('tiny25-grouped'), nano }

type OpenAudio = NonNullable<ReturnType<OpenHostedModel['runtime']['openAudio']>>

/** What was known of a prompt when its request came: tokens of it, and the mel frames still to be encoded. */
interface DoneAhead {
  readonly cached: number
  readonly total: number
  readonly encoded: readonly number[]
}

let number = 0

describe.each(Object.entries(checkpoints))('%s', (name, checkpoint) => {
  let hosted: OpenHostedModel
  const tokens = new Map<string, number[]>()
  const frames = new Map<string, number[][]>()
  const voice = name === 'nano' ? 'chelsie' : 'ethan'

  beforeAll(async () => {
    hosted = await loadHostedModel(
      { checkpoint, id: name, device: 'cpu', threads: 1, exact: true, maxSpeechFrames: 6 },
      () => undefined,
      {
        token: (request, id) => void tokens.set(request, [...(tokens.get(request) ?? []), id]),
        frame: (request, codes) => void frames.set(request, [...(frames.get(request) ?? []), [...codes]]),
      },
    )
  })
  afterAll(async () => {
    await hosted.runtime.close()
    hosted.dispose()
  })

  const ask = (messages: readonly GenerationMessage[], scope: string | undefined, spoken: boolean): GenerationRequest =>
    makeRequest({
      model: name,
      messages,
      maxTokens: 6,
      ...(spoken && { voice }),
      ...(scope !== undefined && { cacheScope: scope }),
    })

  /** Waits until the engine has done what it can do ahead. */
  const settled = (): Promise<void> => until(() => !hosted.runtime.working, 1)

  /** Audio that is to arrive after `before`; until it does, a second of silence is in its place. */
  function open(before: readonly GenerationMessage[], scope: string, spoken: boolean, prefills = true): OpenAudio {
    const placeholder = decodedAudio({ sampleRate: RATE, samples: new Float32Array(RATE) })
    return hosted.runtime.openAudio(ask([...before, turnOf(placeholder)], scope, spoken), { prefills })!
  }

  /**
   * Ends `audio` as `medium`, the last of `messages`. The reply equals the one to a request that comes with its audio.
   * Returns how much of it was done ahead.
   */
  async function complete(
    audio: OpenAudio,
    medium: AudioMedium,
    messages: readonly GenerationMessage[],
    scope: string,
    spoken: boolean,
  ): Promise<DoneAhead> {
    audio.complete(medium.contentKey)
    const encoded = watchEncoder(hosted)
    const ahead = ask(messages, scope, spoken)
    const reply = await readReply(hosted.runtime, ahead)
    const windows = encoded()
    expect(hosted.runtime.arriving).toBe(0)
    audio[Symbol.dispose]()
    const fresh = ask(messages, undefined, spoken)
    const wanted = await readReply(hosted.runtime, fresh)
    expect(tokens.get(ahead.id)).toEqual(tokens.get(fresh.id))
    expect(frames.get(ahead.id)).toEqual(frames.get(fresh.id))
    expect(reply.text).toBe(wanted.text)
    expect(reply.pcm).toEqual(wanted.pcm)
    const { cached = 0, total = 0 } = reply.usage.prompt ?? {}
    return { cached, total, encoded: windows }
  }

  /** The reply to `samples` that end in `silence` as announced, after pauses that did not end the turn. */
  async function ending(
    samples: Float32Array,
    silence: number,
    { pausesAt = [], before = [] }: { pausesAt?: readonly number[]; before?: readonly GenerationMessage[] } = {},
  ): Promise<DoneAhead> {
    const scope = `ending ${number++}`
    const whole = (end: number): AudioMedium =>
      decodedAudio({ sampleRate: RATE, samples: withSilence(samples.subarray(0, end), silence) })
    const audio = open(before, scope, true)
    const kept = hosted.runtime.cached.mediaBytes
    let sent = 0
    for (const [index, end] of [...pausesAt, samples.length].entries()) {
      for (; sent < end; sent = Math.min(end, sent + 4321))
        audio.append(samples.slice(sent, Math.min(end, sent + 4321)))
      audio.mayEnd(silence, whole(end).contentKey)
      // The next words come after the work for the pause, or in the middle of it.
      if (index % 2 === 0 || end === samples.length) await settled()
      else await new Promise((resolve) => void setImmediate(resolve))
    }
    // Nothing is kept of pauses that did not end the turn, however many there were.
    const most = (samples.length + silence) / (name === 'tiny25-grouped' ? 640 : 1200) + 20
    if (before.length === 0)
      expect(hosted.runtime.cached.mediaBytes - kept).toBeLessThan(most * hosted.parts.model.thinker.hiddenSize * 4)
    const medium = whole(samples.length)
    return complete(audio, medium, [...before, turnOf(medium)], scope, true)
  }

  /** The reply to `samples` that arrive in pieces after `before`. */
  async function arriving(
    samples: Float32Array,
    before: readonly GenerationMessage[],
    spoken: boolean,
    scope = `turn ${number++}`,
  ): Promise<DoneAhead> {
    const audio = open(before, scope, spoken)
    for (let at = 0; at < samples.length; at += 4321) {
      audio.append(samples.slice(at, at + 4321))
      if (at % 3 === 0) await settled()
    }
    await settled()
    const medium = decodedAudio({ sampleRate: RATE, samples })
    return complete(audio, medium, [...before, turnOf(medium)], scope, spoken)
  }

  describe.each(Object.keys(kinds))('%s', (kind) => {
    // Fewer than a window of either family, one of Qwen3-Omni's and four of the other's, and more.
    it.each([1234, 128_000, 17 * RATE + 77])('%i samples', async (length) => {
      const { cached, total, encoded } = await arriving(kinds[kind]!(length), [], true)
      if (length < 17 * RATE) return
      if (kind === 'even speech' || kind === 'silence first') {
        // Two windows of 104 tokens, or ten of 50, were prefilled.
        expect(cached / total).toBeGreaterThan(0.7)
        expect(encoded.every((frames) => frames < 810)).toBe(true)
      }
    })
  })

  it('continues a conversation with shorter audio', async () => {
    const scope = `conversation ${number++}`
    const first = [turnOf(decodedAudio({ sampleRate: RATE, samples: speech(30_000) }))]
    const { text } = await readReply(hosted.runtime, ask(first, scope, true))
    const image = decodedImage({ width: 64, height: 32, data: new Uint8Array(64 * 32 * 3).fill(90) })
    const before: GenerationMessage[] = [
      ...first,
      { role: 'assistant', content: [{ type: 'text', text: text === '' ? 'Yes.' : text }] },
      { role: 'user', content: [{ type: 'image', image }] },
      { role: 'assistant', content: [{ type: 'text', text: 'I see.' }] },
    ]
    const { cached, total } = await arriving(speech(10 * RATE, 777), before, true, scope)
    expect(cached / total).toBeGreaterThan(0.5)
  })

  describe.each(Object.keys(kinds))('%s that ends in the announced silence', (kind) => {
    it.each([7.9 * RATE, 9 * RATE + 77])('%i samples', async (length) => {
      const { cached, total, encoded } = await ending(kinds[kind]!(length), 9728)
      expect(encoded).toEqual([])
      expect(cached).toBe(total - 1)
    })
  })

  it('continues after pauses that do not end it', async () => {
    const pausesAt = [2 * RATE, 3 * RATE + 5, 8.5 * RATE, 9.5 * RATE]
    const { cached, total, encoded } = await ending(speech(11 * RATE, 333), 8000, { pausesAt })
    expect(encoded).toEqual([])
    expect(cached).toBe(total - 1)
  })

  it('ends in silence in a conversation with longer audio', async () => {
    const before: GenerationMessage[] = [
      turnOf(decodedAudio({ sampleRate: RATE, samples: speech(30_000) })),
      { role: 'assistant', content: [{ type: 'text', text: 'Yes.' }] },
    ]
    const { cached, total } = await ending(speech(9000, 55), 3000, { before })
    expect(cached).toBe(total - 1)
  })

  it('is encoded but not prefilled when an image before it comes with the request', async () => {
    const samples = speech(70_000, 99)
    const medium = decodedAudio({ sampleRate: RATE, samples: withSilence(samples, 4000) })
    const audio = open([], 'seen', true, false)
    audio.append(samples)
    audio.mayEnd(4000, medium.contentKey)
    await settled()
    const image = decodedImage({ width: 64, height: 32, data: new Uint8Array(64 * 32 * 3).fill(90) })
    const messages: GenerationMessage[] = [
      {
        role: 'user',
        content: [
          { type: 'image', image },
          { type: 'audio', audio: medium },
        ],
      },
    ]
    const { encoded } = await complete(audio, medium, messages, 'seen', true)
    expect(encoded).toEqual([])
  })

  it('prefills in a pause only what is not prefilled yet', async () => {
    const audio = open([], 'pause', true)
    audio.append(speech(16.5 * RATE))
    await settled()
    const { thinker } = hosted.parts.model
    const forward = thinker.forward.bind(thinker)
    let run = 0
    thinker.forward = (inputs, signal) => {
      for (const { tokenIds } of inputs) run += tokenIds.length
      return forward(inputs, signal)
    }
    audio.mayEnd(8000, 'a second after the last window')
    await settled()
    thinker.forward = forward
    expect(run).toBeGreaterThan(10)
    expect(run).toBeLessThan(60)
    audio[Symbol.dispose]()
  })

  it('ends in other samples than the announced silence', async () => {
    const medium = decodedAudio({ sampleRate: RATE, samples: speech(30_000, 7) })
    const audio = open([], 'other end', true)
    audio.append(speech(20_000, 7))
    audio.mayEnd(4000, 'what did not come')
    await settled()
    audio.append(speech(30_000, 7).subarray(20_000))
    await complete(audio, medium, [turnOf(medium)], 'other end', true)
  })

  it('has a reply without speech', async () => {
    const { cached, total } = await arriving(speech(9 * RATE), [], false)
    expect(cached / total).toBeGreaterThan(0.6)
  })

  it('is used only in its own scope, and dropped when disposed', async () => {
    const medium = decodedAudio({ sampleRate: RATE, samples: speech(9 * RATE, 5) })
    const kept = hosted.runtime.cached.mediaBytes
    const audio = open([], 'mine', false)
    audio.append(speech(9 * RATE, 5))
    await settled()
    audio.complete(medium.contentKey)
    const other = await readReply(hosted.runtime, ask([turnOf(medium)], 'yours', false))
    expect(other.usage.prompt?.cached).toBeUndefined()
    expect(hosted.runtime.arriving).toBe(1)
    audio[Symbol.dispose]()
    audio.append(speech(100))
    expect(hosted.runtime.arriving).toBe(0)
    expect(hosted.runtime.cached.mediaBytes).toBeGreaterThanOrEqual(kept)
  })
})

function withSilence(samples: Float32Array, silence: number): Float32Array {
  const all = new Float32Array(samples.length + silence)
  all.set(samples)
  return all
}

function turnOf(audio: ReturnType<typeof decodedAudio>): GenerationMessage {
  return { role: 'user', content: [{ type: 'audio', audio }] }
}

/** Counts the mel frames that the encoder computes for requests from now on, window by window. */
function watchEncoder({ parts }: OpenHostedModel): () => number[] {
  const encoder = parts.model.audioEncoder!
  const original = encoder.encode.bind(encoder)
  const frames: number[] = []
  encoder.encode = (mel, count, options) => {
    let known = 0
    for (let from = 0; from < count; from += encoder.windows!.frames)
      if (options?.ahead?.window(from)) known += encoder.windows!.frames
    frames.push(count - known)
    return original(mel, count, options)
  }
  return () => {
    encoder.encode = original
    return frames
  }
}
