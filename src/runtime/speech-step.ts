/**
 * One step of the speech pipeline for all replies that can go on: read text, sample a code each, predict the residual codes, have
 * decoded what is due, run the talker.
 *
 * In: the {@link SpeechJob}s of this step. Out: sound through `emit`; tasks advanced by at most one frame. Stage calls are batched over
 * jobs, so weights are read once a step. The vocoder works meanwhile: a step starts it and does not wait for it.
 */

import type { CodePredictorStage, SpeechConfig, TalkerInput, TalkerStage } from '../models/stages.ts'
import { chunkFrames, toInt16 } from './pcm.ts'
import { type SpeechEmbeddings, sum } from './speech-embeddings.ts'
import type { SpeechTask } from './speech-task.ts'
import { openingRows } from './talker-prompt.ts'

export interface SpeechJob {
  readonly speech: SpeechTask
  /** True once the request has been given up; the job is left alone. */
  readonly gone: boolean
  /** Fires when the request is given up. */
  readonly signal: AbortSignal
  emit(pcm: Int16Array): void
  fail(error: unknown): void
  /** There is something to do again: the vocoder has caught up. */
  wake(): void
  /** True while there is nothing to do before something wakes it. */
  idle(): boolean
}

export interface SpeechStages {
  readonly talker: TalkerStage
  readonly codePredictor: CodePredictorStage
  readonly embeddings: SpeechEmbeddings
  readonly config: SpeechConfig
  /** Talker prefix rows per step, over all jobs. */
  readonly prefillRows: number
  /** Aborted when no job of the step is wanted any more. */
  readonly signal: AbortSignal
}

/** Frames that may wait for the vocoder: the talker is to be ahead of it, not out of its sight. */
const MOST_WAITING = 12

/** Whether {@link speechStep} could do anything for this task now. */
export function canSpeak(speech: SpeechTask): boolean {
  if (speech.finished) return false
  if (speech.unread.length > 0) return true
  if (speech.talked) return speech.decoding === undefined
  return speech.opened ? canMakeFrame(speech) : speech.canBegin
}

function canMakeFrame(speech: SpeechTask): boolean {
  return speech.opened && !speech.talked && speech.hasText && speech.frames.length < MOST_WAITING
}

/** Advances every job by one step. Failures of a batch fail its jobs; it rejects only when `signal` aborts. */
export async function speechStep(jobs: readonly SpeechJob[], stages: SpeechStages): Promise<void> {
  await guarded(jobs, () => readText(jobs, stages))
  const inputs: { job: SpeechJob; input: TalkerInput; last: boolean }[] = []
  const speaking = jobs.filter(({ gone, speech }) => !gone && canMakeFrame(speech))
  await guarded(speaking, async () => {
    for (const [job, input] of await makeFrames(speaking, stages)) inputs.push({ job, input, last: true })
  })
  // Begun before the talker goes on: the listener waits for this, nobody waits for the next code.
  for (const job of jobs) startDecoding(job)
  const opening = jobs.filter(({ gone, speech }) => !gone && !speech.talked && !speech.opened && speech.canBegin)
  let rows = stages.prefillRows
  for (const job of opening) {
    if (rows <= 0) break
    await guarded([job], async () => {
      const { input, last } = await prefixInput(job.speech, rows, stages)
      rows -= input.embeddings.length / stages.talker.hiddenSize
      inputs.push({ job, input, last })
    })
  }
  const wanted = inputs.filter(({ job }) => !job.gone && !job.speech.talked)
  if (wanted.length === 0) return
  await guarded(
    wanted.map(({ job }) => job),
    async () => {
      const outputs = await stages.talker.forward(
        wanted.map(({ input }) => input),
        stages.signal,
      )
      wanted.forEach(({ job, last }, index) => {
        const output = outputs[index]!
        job.speech.opened ||= last
        job.speech.logits = last ? output.logits : undefined
        job.speech.hidden = last ? output.hidden : undefined
      })
    },
  )
}

/** Embeds the text that has come in since, in one call for all jobs. */
async function readText(jobs: readonly SpeechJob[], stages: SpeechStages): Promise<void> {
  const ids = jobs.flatMap(({ speech }) => speech.unread)
  if (ids.length === 0) return
  const rows = await stages.embeddings.text(ids)
  let row = 0
  for (const { speech } of jobs) {
    const count = speech.unread.length
    speech.unread = []
    speech.giveText(rows.slice(row, row + count))
    row += count
  }
}

