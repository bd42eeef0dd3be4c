/**
 * Speech step by step: chunked prompts, text before or after its hidden states, replies that end, fail or are
 * cancelled.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { readGolden, type Golden } from '../../../../testing/golden.ts'
import { qwen25Prompt, type Qwen25Case, type Qwen25Facts, type Tiny25Config } from '../../../../testing/qwen25-goldens.ts'
import { loadTiny25Model, type TinyModel } from '../../../../testing/tiny-model.ts'
import type { PreparedPrompt } from '../../../prompt/prepared-prompt.ts'
import { MemoryBudget } from '../../memory-budget.ts'
import type { SpeechBatchMember } from '../../speech.ts'
import type { Qwen25OmniModel } from '../model.ts'
import type { Qwen25Speech } from './pipeline.ts'
import type { TalkerReply } from './reply.ts'

let tiny: TinyModel<Qwen25OmniModel>
let golden: Golden<Qwen25Facts>
let speech: Qwen25Speech
const budget = new MemoryBudget(1e9)

beforeAll(async () => {
  tiny = await loadTiny25Model('tiny25-grouped', { speech: { exact: true, maxFrames: 26 }, budget })
  golden = await readGolden<Qwen25Facts>('tiny25-grouped')
  speech = tiny.model.speech!
})

afterAll(() => {
  tiny[Symbol.dispose]()
})

interface Speaking extends SpeechBatchMember, Disposable {
  readonly reply: TalkerReply
  readonly codes: number[]
  cancelled: boolean
  over: boolean
  waits: number
  failure: unknown
}

/** Hidden states of a case's prompt and answer, from the thinker. */
async function read(recorded: Qwen25Case): Promise<{ prompt: PreparedPrompt; hidden: Float32Array[] }> {
  const { thinker } = tiny.model
  const given = qwen25Prompt(golden, recorded, tiny.config as unknown as Tiny25Config)
  using sequence = thinker.newSequence(4000)
  const [first] = await thinker.forward([{ sequence, ...given, logits: 'none', hidden: true }])
  const hidden = [first!.hidden!]
  for (const [i, id] of recorded.textTokens.slice(0, -1).entries()) {
    const at = recorded.nextPosition + i
    const positions = Float32Array.of(at, at, at)
    const tokenIds = Int32Array.of(id)
    const [output] = await thinker.forward([{ sequence, tokenIds, positions, logits: 'none', hidden: true }])
    hidden.push(output!.hidden!)
  }
  const prompt: PreparedPrompt = {
    ...given,
    nextPosition: recorded.nextPosition,
    features: [],
    insideReasoning: false,
    usage: { total: given.tokenIds.length },
  }
  return { prompt, hidden }
}

function begin(prompt: PreparedPrompt, speaker: string): Speaking {
  const reply = speech.newReply({ prompt, speaker, seed: 1 })
  const turn: Speaking = {
    reply,
    codes: [],
    cancelled: false,
    get inactive() {
      return turn.cancelled || turn.failure !== undefined
    },
    over: false,
    waits: 0,
    failure: undefined,
    canMakeFrame: true,
    addFrame: (codes) => void turn.codes.push(...codes),
    endFrames: () => void (turn.over = true),
    waitForMemory: () => void (turn.waits += 1),
    fail: (error) => void (turn.failure = error),
    [Symbol.dispose]() {
      reply[Symbol.dispose]()
      reply.vocoder[Symbol.dispose]()
    },
  }
  return turn
}

const find = (name: string): Qwen25Case => golden.facts.cases.find((recorded) => recorded.name === name)!
const signal = new AbortController().signal

async function finish(turns: readonly Speaking[], prefillRows: number): Promise<void> {
  for (let step = 0; turns.some((turn) => !turn.over && turn.failure === undefined); step++) {
    if (step > 2000) throw new Error('the replies do not end')
    expect(turns.some(({ over, reply }) => !over && reply.canAdvance(true))).toBe(true)
    await speech.advance(
      turns.filter(({ over }) => !over),
      { prefillRows, signal },
    )
  }
}

