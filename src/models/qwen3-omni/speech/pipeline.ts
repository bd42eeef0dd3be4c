/**
 * Qwen3-Omni's speech. One step for all ready replies: embed text, sample one code each, predict the residual codes,
 * run the talker.
 *
 * In: the {@link SpeechBatchMember}s of a step. Out: at most one frame of codes per reply. Stage calls are batched over
 * replies, so weights are read once per step. Reference: transformers `Qwen3OmniMoeForConditionalGeneration.generate`.
 */

import { createRandom } from '../../../sampling/random.ts'
import { createSampler, type Sampler } from '../../../sampling/sampler.ts'
import type { MemoryBudget } from '../../memory-budget.ts'
import type { AdvanceOptions, SpeechPipeline, SpeechPrefill, SpeechStart, SpeechBatchMember } from '../../speech.ts'
import { guarded, reserveRows, withMemory } from '../../batch-members.ts'
import type { TalkerSampling } from '../../talker-sampling.ts'
import type { ThinkerStage } from '../../stages.ts'
import { TalkerReply } from './reply.ts'
import type { SpeechSettings } from './settings.ts'
import type { SpeechConfig, SpeechStages, TalkerInput } from './stages.ts'
import { TalkerPrefixes } from './talker-prefixes.ts'
import { openingRows, planTalkerPrompt, type TalkerPlan } from './talker-prompt.ts'
import { sum, TalkerRows } from './talker-rows.ts'

/** Random streams, separate from the text's. */
const randomStream = { talker: 2, codePredictor: 3 } as const

/** Capacity of a sequence that later replies may reuse, in rows. Memory grows as needed. */
const cachedCapacity = 2 ** 17

interface Member extends SpeechBatchMember {
  readonly reply: TalkerReply
}

/** A reply's rows in a talker step. */
interface Entry {
  readonly member: Member
  readonly input: TalkerInput
  /** The next code is sampled from the output. */
  readonly last: boolean
}

export class Qwen3Speech implements SpeechPipeline {
  readonly speakers: readonly string[]
  readonly sampleRate: number
  readonly frameRate: number
  readonly hiddenRows = 'prompt-media'
  /** The first token is part of the prefix, and each other token goes with one frame. */
  readonly minTextTokens = 1
  /** The talker may run ahead of the vocoder, within a limit. */
  readonly maxPendingFrames = 12
  readonly config: SpeechConfig
  readonly #thinker: ThinkerStage
  readonly #stages: SpeechStages
  readonly #settings: SpeechSettings
  readonly #rows: TalkerRows
  readonly #prefixes: TalkerPrefixes

  /** `budget`: the stages' memory budget; cached sequences are reclaimable in it. */
  constructor(
    thinker: ThinkerStage,
    stages: SpeechStages,
    config: SpeechConfig,
    settings: SpeechSettings,
    budget?: MemoryBudget,
  ) {
    this.#thinker = thinker
    this.#stages = stages
    this.config = config
    this.#settings = settings
    this.#prefixes = new TalkerPrefixes(budget)
    this.#rows = new TalkerRows(thinker, stages.talker, config)
    this.speakers = [...config.speakers.keys()]
    this.sampleRate = stages.code2wav.sampleRate
    this.frameRate = stages.code2wav.sampleRate / stages.code2wav.samplesPerFrame
  }

  /**
   * 2 for early audio, then 4 (320 ms). The vocoder keeps its state between chunks, so longer chunks would save nothing
   * and delay other replies.
   */
  chunkFrames(chunk: number): number {
    return chunk === 0 ? 2 : 4
  }

  get minBytes(): number {
    using sequence = this.#stages.talker.newSequence(cachedCapacity)
    return sequence.bytesFor(openingRows)
  }

  clearCache(): void {
    this.#prefixes[Symbol.dispose]()
  }

