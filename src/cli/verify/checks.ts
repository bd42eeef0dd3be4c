/**
 * The checks of `omniserve verify`, cheap ones first. None needs a reference: each has an answer that follows from the
 * question, or compares the checkpoint with itself.
 *
 * In: an {@link Examiner} and tasks. Out: one {@link Finding} after the other. Marks depend on the family only, and
 * only where its streamed audio is not meant to equal the whole.
 */
import type { InspectedReply } from '../../engines/local/inspected-model.ts'
import { edits, quoted, units } from './error-rate.ts'
import { type Examiner, SPEECH_RATE } from './examiner.ts'
import { type Detail, type Finding, reaches } from './report.ts'
import type { Drawing, Language, Sentence, Tasks } from './tasks.ts'

/** A check's result; the other fields of a finding follow. */
interface Outcome {
  readonly measured: number
  readonly details: readonly Detail[]
}

type Plan = Pick<Finding, 'name' | 'what' | 'unit' | 'mark'>

/** Of words or characters of its own speech. */
const TRANSCRIPT_ERRORS = { most: 0.15 } as const

/** Runs the checks of the checkpoint's modalities. Others are listed as not checked. */
export async function* runChecks(examiner: Examiner, tasks: Tasks): AsyncGenerator<Finding, void, undefined> {
  const { model, speakers } = examiner.model
  const mark = { least: tasks.right }
  yield await finding({ name: 'sums', what: 'answers sums', unit: 'share', mark }, () =>
    answered(
      tasks.sums,
      ({ text }) => examiner.ask(text),
      ({ text, answer }) => [text, answer, isNumber],
    ),
  )
  for (const kind of ['number', 'word'] as const) {
    const plan: Plan = { name: `${kind}s`, what: `reads ${kind}s from images`, unit: 'share', mark }
    if (!model.input.includes('image')) yield notChecked(plan, 'no image input')
    else
      yield await finding(plan, () =>
        readDrawings(
          examiner,
          tasks.drawings.filter((one) => one.kind === kind),
        ),
      )
  }
  const voices = chooseVoices(speakers)
  for (const language of ['English', 'Chinese'] as const) {
    const plan: Plan = {
      name: `speech, ${language}`,
      what: `transcribes its own speech, ${language === 'English' ? 'word' : 'character'} error rate`,
      unit: 'error rate',
      mark: TRANSCRIPT_ERRORS,
    }
    if (voices.length === 0) yield notChecked(plan, 'no speech')
    else if (!model.input.includes('audio')) yield notChecked(plan, 'no audio input')
    else yield await finding(plan, () => hearsItself(examiner, tasks.sentences, language, voices))
  }
  const [sentence] = tasks.sentences
  const [voice] = voices
  let spoken: InspectedReply | undefined
  yield await finding(
    { name: 'determinism', what: 'gives the same reply again, and two at once', unit: 'share', mark: { least: 1 } },
    async () => {
      const outcome = await isDeterministic(examiner, sentence!.request, voice)
      spoken = outcome.reply
      return outcome
    },
  )
  const streaming = streamingPlan(model.architecture)
  if (voice === undefined) yield notChecked(streaming, 'no speech')
  else if (spoken === undefined || spoken.pcm.length === 0) yield notChecked(streaming, 'no speech to compare')
  else {
    const { codes, pcm } = spoken
    yield await finding(streaming, () => streamsAsWhole(examiner, codes, pcm, voice, streaming.unit))
  }
}

/** Compares replies of one type of weights with another's. `replies`: ids by prompt. */
export function checkAgreement(
  examiner: Examiner,
  replies: readonly (readonly [prompt: string, reply: InspectedReply])[],
): Promise<Finding> {
  const plan: Plan = {
    name: 'agreement',
    what: 'the other checkpoint chooses the same tokens',
    unit: 'share',
    mark: { least: 0.9 },
  }
  return finding(plan, async () => {
    let [same, all] = [0, 0]
    const details: Detail[] = []
    for (const [prompt, { text, tokens }] of replies) {
      const agreeing = await examiner.agreeing(prompt, tokens)
      same += agreeing
      all += tokens.length
      details.push({ asked: prompt, wanted: text, got: `${agreeing} of ${tokens.length} tokens` })
    }
    return { measured: all === 0 ? 0 : same / all, details }
  })
}