describe('a reply', () => {
  it.each([7, 64, 4096])('generates the same codes if the prompt is prefilled %d rows at a time', async (rows) => {
    const recorded = find('image')
    const { prompt, hidden } = await read(recorded)
    using turn = begin(prompt, 'chelsie' === recorded.speaker?.toLowerCase() ? 'chelsie' : 'ethan')
    turn.reply.takeHidden(0, hidden[0]!.slice(0, 10 * 64))
    turn.reply.takeHidden(10, hidden[0]!.slice(10 * 64))
    expect(turn.reply.canAdvance(true)).toBe(false)
    const text = recorded.textTokens.slice(0, -1)
    for (const [i, id] of text.entries()) {
      turn.reply.addText([{ id, row: prompt.tokenIds.length + i }])
      // A token's hidden state comes a step after it was sampled.
      if (i === 0) expect(turn.reply.canAdvance(true)).toBe(false)
      turn.reply.takeHidden(prompt.tokenIds.length + i, hidden[1 + i]!)
    }
    turn.reply.endText()
    await finish([turn], rows)
    expect(turn.failure).toBeUndefined()
    expect(turn.codes).toEqual(recorded.codes)
  })

  it('waits for text between codes, and continues when it arrives', async () => {
    const recorded = find('text')
    const { prompt, hidden } = await read(recorded)
    using turn = begin(prompt, recorded.speaker!.toLowerCase())
    turn.reply.takeHidden(0, hidden[0]!)
    for (const [i, id] of recorded.textTokens.slice(0, -1).entries()) {
      // Here hidden states come first: text held back by a stop string is spoken later.
      turn.reply.takeHidden(prompt.tokenIds.length + i, hidden[1 + i]!)
      turn.reply.addText([{ id, row: prompt.tokenIds.length + i }])
      for (let step = 0; turn.reply.canAdvance(true) && step < 500; step++)
        await speech.advance([turn], { prefillRows: 4096, signal })
      expect(turn.codes.length).toBe(i)
    }
    turn.reply.endText()
    await finish([turn], 4096)
    expect(turn.codes).toEqual(recorded.codes)
    expect(turn.reply.audioTokens).toBe(13)
  })

  it('speaks text without a row, and a last token that is never run', async () => {
    const recorded = find('text')
    const { prompt, hidden } = await read(recorded)
    using turn = begin(prompt, 'ethan')
    turn.reply.takeHidden(0, hidden[0]!)
    turn.reply.addText([{ id: 65 }, { id: 66, row: prompt.tokenIds.length }])
    expect(turn.reply.canAdvance(true)).toBe(true)
    turn.reply.endText()
    await finish([turn], 4096)
    expect(turn.codes.length).toBeGreaterThan(0)
  })

  it('has no code that the vocoder cannot decode', async () => {
    const recorded = find('audio')
    const { prompt, hidden } = await read(recorded)
    using turn = begin(prompt, 'ethan')
    turn.reply.takeHidden(0, hidden[0]!)
    turn.reply.addText([{ id: 70 }])
    turn.reply.endText()
    await finish([turn], 4096)
    expect(Math.max(...turn.codes)).toBeLessThan(64)
  })
})

