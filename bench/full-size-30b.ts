/**
 * The whole of Qwen3-Omni-30B-A3B, random 4-bit weights, in the engine as it is served: loads, answers in text and in speech.
 *
 * The file (about 20 GB) is written once per run and deleted. Weights stay mapped and unchanged, so pages that
 * memory has no room for are read again from disk: the table says how much was. `OMNISERVE_BENCH_DIR` is the folder.
 */

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { freemem } from 'node:os'
import { join } from 'node:path'

import type { EngineEvent, GenerationRequest } from '../src/contract/index.ts'
import { createLocalEngine } from '../src/engines/local/local-engine.ts'
import { type FullSizeFile, writeFullSize } from './full-size-file.ts'
import { type Benchmark, type Row, round } from './harness.ts'

const request = (id: string, maxTokens: number, speech: boolean): GenerationRequest => ({
  id,
  model: 'full-size',
  messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello! Please tell me who you are.' }] }],
  sampling: { temperature: 0, topP: 1, presencePenalty: 0, repetitionPenalty: 1, seed: 1 },
  maxTokens,
  stop: [],
  ...(speech && { speech: { voice: 'Ethan' } }),
})

function statusOf(id: number | undefined): Record<string, number> {
  const text = readFileSync(`/proc/${id}/status`, 'utf8')
  const io = readFileSync(`/proc/${id}/io`, 'utf8')
  const found: Record<string, number> = { read: Number(/read_bytes: (\d+)/.exec(io)?.[1] ?? 0) }
  for (const name of ['VmHWM', 'RssAnon', 'RssFile'])
    found[name] = Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text)?.[1] ?? 0) * 1024
  return found
}

const GB = 1e9

export const benchmark: Benchmark = {
  name: 'full-size-30b',
  title: 'the whole Qwen3-Omni-30B-A3B geometry with random 4-bit weights answers in text and speech',
  long: true,
  run: async (context) => {
    const { directory, signal, quick } = context
    const log = (text: string): void => context.log(text)
    const path = join(directory, 'full-size-30b.gguf')
    const rows: Row[] = []
    const kept = process.env['OMNISERVE_BENCH_KEEP'] !== undefined
    try {
      let file: FullSizeFile | undefined
      if (!kept || !existsSync(path)) {
        const begun = performance.now()
        file = await writeFullSize(path, 'q4_0', signal)
        log(`  written in ${Math.round((performance.now() - begun) / 1000)} s`)
        rows.push({
          case: 'file',
          GB: file.bytes / GB,
          'billion weights': file.parameters / 1e9,
          'GB read per text token': file.bytesPerToken / GB,
        })
      }
      const free = process.availableMemory() / GB
      const begun = performance.now()
      await using engine = await open(path, signal, log)
      rows.push({ case: 'load', seconds: (performance.now() - begun) / 1000, 'free GB before': round(free) })
      const { processId } = engine
      for (const [what, tokens, speech] of [
        ['text, cold', 4, false],
        ['text', quick ? 4 : 16, false],
        ['text and speech', quick ? 4 : 8, true],
      ] as const) {
        const before = statusOf(processId)
        const row = await timed(engine.generate(request(what, tokens, speech), signal))
        const after = statusOf(processId)
        rows.push({
          case: what,
          ...row,
          'GB read from disk': ((after['read'] ?? 0) - (before['read'] ?? 0)) / GB,
          'peak resident GB': (after['VmHWM'] ?? 0) / GB,
          'of its own GB': (after['RssAnon'] ?? 0) / GB,
        })
        log(`  ${JSON.stringify(rows.at(-1))}, free ${(freemem() / GB).toFixed(1)} GB`)
      }
      return rows
    } finally {
      if (!kept) await Promise.all([rm(path, { force: true }), rm(`${path}.partial`, { force: true })])
    }
  },
}

async function open(
  checkpoint: string,
  signal: AbortSignal,
  log: (text: string) => void,
): Promise<Awaited<ReturnType<typeof createLocalEngine>> & AsyncDisposable> {
  const engine = await createLocalEngine({
    checkpoint,
    id: 'full-size',
    device: 'cpu',
    signal,
    repack: false,
    // Mapped weights need not all be resident: the memory check is told of room that there is on disk.
    keepFree: -64e9,
    contextLength: 2048,
    maxSpeechFrames: 12,
    hangMilliseconds: 600_000,
    onLog: log,
  })
  // Should memory run out all the same, this process goes and nobody else's.
  if (process.platform === 'linux') writeFileSync(`/proc/${engine.processId}/oom_score_adj`, '1000')
  return Object.assign(engine, { [Symbol.asyncDispose]: () => engine.close() })
}

/** Times of one reply's events. */
async function timed(events: AsyncIterable<EngineEvent>): Promise<Omit<Row, 'case'>> {
  const begun = performance.now()
  const since = (): number => (performance.now() - begun) / 1000
  let [firstText, lastText, firstAudio, tokens, samples] = [0, 0, 0, 0, 0]
  for await (const event of events) {
    if (event.type === 'text-delta') {
      firstText ||= since()
      lastText = since()
    } else if (event.type === 'audio-delta') {
      firstAudio ||= since()
      samples += event.pcm.length
    } else if (event.type === 'end') tokens = event.usage.textTokens ?? 0
  }
  return {
    tokens,
    'first text s': firstText,
    'tokens/s': tokens > 1 && lastText > firstText ? (tokens - 1) / (lastText - firstText) : 0,
    ...(samples > 0 && {
      'first audio s': firstAudio,
      'speech s': samples / 24_000,
      RTF: since() / (samples / 24_000),
    }),
    seconds: since(),
  }
}