async function finding(plan: Plan, check: () => Promise<Outcome>): Promise<Finding> {
  const begun = performance.now()
  const { measured, details } = await check()
  const seconds = (performance.now() - begun) / 1000
  return { ...plan, state: reaches(measured, plan.mark) ? 'passed' : 'failed', measured, seconds, details }
}

function notChecked(plan: Plan, reason: string): Finding {
  return { ...plan, state: 'not checked', reason, measured: null, seconds: 0, details: [] }
}

/**
 * Two voices that differ as much as names show: a woman and a man of the published checkpoints, else the first and the
 * last.
 */
export function chooseVoices(speakers: readonly string[]): string[] {
  const woman = ['cherry', 'chelsie'].find((name) => speakers.includes(name)) ?? speakers[0]
  const man = ['ethan', 'aiden'].find((name) => speakers.includes(name)) ?? speakers.at(-1)
  return [...new Set([woman, man])].filter((name) => name !== undefined)
}

type Judge = (reply: string, wanted: string) => boolean

/** A reply may show its steps; the last number is the answer. */
const isNumber: Judge = (reply, wanted) => numbersOf(reply).at(-1) === wanted

function numbersOf(text: string): string[] {
  return text.replaceAll(/(?<=\d),(?=\d{3})/g, '').match(/\d+/g) ?? []
}

async function answered<T>(
  questions: readonly T[],
  ask: (question: T) => Promise<InspectedReply>,
  about: (question: T) => readonly [asked: string, wanted: string, judge: Judge],
): Promise<Outcome> {
  const details: Detail[] = []
  let right = 0
  for (const question of questions) {
    const [asked, wanted, judge] = about(question)
    const { text } = await ask(question)
    right += Number(judge(text, wanted))
    details.push({ asked, wanted, got: text })
  }
  return { measured: right / questions.length, details }
}

function readDrawings(examiner: Examiner, drawings: readonly Drawing[]): Promise<Outcome> {
  const reads: Judge = (reply, wanted) =>
    /^\d/.test(wanted) ? numbersOf(reply).includes(wanted) : units(reply).includes(wanted)
  return answered(
    drawings,
    (drawing) => examiner.askAboutDrawing(drawing),
    ({ kind, question, shown }) => [`image of a ${kind}: ${question}`, shown, reads],
  )
}

async function hearsItself(
  examiner: Examiner,
  sentences: readonly Sentence[],
  language: Language,
  voices: readonly string[],
): Promise<Outcome> {
  const details: Detail[] = []
  let [wrong, all] = [0, 0]
  for (const sentence of sentences.filter((one) => one.language === language)) {
    for (const voice of voices) {
      const said = await examiner.speak(sentence.request, voice)
      const count = Math.max(sentence.least, units(said.text).length)
      // A reply with hardly any words, or without speech, is not understood.
      const silent = units(said.text).length < sentence.least || said.pcm.length === 0
      const transcript = silent ? '' : quoted((await examiner.askAboutAudio(said.pcm, sentence.transcribe)).text)
      all += count
      wrong += silent ? count : Math.min(count, edits(said.text, transcript))
      const seconds = (said.pcm.length / SPEECH_RATE).toFixed(1)
      details.push({ asked: `${voice}, ${seconds} s: ${sentence.request}`, wanted: said.text, got: transcript })
    }
  }
  return { measured: wrong / all, details }
}

