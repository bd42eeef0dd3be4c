/**
 * The checks of `omniserve verify`, cheap ones first. None needs a reference: each has a known answer or compares the
 * checkpoint with itself.
 *
 * In: an {@link Examiner} and tasks. Out: {@link Finding}s, one by one. The pass mark depends on the model family only
 * for streaming, because not every family's streamed audio equals audio that is decoded at once.
 */
import type { InspectedReply } from '../../engines/local/inspected-model.ts'
import { SPEECH_RATE } from '../../media/index.ts'
import { edits, quoted, units } from './error-rate.ts'
import type { Examiner } from './examiner.ts'
import { type Detail, type Finding, reaches } from './report.ts'
import type { Drawing, Language, Sentence, Tasks } from './tasks.ts'

/** The result of a check, from which its finding is made. */
interface Outcome {
  readonly measured: number
  readonly details: readonly Detail[]
}

type Plan = Pick<Finding, 'name' | 'what' | 'unit' | 'mark'>

/** Pass mark for the error rate of transcribing the checkpoint's own speech. */
const TRANSCRIPT_ERRORS = { most: 0.15 } as const

/** Runs the checks for the checkpoint's modalities. The others are listed as not checked. */
export async function* runChecks(examiner: Examiner, tasks: Tasks): AsyncGenerator<Finding, void, undefined> {
  const { model, speakers } = examiner.model
  const mark = { least: tasks.passMark }
  yield await finding({ name: 'sums', what: 'answers sums', unit: 'share', mark }, () =>
    askAll(
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
          tasks.drawings.filter((drawing) => drawing.kind === kind),
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
    else yield await finding(plan, () => transcribesOwnSpeech(examiner, tasks.sentences, language, voices))
  }
  const [sentence] = tasks.sentences
  const [voice] = voices
  let speechReply: InspectedReply | undefined
  yield await finding(
    { name: 'determinism', what: 'gives the same reply again, and two at once', unit: 'share', mark: { least: 1 } },
    async () => {
      const outcome = await repeatsReply(examiner, sentence!.request, voice)
      speechReply = outcome.reply
      return outcome
    },
  )
  const streaming = streamingPlan(model.architecture)
  if (voice === undefined) yield notChecked(streaming, 'no speech')
  else if (speechReply === undefined || speechReply.pcm.length === 0)
    yield notChecked(streaming, 'no speech to compare')
  else {
    const { codes, pcm } = speechReply
    yield await finding(streaming, () => comparesStreaming(examiner, codes, pcm, voice, streaming.unit))
  }
}

/** Compares this checkpoint's choice of tokens with the replies of another one. */
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
    let [agreeing, total] = [0, 0]
    const details: Detail[] = []
    for (const [prompt, { text, tokens }] of replies) {
      const count = await examiner.countAgreeing(prompt, tokens)
      agreeing += count
      total += tokens.length
      details.push({ asked: prompt, wanted: text, got: `${count} of ${tokens.length} tokens` })
    }
    return { measured: total === 0 ? 0 : agreeing / total, details }
  })
}

async function finding(plan: Plan, check: () => Promise<Outcome>): Promise<Finding> {
  const startedAt = performance.now()
  const { measured, details } = await check()
  const seconds = (performance.now() - startedAt) / 1000
  return { ...plan, state: reaches(measured, plan.mark) ? 'passed' : 'failed', measured, seconds, details }
}

function notChecked(plan: Plan, reason: string): Finding {
  return { ...plan, state: 'not checked', reason, measured: null, seconds: 0, details: [] }
}

/** Two different voices: a female and a male one of the published checkpoints, else the first and the last. */
export function chooseVoices(speakers: readonly string[]): string[] {
  const female = ['cherry', 'chelsie'].find((name) => speakers.includes(name)) ?? speakers[0]
  const male = ['ethan', 'aiden'].find((name) => speakers.includes(name)) ?? speakers.at(-1)
  return [...new Set([female, male])].filter((name) => name !== undefined)
}

type Judge = (reply: string, wanted: string) => boolean

/** The last number counts, because a reply may show its calculation. */
const isNumber: Judge = (reply, wanted) => numbersOf(reply).at(-1) === wanted

function numbersOf(text: string): string[] {
  return text.replaceAll(/(?<=\d),(?=\d{3})/g, '').match(/\d+/g) ?? []
}

