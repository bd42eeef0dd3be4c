import { expect, it } from 'vitest'
import { VocoderSlots } from './vocoder-slots.ts'

const wanted = new AbortController().signal
const turnOfLoop = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

it('gives slots to the most urgent, as it is when one becomes free', async () => {
  const slots = new VocoderSlots(1)
  const order: string[] = []
  const ahead = { first: -Infinity, late: -1, early: 0.5, changed: 3 }
  const piece = async (name: keyof typeof ahead): Promise<void> => {
    using _place = await slots.acquire(() => ahead[name], wanted)
    order.push(name)
    await turnOfLoop()
  }
  const begun = slots.acquire(() => 0, wanted)
  const pieces = (['early', 'late', 'changed', 'first'] as const).map(piece)
  ahead.changed = 0
  const place = await begun
  expect(order).toEqual([])
  place[Symbol.dispose]()
  await Promise.all(pieces)
  expect(order).toEqual(['first', 'late', 'changed', 'early'])
})

it('has a number of slots, and gets them back', async () => {
  const slots = new VocoderSlots(2)
  for (let round = 0; round < 3; round += 1) {
    const taken = await Promise.all([slots.acquire(() => 0, wanted), slots.acquire(() => 0, wanted)])
    let third = false
    const waiting = (async () => {
      using _place = await slots.acquire(() => 0, wanted)
      third = true
    })()
    await turnOfLoop()
    expect(third).toBe(false)
    for (const place of taken) place[Symbol.dispose]()
    await waiting
  }
})

it('lets go of a piece that is given up while it waits', async () => {
  const slots = new VocoderSlots(1)
  const first = await slots.acquire(() => 0, wanted)
  const controller = new AbortController()
  const second = slots.acquire(() => -1, controller.signal)
  const third = slots.acquire(() => 0, wanted)
  controller.abort(new Error('gone'))
  await expect(second).rejects.toThrow('gone')
  first[Symbol.dispose]()
  ;(await third)[Symbol.dispose]()
  await expect(slots.acquire(() => 0, controller.signal)).rejects.toThrow('gone')
  ;(await slots.acquire(() => 0, wanted))[Symbol.dispose]()
})
