/**
 * The second turn of a conversation, with and without the prefix cache: time to first token, the same request,
 * alternating.
 *
 * The history has 1,500 tokens of text, an image and 20 s of audio. The checkpoint is `models/nano`, or the folder or
 * file in `OMNISERVE_BENCH_CHECKPOINT`; it runs in this process. Text only is compared with node-llama-cpp in
 * `engine-dense.ts`.
 */

import { existsSync } from 'node:fs'
import { join } from 'node:path'

import type { AudioMedium, GenerationMessage, GenerationRequest, ImageMedium } from '../src/contract/index.ts'
import { loadHostedModel } from '../src/engines/local/load-model.ts'
import type { HostedModel } from '../src/engines/local/process-host.ts'
import { decodedAudio, decodedImage } from '../testing/decoded-media.ts'
import { type Benchmark, median, type Row, round } from './harness.ts'

const checkpoint = process.env['OMNISERVE_BENCH_CHECKPOINT'] ?? join(import.meta.dirname, '..', 'models', 'nano')
const historyTokens = 1500

interface Turn {
  /** Milliseconds to the first text. */
  readonly first: number
  readonly text: string
  readonly total: number
  readonly cached: number
}

/** Runs a request to its end. */
async function run(hosted: HostedModel, request: GenerationRequest, signal: AbortSignal): Promise<Turn> {
  const begun = performance.now()
  let first: number | undefined
  let text = ''
  let usage = { total: 0, cached: 0 }
  for await (const event of hosted.runtime.generate(request, signal)) {
    if (event.type === 'text-delta') {
      first ??= performance.now() - begun
      text += event.text
    }
    if (event.type === 'start') usage = { total: event.prompt?.total ?? 0, cached: event.prompt?.cached ?? 0 }
  }
  return { first: first ?? performance.now() - begun, text, ...usage }
}

let number = 0

function ask(messages: readonly GenerationMessage[], scope: string | undefined): GenerationRequest {
  number += 1
  return {
    id: `bench ${number}`,
    model: 'bench',
    messages,
    sampling: { temperature: 0, topP: 1, presencePenalty: 0, repetitionPenalty: 1, seed: 1 },
    maxTokens: 24,
    stop: [],
    ...(scope !== undefined && { cacheScope: scope }),
  }
}

function image(): ImageMedium {
  const [width, height] = [448, 336]
  const data = Uint8Array.from({ length: width * height * 3 }, (_, at) => (at * 7 + (at >> 9) * 13) & 255)
  return decodedImage({ width, height, data })
}

function audio(seconds: number): AudioMedium {
  const samples = Float32Array.from(
    { length: 16_000 * seconds },
    (_, at) => Math.sin(at / 12 + 3 * Math.sin(at / 4000)) / 4,
  )
  return decodedAudio({ sampleRate: 16_000, samples })
}

/** A first user turn with this many tokens of text, after `media`. */
async function firstTurn(
  hosted: HostedModel,
  media: GenerationMessage['content'],
  signal: AbortSignal,
): Promise<GenerationMessage> {
  const sentence = 'The lighthouse keeper wrote down the weather, the ships that passed and what the sea had brought. '
  const turn = (times: number): GenerationMessage => ({
    role: 'user',
    content: [...media, { type: 'text', text: `${sentence.repeat(times)}What is this about?` }],
  })
  let times = 1
  for (;;) {
    const { text = 0 } = await hosted.runtime.countPrompt(ask([turn(times)], undefined), signal)
    if (text >= historyTokens) return turn(times)
    times += Math.max(1, Math.floor(((historyTokens - text) / text) * times))
  }
}

async function compare(
  name: string,
  hosted: HostedModel,
  media: GenerationMessage['content'],
  rounds: number,
  signal: AbortSignal,
): Promise<Row> {
  const first = await firstTurn(hosted, media, signal)
  const opening = await run(hosted, ask([first], undefined), signal)
  const second: GenerationMessage[] = [
    first,
    { role: 'assistant', content: [{ type: 'text', text: opening.text }] },
    { role: 'user', content: [{ type: 'text', text: 'And what happened then?' }] },
  ]
  const times: Turn[][] = [[], []]
  for (let round = 0; round < rounds; round += 1) {
    const scope = `${name} ${round}`
    await run(hosted, ask([first], scope), signal)
    const reused = await run(hosted, ask(second, scope), signal)
    const fresh = await run(hosted, ask(second, undefined), signal)
    if (reused.text !== fresh.text) throw new Error(`the replies differ: '${reused.text}' and '${fresh.text}'`)
    times[0]!.push(reused)
    times[1]!.push(fresh)
  }
  const [reused = 0, fresh = 0] = times.map((turns) => median(turns.map((turn) => turn.first)))
  const ratios = times[0]!.map((turn, round) => turn.first / times[1]![round]!.first)
  const { total, cached } = times[0]![0]!
  return {
    case: name,
    'prompt tokens': total,
    reused: cached,
    'first token with reuse ms': round(reused),
    'without ms': round(fresh),
    ratio: round(median(ratios)),
    'worst ratio': round(Math.max(...ratios)),
  }
}

export const benchmark: Benchmark = {
  name: 'conversation-reuse',
  title: 'first token of the second turn of a conversation, with and without what the first turn left',
  async run(context) {
    const { quick, signal } = context
    if (!existsSync(checkpoint)) throw new Error(`there is no checkpoint at ${checkpoint}`)
    const threads = process.env['OMNISERVE_BENCH_THREADS']
    const hosted = await loadHostedModel(
      { checkpoint, id: 'bench', ...(threads !== undefined && { threads: Number(threads) }) },
      () => undefined,
    )
    try {
      const rows: Row[] = []
      const rounds = quick ? 1 : 5
      const kinds: [string, GenerationMessage['content']][] = [
        ['text', []],
        [
          'text, image, 20 s of audio',
          [
            { type: 'image', image: image() },
            { type: 'audio', audio: audio(20) },
          ],
        ],
      ]
      for (const [name, media] of kinds) {
        context.log(`  ${name}`)
        rows.push(await compare(name, hosted, media, rounds, signal))
      }
      return rows
    } finally {
      await hosted.runtime.close()
      hosted.dispose()
    }
  },
}
