/**
 * Prefills a prompt whose last audio is still arriving, up to the samples received.
 *
 * In: an {@link ArrivingAudio}. Out: cached prefixes of the thinker and of speech, which the audio's request reuses.
 * Work pauses between its pieces. A cancelled prefill still caches the rows it has computed.
 */

import type { GenerationMessage, GenerationRequest } from '../contract/index.ts'
import type { OmniModel } from '../models/stages.ts'
import { type MediaRows, positionsOf, runOf, type TokenRun } from '../models/token-run.ts'
import type { AudioFeature, PreparedPrompt, PromptFeature } from '../prompt/prepared-prompt.ts'
import type { ArrivingAudio, PossibleEnd } from './arriving-audio.ts'
import type { Pause } from './encoder-job.ts'
import type { EncodedMedium } from './encoded-cache.ts'
import { encodeFeature } from './encoder-step.ts'
import { type LoadedFeature, loadFeature } from './feature-loader.ts'
import { type EncodedFeature, PromptFeatures } from './prompt-features.ts'
import { longestAudio, mediaSet, type SequencePool } from './sequence-pool.ts'

export interface PrefillContext {
  readonly model: OmniModel
  readonly pool: SequencePool
  readonly prepare: (request: GenerationRequest, signal: AbortSignal) => Promise<PreparedPrompt>
  /** Scope of the prefixes that a request reuses and caches. */
  readonly scopeOf: (request: GenerationRequest) => string
  /** Prompt tokens of the next step. */
  readonly stepTokens: () => number
}

/** The part of a prompt that can be prefilled now. */
export interface PartialPrompt {
  readonly prompt: PreparedPrompt
  /** The feature of the arriving audio. */
  readonly feature: AudioFeature
  /** Tokens of the audio with valid encoder outputs. */
  readonly tokens: number
  readonly run: TokenRun
  /** Encoder inputs of media without a cached output: those before the audio, and the audio at its possible end. */
  readonly loaded: readonly LoadedFeature[]
  /** Set for the whole prompt, with a possible end of the audio. */
  readonly ending: PossibleEnd | undefined
}

/**
 * Prepares the prompt, outside the loop: up to the valid tokens of the audio or, with a possible end, everything but
 * the last token. Undefined when there is nothing to prefill. Rejects as `prepare` does.
 */
export async function partialPrompt(
  audio: ArrivingAudio,
  { pool, prepare, scopeOf }: PrefillContext,
  signal: AbortSignal,
): Promise<PartialPrompt | undefined> {
  const { request } = audio.options
  const { ending } = audio
  const name = ending?.contentKey ?? audio.options.name
  const tokens = audio.validTokens(audio.levels.floor)
  const prompt = await prepare(
    { ...request, messages: withPartialAudio(request.messages, name, audio.samples) },
    signal,
  )
  if (audio.ending !== ending) return undefined
  const arriving = prompt.features.find((one): one is AudioFeature => isNamed(one, name))
  if (!arriving) return undefined
  const part = ending ? endedAudio(audio, ending, arriving) : partialAudio(audio, tokens, arriving)
  if (!part || part.until(prompt) <= 0) return undefined
  const until = part.until(prompt)
  const media = pool.mediaOf(prompt).map((medium) => (medium.rows === arriving.rows ? part.rows : medium))
  const run = runOf(prompt, media, [], until)
  const known = pool.prefixes.find(run, scopeOf(request), (_, common) => common)?.length ?? 0
  const loaded: LoadedFeature[] = []
  for (const one of prompt.features) {
    const [first = until] = one.rows
    const needed = one !== arriving && first < until && one.rows.at(-1)! >= known
    if (needed && !knownMedium(pool, request, one, prompt)) loaded.push(await loadFeature(one, signal))
    else if (one !== arriving) one.release?.()
  }
  if (ending) loaded.push(await loadFeature(part.feature, signal))
  return { prompt, feature: part.feature, tokens: part.tokens, run, loaded, ending }
}

/** The part of an arriving audio to prefill, and the row at which prefill stops. */
interface ArrivedPart {
  readonly feature: AudioFeature
  readonly tokens: number
  readonly rows: MediaRows
  until(prompt: PreparedPrompt): number
}

function partialAudio(audio: ArrivingAudio, tokens: number, feature: AudioFeature): ArrivedPart | undefined {
  const next = feature.rows[tokens]
  if (next === undefined) return undefined
  return { feature, tokens, rows: audio.mark(feature.rows, tokens), until: () => next }
}

function endedAudio(audio: ArrivingAudio, ending: PossibleEnd, feature: AudioFeature): ArrivedPart {
  const { whole, floor } = audio.completed(feature)
  audio.cutToFloor(floor)
  const rows = audio.markEnding(ending, feature.rows, floor)
  return { feature: whole, tokens: rows.rows.length, rows, until: ({ tokenIds }) => tokenIds.length - 1 }
}

