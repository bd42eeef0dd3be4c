/**
 * A whole reply, text and speech, here and in transformers on the CPU (see whole-reply.ts).
 *
 * Needs Python with `reference/requirements.txt` for the peer and to make the checkpoint; fails with a message when it
 * is missing. transformers returns no audio before the end.
 */

import type { Benchmark } from './harness.ts'
import { compare, middleCheckpoint, timePeer, type Way } from './whole-reply.ts'

export const benchmark: Benchmark = {
  name: 'pipeline-transformers',
  title: 'a whole reply, text and speech, against transformers on the CPU',
  long: true,
  run: async (context) => {
    const { quick, signal } = context
    const folder = await middleCheckpoint(context)
    const peers = (quick ? ['float32'] : ['float32', 'bfloat16']).map((dtype): Way => ({
      name: `transformers, ${dtype}`,
      time: () => timePeer('time_generate', folder, ['--dtype', dtype], signal),
    }))
    return compare(context, folder, quick ? [undefined, 'q8_0'] : [undefined, 'f32', 'q8_0'], peers)
  },
}