/** One reply four times: by itself, again with the first one's prefix, and twice at once. */
async function isDeterministic(
  examiner: Examiner,
  request: string,
  voice: string | undefined,
): Promise<Outcome & { readonly reply: InspectedReply }> {
  const ask = (): Promise<InspectedReply> =>
    voice === undefined ? examiner.ask(request) : examiner.speak(request, voice)
  const first = await ask()
  const others = [await ask(), ...(await Promise.all([ask(), ask()]))]
  const equal = others.filter((other) => sameReply(first, other)).length
  const names = ['again', 'at once, first', 'at once, second']
  const details = others.map((other, i): Detail => ({
    asked: `${names[i]}: ${request}`,
    wanted: replyText(first),
    got: sameReply(first, other) ? 'equal' : replyText(other),
  }))
  return { measured: equal / others.length, details, reply: first }
}

function sameReply(left: InspectedReply, right: InspectedReply): boolean {
  return (
    left.tokens.join(' ') === right.tokens.join(' ') &&
    left.codes.join(' ') === right.codes.join(' ') &&
    left.pcm.length === right.pcm.length &&
    left.pcm.every((sample, i) => sample === right.pcm[i])
  )
}

function replyText({ text, tokens, codes, pcm }: InspectedReply): string {
  return `${text} (${tokens.length} tokens, ${codes.length} codes, ${pcm.length} samples)`
}

/**
 * Qwen3-Omni's vocoder looks back only, so pieces join to the whole. Qwen2.5-Omni's windows see less than the whole, so
 * there only the loudness curve is compared: a window that is lost, repeated or moved breaks it.
 */
function streamingPlan(architecture: string): Plan {
  const name = 'streaming'
  return architecture.startsWith('Qwen2_5')
    ? {
        name,
        what: 'streamed speech has the loudness of the whole, over time',
        unit: 'correlation',
        mark: { least: 0.9 },
      }
    : { name, what: 'streamed speech equals the whole, signal-to-noise ratio', unit: 'dB', mark: { least: 40 } }
}

async function streamsAsWhole(
  examiner: Examiner,
  codes: Int32Array,
  streamed: Int16Array,
  voice: string,
  unit: Finding['unit'],
): Promise<Outcome> {
  const whole = await examiner.decodeInOnePiece(codes, voice)
  const pieces = Float32Array.from(streamed, (sample) => sample / 32_768)
  const ratio = signalToNoise(whole, pieces)
  const course = correlation(loudness(whole), loudness(pieces))
  const sameLength = whole.length === pieces.length
  const got = `${pieces.length} samples, ${ratio.toFixed(1)} dB, loudness ${course.toFixed(3)}`
  const details = [{ asked: `speech of ${codes.length} codes`, wanted: `${whole.length} samples`, got }]
  return { measured: sameLength ? (unit === 'dB' ? ratio : course) : 0, details }
}

/** Signal-to-noise ratio, dB, at most 120, which means equal. */
export function signalToNoise(wanted: Float32Array, got: Float32Array): number {
  let [signal, noise] = [0, 0]
  for (let i = 0; i < wanted.length; i += 1) {
    signal += wanted[i]! ** 2
    noise += (wanted[i]! - (got[i] ?? 0)) ** 2
  }
  return signal === 0 ? 0 : Math.min(120, 10 * Math.log10(signal / Math.max(noise, 1e-20)))
}

/** Root mean squares of pieces of 20 ms. */
function loudness(samples: Float32Array): number[] {
  const piece = SPEECH_RATE / 50
  return Array.from({ length: Math.ceil(samples.length / piece) }, (_, i) => {
    const part = samples.subarray(i * piece, (i + 1) * piece)
    return Math.sqrt(part.reduce((sum, sample) => sum + sample * sample, 0) / part.length)
  })
}

/** Pearson's; 0 where either does not vary. */
export function correlation(left: readonly number[], right: readonly number[]): number {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
  const [a, b] = [mean(left), mean(right)]
  let [both, ofLeft, ofRight] = [0, 0, 0]
  for (const [i, value] of left.entries()) {
    const [x, y] = [value - a, (right[i] ?? 0) - b]
    both += x * y
    ofLeft += x * x
    ofRight += y * y
  }
  return ofLeft === 0 || ofRight === 0 ? 0 : both / Math.sqrt(ofLeft * ofRight)
}