  newReply({ prompt, speaker, seed, cacheKey }: SpeechStart): TalkerReply {
    const { talker, code2wav } = this.#stages
    const { config } = this
    const { maxFrames, allowance, ...sampling } = this.#settings
    const speakerId = config.speakers.get(speaker)
    if (speakerId === undefined) throw new Error(`There is no speaker ${speaker}.`)
    const plan = planTalkerPrompt(prompt, config)
    const known = cacheKey && this.#prefixes.remove(cacheKey, plan)
    const sequence = known?.sequence ?? talker.newSequence(cacheKey ? cachedCapacity : plan.userRows.length + openingRows + maxFrames)
    try {
      return new TalkerReply({
        plan,
        tokenIds: prompt.tokenIds,
        speakerId,
        sequence,
        vocoder: code2wav.newStream(),
        sampler: stageSampler(sampling.talker, seed, randomStream.talker, config.suppressedCodecIds),
        codeSampler: stageSampler(sampling.codePredictor, seed, randomStream.codePredictor),
        maxFrames,
        allowance,
        thinkerHidden: this.#thinker.hiddenSize,
        prefilled: known?.rows ?? 0,
        ...(cacheKey && { onEnd: (rows: number) => this.#prefixes.add(cacheKey, plan, rows, sequence) }),
      })
    } catch (error) {
      sequence[Symbol.dispose]()
      throw error
    }
  }

  async prefill({ prompt, cacheKey, until, hidden, rows, pause, signal }: SpeechPrefill): Promise<void> {
    const { talker } = this.#stages
    const plan = planTalkerPrompt(prompt, this.config)
    const known = this.#prefixes.remove(cacheKey, plan)
    const sequence = known?.sequence ?? talker.newSequence(cachedCapacity)
    const total = plan.userRows.length
    const most = plan.userRows.findLastIndex((row) => row < until) + 1
    const mediaHidden = hiddenOfMedia(plan, hidden, this.#thinker.hiddenSize)
    let read = known?.rows ?? 0
    try {
      while (read < most) {
        const next = Math.min(most, read + Math.max(1, rows()))
        const embeddings = await this.#rows.userRows(plan, prompt.tokenIds, mediaHidden, read, next)
        const positions = new Float32Array(3 * (next - read))
        for (let axis = 0; axis < 3; axis += 1) {
          const start = axis * (total + openingRows)
          positions.set(plan.positions.subarray(start + read, start + next), axis * (next - read))
        }
        await sequence.reserve(next)
        await talker.forward([{ sequence, embeddings, positions }], signal)
        read = next
        if (read < most) await pause()
      }
    } finally {
      // Rows of a failed step are not in the sequence.
      this.#prefixes.add(cacheKey, plan, read, sequence)
    }
  }

  async advance(given: readonly SpeechBatchMember[], { prefillRows, signal, onStep }: AdvanceOptions): Promise<void> {
    const members = given.map(ownMember)
    await guarded(members, () => this.#embedText(members))
    const live = members.filter(({ inactive, reply }) => !inactive && !reply.ended)
    const speaking = live.filter(({ canMakeFrame, reply }) => canMakeFrame && reply.prefillComplete && !reply.pending && reply.hasText)
    await guarded(speaking, () => this.#makeFrames(speaking, signal, onStep))
    // Memory is reserved separately for each reply, so that only a reply without memory waits.
    const grown = await withMemory(
      live.filter(({ reply }) => reply.prefillComplete && reply.pending && !reply.ended).map((member) => ({ member })),
      ({ member: { reply } }) => reserveRows(reply, reply.options.sequence.length + 1),
    )
    const inputs: Entry[] = grown.map(({ member }) => ({ member, input: takePending(member.reply), last: true }))
    let rows = prefillRows
    for (const member of live) {
      if (rows <= 0) break
      if (member.inactive || member.reply.prefillComplete || !member.reply.canPrefill(member.canMakeFrame)) continue
      for (const { member: reserved } of await withMemory([{ member }], () => reserveRows(member.reply, member.reply.prefixRows)))
        await guarded([reserved], async () => {
          const { input, last } = await this.#prefixInput(reserved.reply, rows)
          rows -= input.embeddings.length / this.#stages.talker.hiddenSize
          inputs.push({ member: reserved, input, last })
        })
    }
    const wanted = inputs.filter(({ member }) => !member.inactive && !member.reply.ended)
    if (wanted.length === 0) return
    await guarded(
      wanted.map(({ member }) => member),
      async () => {
        onStep?.('talker')
        const outputs = await this.#stages.talker.forward(
          wanted.map(({ input }) => input),
          signal,
        )
        onStep?.(undefined)
        wanted.forEach(({ member: { reply }, last }, index) => {
          const output = outputs[index]!
          reply.prefillComplete ||= last
          // After a recomputation, the next code or its input is already known.
          if (!last || reply.pending || reply.logits) return
          reply.logits = output.logits
          reply.hidden = output.hidden
        })
      },
    )
  }

  /** Embeds the new text, in one call for all replies. */
  async #embedText(members: readonly Member[]): Promise<void> {
    const ids = members.flatMap(({ reply }) => reply.pendingIds)
    if (ids.length === 0) return
    const rows = await this.#rows.text(ids)
    let row = 0
    for (const { reply } of members) {
      const count = reply.pendingIds.length
      reply.pendingIds = []
      for (const one of rows.slice(row, row + count)) reply.addTextRow(one)
      row += count
    }
  }

  /**
   * Samples each reply's next code and predicts its residual codes. Replies that continue get a pending talker input.
   */
  async #makeFrames(
    members: readonly Member[],
    signal: AbortSignal,
    onStep: AdvanceOptions['onStep'],
  ): Promise<void> {
    const continuing: { member: Member; code: number }[] = []
    for (const member of members) {
      const { reply } = member
      const code = reply.options.sampler(reply.logits!)
      reply.sampled += 1
      reply.logits = undefined
      if (code === this.config.codecEosId || reply.sampled >= reply.frameLimit) {
        reply.ended = true
        member.endFrames()
      } else continuing.push({ member, code })
    }
    if (continuing.length === 0) return
    const after = await this.#rows.afterText()
    onStep?.('code-predictor')
    const predicted = await this.#stages.codePredictor.predict(
      continuing.map(({ member: { reply }, code }) => ({
        hidden: reply.hidden!,
        firstCode: code,
        sample: reply.options.codeSampler,
      })),
      signal,
    )
    onStep?.(undefined)
    for (const [index, { member, code }] of continuing.entries()) {
      const { reply } = member
      const { codes, embeddingSum } = predicted[index]!
      const frame = new Int32Array(this.config.codeGroups)
      frame[0] = code
      frame.set(codes, 1)
      const position = reply.options.plan.nextPosition + reply.frameCount
      reply.frameCount += 1
      member.addFrame(frame)
      reply.pending = {
        sequence: reply.options.sequence,
        embeddings: sum(embeddingSum, reply.nextText(after)),
        positions: Float32Array.of(position, position, position),
      }
    }
  }

  /**
   * The next rows of the talker's prefix: user turns, then the opening (in one piece), then frames to recompute.
   */
  async #prefixInput(reply: TalkerReply, budget: number): Promise<{ input: TalkerInput; last: boolean }> {
    const { plan, tokenIds, sequence, speakerId } = reply.options
    const total = plan.userRows.length + openingRows
    const from = reply.prefilled
    if (from >= total) return replayInput(reply, from - total, budget)
    const userUntil = Math.min(plan.userRows.length, from + Math.max(1, budget))
    const parts: Float32Array[] = []
    if (userUntil > from) parts.push(await this.#rows.userRows(plan, tokenIds, reply.mediaHidden, from, userUntil))
    const opens = userUntil === plan.userRows.length
    if (opens) parts.push(await this.#rows.opening(plan, speakerId, reply.firstText!))
    const until = opens ? total : userUntil
    reply.prefilled = until
    const embeddings = new Float32Array((until - from) * this.#stages.talker.hiddenSize)
    let at = 0
    for (const part of parts) {
      embeddings.set(part, at)
      at += part.length
    }
    const positions = new Float32Array(3 * (until - from))
    for (let axis = 0; axis < 3; axis += 1)
      positions.set(plan.positions.subarray(axis * total + from, axis * total + until), axis * (until - from))
    return { input: { sequence, embeddings, positions }, last: until === reply.prefixRows }
  }
}

/** Removes and returns the pending input, for this step. */
function takePending(reply: TalkerReply): TalkerInput {
  const input = reply.pending!
  reply.pending = undefined
  reply.ran.push(input.embeddings)
  return input
}

/** Inputs of frames from `first` on, which are computed again after a preemption. */
function replayInput(reply: TalkerReply, first: number, budget: number): { input: TalkerInput; last: boolean } {
  const { plan, sequence } = reply.options
  const frames = reply.ran.slice(first, first + Math.max(1, budget))
  const width = frames[0]!.length
  const embeddings = new Float32Array(frames.length * width)
  for (const [index, frame] of frames.entries()) embeddings.set(frame, index * width)
  const positions = new Float32Array(3 * frames.length)
  for (let index = 0; index < positions.length; index += 1)
    positions[index] = plan.nextPosition + first + (index % frames.length)
  reply.prefilled += frames.length
  return { input: { sequence, embeddings, positions }, last: reply.prefilled === reply.prefixRows }
}

/** Hidden states of a plan's media rows, [media rows, width]. Missing rows are zeros. */
function hiddenOfMedia(plan: TalkerPlan, hidden: ReadonlyMap<number, Float32Array>, width: number): Float32Array {
  const rows = Array.from(plan.userRows).filter((_, index) => plan.isMedia[index] === 1)
  const out = new Float32Array(rows.length * width)
  for (const [index, row] of rows.entries()) {
    const values = hidden.get(row)
    if (values) out.set(values, index * width)
  }
  return out
}

function ownMember(member: SpeechBatchMember): Member {
  if (member.reply instanceof TalkerReply) return member as Member
  throw new TypeError('a reply of another pipeline was given')
}

function stageSampler(
  settings: TalkerSampling,
  seed: number,
  stream: number,
  suppressed: readonly number[] = [],
): Sampler {
  return createSampler({ ...settings, suppressed }, createRandom(seed, stream))
}