/** Samples each job's next code and predicts its residual codes. Returns the talker's next inputs of those that go on. */
async function makeFrames(jobs: readonly SpeechJob[], stages: SpeechStages): Promise<[SpeechJob, TalkerInput][]> {
  const going: { job: SpeechJob; code: number }[] = []
  for (const job of jobs) {
    const { speech } = job
    const code = speech.options.sampler(speech.logits!)
    speech.sampled += 1
    speech.logits = undefined
    if (code === stages.config.codecEosId || speech.sampled >= speech.frameLimit) speech.talked = true
    else going.push({ job, code })
  }
  if (going.length === 0) return []
  const after = await stages.embeddings.afterText()
  const predicted = await stages.codePredictor.predict(
    going.map(({ job, code }) => ({
      hidden: job.speech.hidden!,
      firstCode: code,
      sample: job.speech.options.codeSampler,
    })),
    stages.signal,
  )
  return going.map(({ job, code }, index) => {
    const { speech } = job
    const { codes, embeddingSum } = predicted[index]!
    const frame = new Int32Array(speech.options.codeGroups)
    frame[0] = code
    frame.set(codes, 1)
    speech.frames.push(frame)
    speech.options.onFrame?.(frame)
    speech.frameCount += 1
    const position = speech.options.plan.nextPosition + speech.frameCount - 1
    const input: TalkerInput = {
      sequence: speech.options.sequence,
      embeddings: sum(embeddingSum, speech.nextText(after)),
      positions: Float32Array.of(position, position, position),
    }
    return [job, input]
  })
}

/** Sets the vocoder to work on a full chunk, or on what is left when the talker has ended; one call at a time for a reply. */
function startDecoding(job: SpeechJob): void {
  const { speech } = job
  if (job.gone || speech.finished || speech.decoding || !isDue(speech)) return
  speech.decoding = guarded([job], () => decodeDue(job)).finally(() => {
    speech.decoding = undefined
    job.wake()
  })
}

function isDue(speech: SpeechTask): boolean {
  return speech.talked || speech.frames.length >= chunkFrames(speech.chunk)
}

async function decodeDue(job: SpeechJob): Promise<void> {
  const { speech, signal } = job
  const { codeGroups, stream } = speech.options
  while (speech.frames.length > 0 && isDue(speech)) {
    const frames = speech.frames.splice(0, chunkFrames(speech.chunk))
    const codes = new Int32Array(frames.length * codeGroups)
    frames.forEach((frame, index) => codes.set(frame, index * codeGroups))
    speech.chunk += 1
    // The talker goes on beside the last of what was waiting; before that nobody needs the other threads.
    if (!isDue(speech)) job.wake()
    const samples = await stream.push(codes, { signal, alone: job.idle() })
    if (job.gone) return
    if (samples.length > 0) job.emit(toInt16(samples))
  }
  if (!speech.talked) return
  const rest = await stream.finish(signal)
  if (rest.length > 0) job.emit(toInt16(rest))
  speech.finished = true
}

/** The next rows of the talker's prefix: user turns, then (in one piece) the opening. */
async function prefixInput(
  speech: SpeechTask,
  budget: number,
  stages: SpeechStages,
): Promise<{ input: TalkerInput; last: boolean }> {
  const { plan, tokenIds, sequence, speakerId } = speech.options
  const total = plan.userRows.length + openingRows
  const from = speech.prefilled
  const userUntil = Math.min(plan.userRows.length, from + Math.max(1, budget))
  const parts: Float32Array[] = []
  if (userUntil > from)
    parts.push(await stages.embeddings.userRows(plan, tokenIds, speech.mediaHidden, from, userUntil))
  const last = userUntil === plan.userRows.length
  if (last) parts.push(await stages.embeddings.opening(plan, speakerId, speech.firstText!))
  const until = last ? total : userUntil
  speech.prefilled = until
  const embeddings = new Float32Array((until - from) * stages.talker.hiddenSize)
  let at = 0
  for (const part of parts) {
    embeddings.set(part, at)
    at += part.length
  }
  const positions = new Float32Array(3 * (until - from))
  for (let axis = 0; axis < 3; axis += 1)
    positions.set(plan.positions.subarray(axis * total + from, axis * total + until), axis * (until - from))
  return { input: { sequence, embeddings, positions }, last }
}

/** Runs work for some jobs; when it fails, they fail, unless they have been given up meanwhile. */
async function guarded(jobs: readonly SpeechJob[], work: () => Promise<void>): Promise<void> {
  const wanted = jobs.filter((job) => !job.gone)
  if (wanted.length === 0) return
  try {
    await work()
  } catch (error) {
    for (const job of wanted) job.fail(error)
  }
}
