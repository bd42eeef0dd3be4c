/** Sequences ask the memory budget before they grow, release what they held, and continue from cuts and copies. */

import { afterAll, beforeAll, expect, it } from 'vitest'

import { largestDifference } from '../../../testing/golden.ts'
import { loadTinyModel, type TinyModel } from '../../../testing/tiny-model.ts'
import { MemoryBudget } from '../memory-budget.ts'
import type { StageSequence, ThinkerStage } from '../stages.ts'

let tiny: TinyModel

beforeAll(async () => {
  tiny = await loadTinyModel('tiny-moe')
})

afterAll(() => {
  tiny[Symbol.dispose]()
})

/** Reads ids at positions that count on from the sequence's length; the last logits. */
async function read(thinker: ThinkerStage, sequence: StageSequence, ids: readonly number[]): Promise<Float32Array> {
  const count = ids.length
  const [output] = await thinker.forward([
    {
      sequence,
      tokenIds: Int32Array.from(ids),
      positions: Float32Array.from({ length: 3 * count }, (_, i) => sequence.length + (i % count)),
      logits: 'last',
      hidden: false,
    },
  ])
  return output!.logits!
}

const ids = (count: number, seed = 0): number[] => Array.from({ length: count }, (_, i) => (i * 7 + seed) % 300)

it('a truncated sequence and a copy continue like a new one', async () => {
  const { thinker } = tiny.model
  using first = thinker.newSequence(600)
  await read(thinker, first, ids(300))
  first.truncate(200)
  using copy = thinker.newSequence(600)
  await copy.copyFrom(first, 120)
  expect([copy.length, first.length]).toEqual([120, 200])
  using fresh = thinker.newSequence(600)
  await read(thinker, fresh, ids(120))
  const wanted = await read(thinker, fresh, ids(9, 3))
  expect(largestDifference(await read(thinker, copy, ids(9, 3)), wanted)).toBeLessThan(2e-5)
  first.truncate(120)
  expect(largestDifference(await read(thinker, first, ids(9, 3)), wanted)).toBeLessThan(2e-5)
})

it('sequences count towards the budget, and an error says what would fit', async () => {
  const budget = new MemoryBudget(1e9)
  using own = await loadTinyModel('tiny-moe', { budget })
  const { thinker } = own.model
  using first = thinker.newSequence(4000)
  expect(budget.used).toBe(0)
  await read(thinker, first, ids(200))
  const block = budget.used
  expect(block).toBeGreaterThan(0)
  expect(first.bytes).toBeLessThan(block * 1.1)
  await first.reserve(257)
  expect(budget.used).toBe(2 * block)

  // Memory for three blocks more: enough to hold five, not to grow to six.
  budget.acquire(budget.free - 3 * block)
  using second = thinker.newSequence(4000)
  await read(thinker, second, ids(250))
  await expect(second.reserve(1200)).rejects.toMatchObject({
    code: 'overloaded',
    message: expect.stringMatching(/no memory for a context of 1200 tokens: .* about 512 tokens would fit now/) as string,
  })
  // It is unchanged, and continues.
  expect([second.length, second.reserved]).toEqual([250, 256])
  await read(thinker, second, ids(3))
  await expect(read(thinker, second, ids(1000))).rejects.toMatchObject({ code: 'overloaded' })

  let woken = 0
  using listening = budget.onFreed(() => (woken += 1))
  first[Symbol.dispose]()
  expect(woken).toBeGreaterThan(0)
  await read(thinker, second, ids(200))
  expect([second.length, second.reserved]).toEqual([453, 512])
  expect(listening).toBeDefined()
})

it('the memory of a batch is reserved before it runs, so a batch that does not fit writes nothing', async () => {
  const budget = new MemoryBudget(1e9)
  using own = await loadTinyModel('tiny-moe', { budget })
  const { talker } = own.model
  if (!talker) throw new Error('tiny-moe speaks')
  using first = talker.newSequence(400)
  using second = talker.newSequence(400)
  const input = (sequence: StageSequence): Parameters<typeof talker.forward>[0][number] => ({
    sequence,
    embeddings: new Float32Array(talker.hiddenSize).fill(0.5),
    positions: new Float32Array(3),
  })
  await talker.forward([input(first)])
  budget.acquire(budget.free)
  await expect(talker.forward([input(first), input(second)])).rejects.toMatchObject({ code: 'overloaded' })
  expect([first.length, second.length]).toEqual([1, 0])
})