/** Asks every question. @returns the fraction of correct answers */
async function askAll<T>(
  questions: readonly T[],
  ask: (question: T) => Promise<InspectedReply>,
  expectation: (question: T) => readonly [asked: string, wanted: string, judge: Judge],
): Promise<Outcome> {
  const details: Detail[] = []
  let correct = 0
  for (const question of questions) {
    const [asked, wanted, judge] = expectation(question)
    const { text } = await ask(question)
    correct += Number(judge(text, wanted))
    details.push({ asked, wanted, got: text })
  }
  return { measured: correct / questions.length, details }
}

function readDrawings(examiner: Examiner, drawings: readonly Drawing[]): Promise<Outcome> {
  const reads: Judge = (reply, wanted) =>
    /^\d/.test(wanted) ? numbersOf(reply).includes(wanted) : units(reply).includes(wanted)
  return askAll(
    drawings,
    (drawing) => examiner.askAboutDrawing(drawing),
    ({ kind, question, shown }) => [`image of a ${kind}: ${question}`, shown, reads],
  )
}

async function transcribesOwnSpeech(
  examiner: Examiner,
  sentences: readonly Sentence[],
  language: Language,
  voices: readonly string[],
): Promise<Outcome> {
  const details: Detail[] = []
  let [errors, total] = [0, 0]
  for (const sentence of sentences.filter((candidate) => candidate.language === language)) {
    for (const voice of voices) {
      const spoken = await examiner.speak(sentence.request, voice)
      const count = Math.max(sentence.least, units(spoken.text).length)
      // A reply with too few words or without audio counts as wrong.
      const unusable = units(spoken.text).length < sentence.least || spoken.pcm.length === 0
      const transcript = unusable ? '' : quoted((await examiner.askAboutAudio(spoken.pcm, sentence.transcribe)).text)
      total += count
      errors += unusable ? count : Math.min(count, edits(spoken.text, transcript))
      const seconds = (spoken.pcm.length / SPEECH_RATE).toFixed(1)
      details.push({ asked: `${voice}, ${seconds} s: ${sentence.request}`, wanted: spoken.text, got: transcript })
    }
  }
  return { measured: errors / total, details }
}

/** Generates one reply four times: first, again with a prefix cache hit, and twice concurrently. */
async function repeatsReply(
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
 * Qwen3-Omni's vocoder is causal, so streamed samples equal those decoded at once. Qwen2.5-Omni decodes in windows
 * with less context, so only the loudness over time is compared: a lost, repeated or moved window changes it.
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

async function comparesStreaming(
  examiner: Examiner,
  codes: Int32Array,
  streamed: Int16Array,
  voice: string,
  unit: Finding['unit'],
): Promise<Outcome> {
  const whole = await examiner.decodeInOnePiece(codes, voice)
  const pieces = Float32Array.from(streamed, (sample) => sample / 32_768)
  const ratio = signalToNoise(whole, pieces)
  const loudnessCorrelation = correlation(loudness(whole), loudness(pieces))
  const sameLength = whole.length === pieces.length
  const got = `${pieces.length} samples, ${ratio.toFixed(1)} dB, loudness ${loudnessCorrelation.toFixed(3)}`
  const details = [{ asked: `speech of ${codes.length} codes`, wanted: `${whole.length} samples`, got }]
  return { measured: sameLength ? (unit === 'dB' ? ratio : loudnessCorrelation) : 0, details }
}

/** Signal-to-noise ratio in dB, at most 120 (equal signals). */
export function signalToNoise(wanted: Float32Array, got: Float32Array): number {
  let [signal, noise] = [0, 0]
  for (let i = 0; i < wanted.length; i += 1) {
    signal += wanted[i]! ** 2
    noise += (wanted[i]! - (got[i] ?? 0)) ** 2
  }
  return signal === 0 ? 0 : Math.min(120, 10 * Math.log10(signal / Math.max(noise, 1e-20)))
}

/** Root mean square of each 20 ms. */
function loudness(samples: Float32Array): number[] {
  const window = SPEECH_RATE / 50
  return Array.from({ length: Math.ceil(samples.length / window) }, (_, i) => {
    const part = samples.subarray(i * window, (i + 1) * window)
    return Math.sqrt(part.reduce((sum, sample) => sum + sample * sample, 0) / part.length)
  })
}

/** Pearson correlation; 0 if either series is constant. */
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
