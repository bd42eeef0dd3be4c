/**
 * Qwen2.5-Omni's speech. One step for all ready replies: embed text, sample one code each, run the talker.
 *
 * In: the {@link SpeechBatchMember}s of a step. Out: at most one code per reply. Stage calls are batched over replies,
 * so weights are read once per step. Each code of 20 ms needs one text token, so the talker waits for a thinker that
 * makes fewer than 50 tokens/s. Reference: transformers `Qwen2_5OmniForConditionalGeneration.generate`.
 */

import { EngineError } from '../../../contract/index.ts'
import { createRandom } from '../../../sampling/random.ts'
import { createSampler } from '../../../sampling/sampler.ts'
import type { AdvanceOptions, SpeechPipeline, SpeechStart, SpeechBatchMember, VocoderStream } from '../../speech.ts'
import { guarded, reserveRows, withMemory } from '../../batch-members.ts'
import type { ThinkerStage } from '../../stages.ts'
import type { SpeechIds } from '../config-types.ts'
import type { Talker, TalkerInput } from '../talker.ts'
import { OPENING_ROWS, TalkerReply } from './reply.ts'
import { TalkerRows } from './rows.ts'
import type { SpeechSettings } from './settings.ts'

/** Random streams, separate from the text's. */
const randomStream = { talker: 2, noise: 3 } as const

/** The vocoder, which turns codes into audio. */
export interface CodeVocoder {
  readonly sampleRate: number
  /** Samples of one code. */
  readonly samplesPerCode: number
  /** Number of codes: 0 to `codes` - 1 can be decoded. */
  readonly codes: number
  /** Lower-case names to the thinker's token for the voice. */
  readonly voices: ReadonlyMap<string, number>
  /** Codes of the n-th call: those that the next window needs. */
  windowCodes(window: number): number
  readonly mostWindowCodes: number
  /** `random`: random numbers for the request's noise. */
  newStream(voice: string, random: () => number): VocoderStream
}

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

export class Qwen25Speech implements SpeechPipeline {
  readonly speakers: readonly string[]
  readonly sampleRate: number
  readonly frameRate: number
  readonly hiddenRows = 'all'
  /** The reply starts with its first text token, for early audio; the talker then waits for more text. */
  readonly minTextTokens = 1
  readonly maxPendingFrames: number
  readonly #talker: Talker
  readonly #thinkerHidden: number
  readonly #vocoder: CodeVocoder
  readonly #ids: SpeechIds
  readonly #settings: SpeechSettings
  readonly #rows: TalkerRows
  readonly #suppressed: readonly number[]

  constructor(thinker: ThinkerStage, talker: Talker, vocoder: CodeVocoder, ids: SpeechIds, settings: SpeechSettings) {
    this.#talker = talker
    this.#thinkerHidden = thinker.hiddenSize
    this.#vocoder = vocoder
    this.#ids = ids
    this.#settings = settings
    this.#rows = new TalkerRows(thinker, talker, ids)
    this.speakers = [...vocoder.voices.keys()]
    this.sampleRate = vocoder.sampleRate
    this.frameRate = vocoder.sampleRate / vocoder.samplesPerCode
    // One window that is being decoded, and the next one.
    this.maxPendingFrames = 2 * vocoder.mostWindowCodes
    const ends = new Set([ids.codecPad, ids.codecEnd])
    this.#suppressed = Array.from({ length: Math.max(0, talker.vocabSize - vocoder.codes) }, (_, i) => vocoder.codes + i)
      .concat(ids.codecBegin)
      .filter((id) => !ends.has(id))
  }

  get minBytes(): number {
    using sequence = this.#talker.newSequence(2 ** 17)
    return sequence.bytesFor(OPENING_ROWS)
  }

  chunkFrames(chunk: number): number {
    return this.#vocoder.windowCodes(chunk)
  }

  newReply({ prompt, speaker, seed }: SpeechStart): TalkerReply {
    const { maxFrames, allowance, talker } = this.#settings
    const voiceToken = this.#vocoder.voices.get(speaker)
    if (voiceToken === undefined)
      throw new EngineError(
        'unsupported',
        `this checkpoint has no voice ${speaker}; it has ${this.speakers.join(', ')}`,
        { param: 'audio.voice' },
      )
    const sequence = this.#talker.newSequence(prompt.tokenIds.length + OPENING_ROWS + maxFrames)
    try {
      const { codecMask, codecPad, codecBegin } = this.#ids
      return new TalkerReply({
        prompt,
        voiceToken,
        sequence,
        vocoder: this.#vocoder.newStream(speaker, createRandom(seed, randomStream.noise)),
        // The repetition penalty also counts the ids of the talker's prompt.
        sampler: createSampler({ ...talker, suppressed: this.#suppressed }, createRandom(seed, randomStream.talker), [
          codecMask,
          codecPad,
          codecBegin,
        ]),
        maxFrames,
        allowance,
        thinkerHidden: this.#thinkerHidden,
      })
    } catch (error) {
      sequence[Symbol.dispose]()
      throw error
    }
  }

