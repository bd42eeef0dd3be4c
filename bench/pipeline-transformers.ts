/**
 * A whole reply, text and speech, here and in transformers on the CPU (see whole-reply.ts).
 *
 * Needs Python with `reference/requirements.txt` for the peer and to make the checkpoint; fails with a message when it
 * is missing. transformers returns no audio before the end.
 */

import { availableParallelism } from 'node:os'

import type { WeightType } from '../src/weights/index.ts'
import type { Benchmark } from './harness.ts'
import * as reply from './whole-reply.ts'

async function peer(folder: string, dtype: string, threads: number, signal: AbortSignal): Promise<reply.Timing> {
  const counts = ['--text-tokens', reply.textTokens, '--frames', reply.frames, '--threads', threads].map(String)
  const module = ['-m', 'omniserve_reference.time_generate']
  return reply.timingIn(
    await reply.python(signal, [...module, folder, ...counts, '--dtype', dtype, '--prompt', reply.prompt]),
  )
}

export const benchmark: Benchmark = {
  name: 'pipeline-transformers',
  title: 'a whole reply, text and speech, against transformers on the CPU',
  long: true,
  run: async (context) => {
    const { quick, signal } = context
    const folder = await reply.middleCheckpoint(context)
    const threads = availableParallelism()
    const kinds: readonly (WeightType | undefined)[] = quick ? [undefined, 'q8_0'] : [undefined, 'f32', 'q8_0']
    const dtypes = quick ? ['float32'] : ['float32', 'bfloat16']
    const here: reply.Runs = new Map()
    const there: reply.Runs = new Map()
    for (let turn = 0; turn < (quick ? 1 : 3); turn++) {
      for (const kind of kinds)
        reply.record(
          here,
          `omniserve, ${kind ?? 'as stored (bf16)'}`,
          await reply.timeOurs(folder, kind, threads, signal),
        )
      for (const dtype of dtypes)
        reply.record(there, `transformers, ${dtype}`, await peer(folder, dtype, threads, signal))
      context.log(`  turn ${turn + 1} done`)
    }
    return reply.compare(here, there)
  },
}