/** Prefills a partial prompt. Rejects as the stages do, with `overloaded` when memory is short, and as `pause` does. */
export async function prefillAhead(
  audio: ArrivingAudio,
  { prompt, feature, tokens, run, loaded, ending }: PartialPrompt,
  { model, pool, scopeOf, stepTokens }: PrefillContext,
  pause: Pause,
  signal: AbortSignal,
): Promise<void> {
  const { request } = audio.options
  const { hiddenSize } = model.thinker
  const until = run.tokenIds.length
  const scope = scopeOf(request)
  const speaks = request.speech !== undefined
  // Only the encoder is aborted at once: an aborted thinker step would lose its sequence.
  const stop = ending ? AbortSignal.any([signal, ending.abort.signal]) : signal
  const media = new Map<PromptFeature, EncodedMedium>()
  for (const one of loaded) {
    const medium = await encodeFeature(one, longestAudio(prompt), model, { signal: stop, pause })
    media.set(one.feature, medium)
    const key = pool.keyOf(one.feature, prompt)
    const own = one.feature === feature
    // More samples arrived meanwhile.
    if (own && audio.ending !== ending) return
    if (request.cacheScope !== undefined && key !== undefined) pool.encoded.put(request.cacheScope, key, medium)
    if (ending && own) ending.encodedAs = key
    await pause()
  }
  if (ending && !audio.options.prefills) return
  // More samples, or a louder frame, arrived meanwhile.
  if (audio.ending !== ending || (!ending && audio.validTokens(audio.levels.floor) < tokens)) return
  const { sequence, reused, hidden: reusedHidden } = await pool.acquire({ run, scope, capacity: until, speaks })
  const hidden = new Map(reusedHidden)
  const mediaRows = mediaSet(run.media)
  let whole = true
  try {
    const encoded: EncodedFeature[] = []
    for (const one of prompt.features) {
      const [first = until] = one.rows
      if (one.rows === feature.rows || first >= until || one.rows.at(-1)! < reused) continue
      const medium = media.get(one) ?? knownMedium(pool, request, one, prompt)
      // It was evicted meanwhile.
      if (!medium) return
      encoded.push({ rows: one.rows, ...medium })
    }
    const embeddings = media.get(feature)?.embeddings ?? audio.embeddings(tokens, hiddenSize)
    encoded.push({ rows: feature.rows.slice(0, tokens), embeddings })
    const features = new PromptFeatures(encoded, hiddenSize)
    for (let from = reused; from < until;) {
      const next = Math.min(until, from + Math.max(1, stepTokens()))
      const injected = features.slice(from, next)
      const wanted = Array.from({ length: next - from }, (_, index) => from + index).filter((row) =>
        pool.needsHidden(row, mediaRows),
      )
      whole = false
      const [output] = await model.thinker.forward(
        [
          {
            sequence,
            tokenIds: run.tokenIds.slice(from, next),
            positions: positionsOf(run.positions, from, next),
            ...(injected && { features: injected }),
            logits: 'none',
            hidden: wanted.length > 0,
          },
        ],
        signal,
      )
      whole = true
      const states = output?.hidden
      if (states)
        for (const row of wanted)
          hidden.set(row, states.slice((row - from) * hiddenSize, (row - from + 1) * hiddenSize))
      from = next
      if (from < until) await pause()
      if (ending && audio.ending !== ending) break
    }
  } finally {
    if (whole) pool.release({ scope, run: upTo(run, sequence.length), sequence, hidden })
    else sequence[Symbol.dispose]()
  }
  if (ending && audio.ending !== ending) return
  if (!ending) audio.prefilled = Math.max(audio.prefilled, tokens)
  if (!speaks || !model.speech?.prefill) return
  await pause()
  await model.speech.prefill({ prompt, cacheKey: { scope, run }, until, hidden, rows: stepTokens, pause, signal })
}

function knownMedium(
  pool: SequencePool,
  { cacheScope }: GenerationRequest,
  feature: PromptFeature,
  prompt: PreparedPrompt,
): EncodedMedium | undefined {
  const key = pool.keyOf(feature, prompt)
  return cacheScope === undefined || key === undefined ? undefined : pool.encoded.get(cacheScope, key)
}

/** The first `length` tokens of a run. The media stay the same objects, because their keys may still change. */
function upTo(run: TokenRun, length: number): TokenRun {
  if (length === run.tokenIds.length) return run
  return runOf({ ...run, nextPosition: 0 }, run.media, [], length)
}

/** The messages, with the samples received so far as their last audio. */
function withPartialAudio(
  messages: readonly GenerationMessage[],
  name: string,
  samples: number,
): readonly GenerationMessage[] {
  const at = messages.findLastIndex(({ content }) => content.some(({ type }) => type === 'audio'))
  return messages.map((message, index) => {
    if (index !== at) return message
    const last = message.content.findLastIndex(({ type }) => type === 'audio')
    const content = message.content.map((part, place) =>
      place === last && part.type === 'audio'
        ? {
            type: 'audio' as const,
            audio: {
              ...part.audio,
              contentKey: name,
              exact: true,
              facts: { sampleRate: part.audio.facts.sampleRate, samples },
            },
          }
        : part,
    )
    return { ...message, content } as GenerationMessage
  })
}

function isNamed(feature: PreparedPrompt['features'][number], name: string): boolean {
  return feature.type === 'audio' && feature.source?.contentKey === name
}