  async advance(given: readonly SpeechBatchMember[], { prefillRows, signal, onStep }: AdvanceOptions): Promise<void> {
    const members = given.map(ownMember)
    await guarded(members, () => this.#embedText(members))
    const live = members.filter(({ inactive, reply }) => !inactive && !reply.ended)
    const speaking = live.filter(({ canMakeFrame, reply }) => canMakeFrame && reply.prefillComplete && !reply.pending && reply.hasText)
    await guarded(speaking, () => this.#makeCodes(speaking))
    // Memory is reserved separately for each reply, so that only a reply without memory waits.
    const grown = await withMemory(
      live.filter(({ reply }) => reply.prefillComplete && reply.pending && !reply.ended).map((member) => ({ member })),
      ({ member: { reply } }) => reserveRows(reply, reply.options.sequence.length + 1),
    )
    const inputs: Entry[] = grown.map(({ member }) => ({ member, input: takePending(member.reply), last: true }))
    let rows = prefillRows
    for (const member of live) {
      if (rows <= 0) break
      if (member.inactive || member.reply.ended || member.reply.prefillComplete || !member.reply.canPrefill(member.canMakeFrame)) continue
      for (const { member: reserved } of await withMemory([{ member }], () => reserveRows(member.reply, member.reply.prefixRows)))
        await guarded([reserved], async () => {
          const { input, last } = await this.#promptInput(reserved.reply, rows)
          rows -= input.positions.length / 3
          inputs.push({ member: reserved, input, last })
        })
    }
    const wanted = inputs.filter(({ member }) => !member.inactive && !member.reply.ended)
    if (wanted.length === 0) return
    await guarded(
      wanted.map(({ member }) => member),
      async () => {
        onStep?.('talker')
        const outputs = await this.#talker.forward(
          wanted.map(({ input }) => input),
          signal,
        )
        onStep?.(undefined)
        wanted.forEach(({ member: { reply }, last }, index) => {
          reply.prefillComplete ||= last
          // After a recomputation, the next code or its input is already known.
          if (last && !reply.pending) reply.logits ??= outputs[index]
        })
      },
    )
  }

  /** Rows of the new text, in one call for all replies. */
  async #embedText(members: readonly Member[]): Promise<void> {
    const read = members.map(({ reply }) => reply.takeReadyTokens())
    const rows = await this.#rows.text(read.flat())
    let row = 0
    for (const [index, { reply }] of members.entries())
      for (let i = 0; i < (read[index]?.length ?? 0); i += 1) reply.addTextRow(rows[row++]!)
  }

  /** Samples each reply's next code. Replies that continue get a pending talker input. */
  async #makeCodes(members: readonly Member[]): Promise<void> {
    const after = await this.#rows.afterText()
    const continuing: { member: Member; code: number }[] = []
    for (const member of members) {
      const { reply } = member
      const code = reply.options.sampler(reply.logits!)
      reply.logits = undefined
      if (code === this.#ids.codecPad || code === this.#ids.codecEnd) {
        reply.ended = true
        member.endFrames()
        continue
      }
      member.addFrame(Int32Array.of(code))
      reply.frameCount += 1
      if (reply.frameCount >= reply.frameLimit) {
        reply.ended = true
        member.endFrames()
      } else continuing.push({ member, code })
    }
    if (continuing.length === 0) return
    const texts = continuing.map(({ member }) => member.reply.nextText(after))
    const rows = await this.#rows.codes(
      continuing.map(({ code }) => code),
      texts,
    )
    for (const [index, { member, code }] of continuing.entries()) {
      const { reply } = member
      const position = reply.codePosition(reply.frameCount - 1)
      const positions = Float32Array.of(position, position, position)
      reply.pending = {
        code,
        text: texts[index]!,
        input: { sequence: reply.options.sequence, rows: rows[index]!, positions },
      }
    }
  }

  /**
   * The next rows of the talker's prefix: the thinker's prompt, then the opening (in one piece), then codes to
   * recompute.
   */
  async #promptInput(reply: TalkerReply, budget: number): Promise<{ input: TalkerInput; last: boolean }> {
    const { prompt, sequence, voiceToken } = reply.options
    if (reply.openingInCache) return this.#replayInput(reply, budget)
    const { from, hidden } = reply.takePrompt(budget)
    const until = reply.prefilled
    const total = prompt.tokenIds.length
    const opens = until === total && reply.firstText !== undefined
    reply.openingInCache = opens
    const own = await this.#rows.prompt(prompt.tokenIds.slice(from, until), hidden)
    const opening = opens ? await this.#rows.opening(voiceToken, reply.firstText!) : new Float32Array()
    const rows = new Float32Array(own.length + opening.length)
    rows.set(own)
    rows.set(opening, own.length)
    const count = rows.length / this.#rows.width
    const positions = new Float32Array(3 * count)
    for (let axis = 0; axis < 3; axis += 1) {
      positions.set(prompt.positions.subarray(axis * total + from, axis * total + until), axis * count)
      if (opens) positions.set([reply.openingPosition, reply.openingPosition + 1], axis * count + until - from)
    }
    return { input: { sequence, rows, positions }, last: opens && reply.ran.length === 0 }
  }

  async #replayInput(reply: TalkerReply, budget: number): Promise<{ input: TalkerInput; last: boolean }> {
    const first = reply.ranInCache
    const ran = reply.ran.slice(first, first + Math.max(1, budget))
    const parts = await this.#rows.codes(
      ran.map(({ code }) => code),
      ran.map(({ text }) => text),
    )
    const rows = new Float32Array(ran.length * this.#rows.width)
    for (const [index, part] of parts.entries()) rows.set(part, index * this.#rows.width)
    const positions = new Float32Array(3 * ran.length)
    for (let index = 0; index < positions.length; index += 1)
      positions[index] = reply.codePosition(first + (index % ran.length))
    reply.ranInCache += ran.length
    const last = reply.ranInCache === reply.ran.length
    return { input: { sequence: reply.options.sequence, rows, positions }, last }
  }
}

/** Removes and returns the pending input, for this step. */
function takePending(reply: TalkerReply): TalkerInput {
  const { input, code, text } = reply.pending!
  reply.pending = undefined
  reply.ran.push({ code, text })
  reply.ranInCache += 1
  return input
}

function ownMember(member: SpeechBatchMember): Member {
  if (member.reply instanceof TalkerReply) return member as Member
  throw new TypeError('a reply of another pipeline was given')
}