describe('several replies', () => {
  it('generate concurrently what each generates by itself; an aborted or failed one does not end the others', async () => {
    const cases = ['text', 'image', 'audio'].map(find)
    using stack = new DisposableStack()
    const turns: Speaking[] = []
    for (const recorded of cases) {
      const { prompt, hidden } = await read(recorded)
      const turn = stack.use(begin(prompt, recorded.speaker!.toLowerCase()))
      turn.reply.takeHidden(0, hidden[0]!)
      for (const [i, id] of recorded.textTokens.slice(0, -1).entries()) {
        turn.reply.takeHidden(prompt.tokenIds.length + i, hidden[1 + i]!)
        turn.reply.addText([{ id, row: prompt.tokenIds.length + i }])
      }
      turn.reply.endText()
      turns.push(turn)
    }
    const { prompt } = await read(cases[0]!)
    const gone = stack.use(begin(prompt, 'ethan'))
    gone.cancelled = true
    gone.reply.takeHidden(0, new Float32Array(prompt.tokenIds.length * 64))
    gone.reply.addText([{ id: 1 }])
    for (let step = 0; step < 5; step++) await speech.advance([gone, ...turns], { prefillRows: 50, signal })
    await finish(turns, 50)
    for (const [i, { codes }] of turns.entries()) expect(codes, cases[i]!.name).toEqual(cases[i]!.codes)
    expect(gone.codes).toEqual([])
    expect(gone.failure).toBeUndefined()
  })

  it('that do not fit into memory wait without delaying others', async () => {
    const recorded = find('text')
    const { prompt, hidden } = await read(recorded)
    using stack = new DisposableStack()
    const [first, second] = [stack.use(begin(prompt, 'chelsie')), stack.use(begin(prompt, 'ethan'))]
    for (const { reply } of [first, second]) {
      reply.takeHidden(0, hidden[0]!.slice())
      reply.addText([{ id: 65 }, { id: 66 }, { id: 67 }])
      reply.endText()
    }
    await speech.advance([first], { prefillRows: 4096, signal })
    const taken = budget.free
    expect(budget.acquire(taken)).toBe(true)
    await speech.advance([first, second], { prefillRows: 4096, signal })
    expect([first.waits, second.waits]).toEqual([0, 1])
    expect([first.failure, second.failure]).toEqual([undefined, undefined])
    expect(first.codes).toHaveLength(1)
    budget.release(taken)
    await finish([first, second], 4096)
    expect(second.codes.length).toBeGreaterThan(1)
  })

  it.each([5, 4096])('that release their memory continue with the same codes, %d rows at a time', async (rows) => {
    const recorded = find('image')
    const { prompt, hidden } = await read(recorded)
    const codes = []
    for (const yields of [false, true]) {
      using turn = begin(prompt, 'ethan')
      const used = budget.used
      turn.reply.takeHidden(0, hidden[0]!)
      turn.reply.addText([{ id: 65 }, { id: 66 }, { id: 67 }])
      turn.reply.endText()
      for (let step = 0; !turn.over; step += 1) {
        // In the middle of its prompt, after its opening, and when it has said some.
        if (yields && [1, 3, 17, 30].includes(step)) {
          expect(turn.reply.preempt()).toBe(true)
          expect([turn.reply.cacheBytes, budget.used]).toEqual([0, used])
          expect(turn.reply.preempt()).toBe(false)
        }
        await speech.advance([turn], { prefillRows: rows, signal })
        expect(turn.failure).toBeUndefined()
        if (step > 2000) throw new Error('the reply does not end')
      }
      codes.push(turn.codes)
    }
    expect(codes[0]!.length).toBeGreaterThan(20)
    expect(codes[1]).toEqual(codes[0])
  })

  it('fail with the step that was aborted', async () => {
    const recorded = find('text')
    const { prompt, hidden } = await read(recorded)
    using turn = begin(prompt, 'ethan')
    turn.reply.takeHidden(0, hidden[0]!)
    turn.reply.addText([{ id: 65 }])
    const abort = new AbortController()
    abort.abort(new Error('enough'))
    await speech.advance([turn], { prefillRows: 10, signal: abort.signal })
    await speech.advance([turn], { prefillRows: 10, signal: abort.signal })
    expect(turn.failure).toEqual(new Error('enough'))
  })
})

it('lists the voices', () => {
  expect(speech.speakers).toEqual(['chelsie', 'ethan'])
  expect(speech.hiddenRows).toBe('all')
  const prompt = { tokenIds: new Int32Array(1), positions: new Float32Array(3) } as PreparedPrompt
  expect(() => speech.newReply({ prompt, speaker: 'cherry', seed: 1 })).toThrow(/no voice cherry; it has chelsie, ethan/)
})
