/**
 * Speech through HTTP, from a small checkpoint: time to first text and first audio, real-time factor, one and up to 32
 * at once.
 *
 * The checkpoint is `models/nano`, or the folder in `OMNISERVE_BENCH_CHECKPOINT`; `OMNISERVE_BENCH_THREADS` sets the
 * threads.
 */

import { existsSync } from 'node:fs'
import { join } from 'node:path'

import { type Benchmark, median, round, type Row } from './harness.ts'
import { ask, type Reply, startServer } from './speech-client.ts'

const checkpoint = process.env['OMNISERVE_BENCH_CHECKPOINT'] ?? join(import.meta.dirname, '..', 'models', 'nano')
const threads = process.env['OMNISERVE_BENCH_THREADS']

const question = (seed: number): Record<string, unknown> => ({
  model: 'qwen3-omni-flash',
  messages: [{ role: 'user', content: 'What is your name, and what can you do? Tell me everything you know.' }],
  modalities: ['text', 'audio'],
  audio: { voice: 'Cherry', format: 'wav' },
  max_tokens: 40,
  seed,
})

const realTimeFactor = ({ total, audioSeconds }: Reply): number => total / 1000 / audioSeconds

export const benchmark: Benchmark = {
  name: 'pipeline-speech',
  title: 'speech through HTTP from a small checkpoint, alone and up to 32 at once',
  async run(context) {
    const { quick, signal } = context
    if (!existsSync(checkpoint)) throw new Error(`there is no checkpoint at ${checkpoint}`)
    await using server = await startServer(checkpoint, threads === undefined ? [] : ['--threads', threads])
    await ask(server, question(1), signal)
    const rows: Row[] = []
    for (const together of quick ? [1, 4] : [1, 2, 4, 8, 16, 32]) {
      const replies: Reply[] = []
      const factors: number[] = []
      let unfairness = 1
      for (let run = 0; run < (quick ? 1 : together > 4 ? 3 : 5); run++) {
        const begun = performance.now()
        const batch = await Promise.all(
          Array.from({ length: together }, (_, i) => ask(server, question(32 * run + i), signal)),
        )
        const wall = (performance.now() - begun) / 1000
        replies.push(...batch)
        const each = batch.map(realTimeFactor)
        unfairness = Math.max(unfairness, Math.max(...each) / Math.min(...each))
        factors.push(wall / batch.reduce((sum, { audioSeconds }) => sum + audioSeconds, 0))
        context.log(
          `  ${together} at once: ${batch.map(({ audioSeconds }) => audioSeconds.toFixed(1)).join(' + ')} s of speech in ${wall.toFixed(2)} s`,
        )
      }
      rows.push({
        case: `${together} at once`,
        'first text ms': round(median(replies.map(({ firstText }) => firstText))),
        'first audio ms': round(median(replies.map(({ firstAudio }) => firstAudio))),
        'slowest ms': round(Math.max(...replies.map(({ firstAudio }) => firstAudio))),
        'speech s': round(median(replies.map(({ audioSeconds }) => audioSeconds))),
        'RTF of a reply': round(median(replies.map(realTimeFactor))),
        'highest RTF': round(Math.max(...replies.map(realTimeFactor))),
        'highest / lowest': round(unfairness),
        'RTF of all': round(median(factors)),
        'longest silence ms': round(Math.max(...replies.map(({ silence }) => silence))),
      })
    }
    const { server: api, engine } = server.peakBytes()
    rows.push({ case: 'peak memory', 'server MB': round(api / 1e6), 'engine MB': round(engine / 1e6) })
    return rows
  },
}
