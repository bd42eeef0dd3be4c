/** As many sequences in one step as the front door lets in: the graph has room for each, and each gets what it gets alone. */

import { afterAll, beforeAll, expect, it } from 'vitest'

import { largestDifference } from '../../../testing/golden.ts'
import { loadTinyModel, type TinyModel } from '../../../testing/tiny-model.ts'

const MANY = 64

let tiny: TinyModel

beforeAll(async () => {
  tiny = await loadTinyModel('tiny-moe')
})

afterAll(async () => {
  // Sequences are released in the backend's queue.
  await tiny.model.thinker.embed(Int32Array.of(0))
  tiny[Symbol.dispose]()
})

it('the thinker steps many sequences at once', async () => {
  const { thinker } = tiny.model
  using stack = new DisposableStack()
  const first = {
    tokenIds: Int32Array.of(65),
    positions: Float32Array.of(0, 0, 0),
    logits: 'last',
    hidden: false,
  } as const
  using alone = thinker.newSequence(8)
  const [wanted] = await thinker.forward([{ sequence: alone, ...first }])
  const outputs = await thinker.forward(
    Array.from({ length: MANY }, () => ({ sequence: stack.use(thinker.newSequence(8)), ...first })),
  )
  expect(outputs).toHaveLength(MANY)
  for (const { logits } of outputs) expect(largestDifference(logits!, wanted!.logits!)).toBeLessThan(2e-5)
})

it('the talker steps many sequences at once', async () => {
  const talker = tiny.model.talker!
  using stack = new DisposableStack()
  const embeddings = Float32Array.from({ length: talker.hiddenSize }, (_, i) => Math.sin(i))
  const first = { embeddings, positions: Float32Array.of(0, 0, 0) }
  using alone = talker.newSequence(8)
  const [wanted] = await talker.forward([{ sequence: alone, ...first }])
  const outputs = await talker.forward(
    Array.from({ length: MANY }, () => ({ sequence: stack.use(talker.newSequence(8)), ...first })),
  )
  expect(outputs).toHaveLength(MANY)
  for (const { logits } of outputs) expect(largestDifference(logits, wanted!.logits)).toBeLessThan(2e-5)
})
