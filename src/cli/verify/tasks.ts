/**
 * The questions for a checkpoint, by level.
 *
 * `full` has questions that any published Qwen-Omni answers well. `demo` has questions that a model of 19 million
 * parameters can learn: two digits, short words, memorised replies. Its pass mark allows one more wrong answer in six,
 * because nano confuses similar digits. Numbers, words and operands are drawn with a seed, so that two reports with
 * the same seed have the same questions.
 */

export type Level = 'demo' | 'full'

export interface Question {
  readonly text: string
  readonly answer: string
}

export interface Drawing {
  readonly kind: 'number' | 'word'
  readonly shown: string
  readonly question: string
  readonly width: number
  readonly height: number
  readonly ink: string
  readonly paper: string
}

export type Language = 'English' | 'Chinese'

export interface Sentence {
  readonly language: Language
  /** A prompt for speech. */
  readonly request: string
  /** Fewest words (Chinese: characters) of a reply. */
  readonly least: number
  /** A prompt for transcription. */
  readonly transcribe: string
}

export interface Tasks {
  /** Required fraction of correct answers. */
  readonly passMark: number
  readonly sums: readonly Question[]
  readonly drawings: readonly Drawing[]
  readonly sentences: readonly Sentence[]
  /** Prompts for comparing two types of weights. */
  readonly prompts: readonly string[]
}

const COUNT = 6

const WORDS: Readonly<Record<Level, readonly string[]>> = {
  demo: 'sun moon star fish bird tree book milk water house green blue yellow happy music table chair night train bread snow wind door lamp king ship'.split(
    ' ',
  ),
  full: 'garden window bottle market silver planet winter bridge camera kitchen journey blanket picture thunder village quality justice machine'.split(
    ' ',
  ),
}

/** Request, and fewest words or characters of the reply. */
const SPOKEN: Readonly<Record<Level, Readonly<Record<Language, readonly (readonly [string, number])[]>>>> = {
  demo: {
    English: [
      ['Who are you?', 4],
      ['How are you?', 4],
    ],
    Chinese: [
      ['你是谁？', 6],
      ['你好吗？', 6],
    ],
  },
  full: {
    English: [
      ['Repeat after me: The ferry leaves the harbor at noon, so please bring your ticket and a warm jacket.', 12],
      ['Repeat after me: Last winter we planted three apple trees behind the old library.', 8],
    ],
    Chinese: [
      ['请重复：明天下午我们坐火车去看爷爷奶奶，记得带上雨伞和水果。', 18],
      ['请重复：图书馆后面的小路上开满了黄色的花。', 12],
    ],
  },
}

const TRANSCRIBE: Readonly<Record<Level, Readonly<Record<Language, string>>>> = {
  demo: { English: 'Transcribe the audio.', Chinese: '请转写音频。' },
  // The wordings that the model cards recommend.
  full: { English: 'Transcribe the English audio into text.', Chinese: '请将这段中文语音转换为纯文本。' },
}

const COLOURS = [
  ['#111111', '#ffffff'],
  ['#1a3fb0', '#f4f4ea'],
  ['#b01a1a', '#ffffff'],
  ['#ffffff', '#20303c'],
  ['#0b6b2b', '#f6f6f6'],
  ['#ffe14d', '#202020'],
] as const

const PROMPTS: readonly string[] = [
  'Who are you?',
  '你是谁？',
  'What can you do?',
  'Count from 3 to 12.',
  'What is 12 plus 7?',
  '你能做什么？',
  'What colour is grass?',
  '从10数到16',
]

/** @param seed an integer; equal seeds give equal tasks */
export function makeTasks(level: Level, seed: number): Tasks {
  const random = generator(seed)
  const below = (limit: number): number => Math.floor(random() * limit)
  const between = (min: number, max: number): number => min + below(max - min + 1)
  const range: readonly [number, number] = level === 'demo' ? [3, 20] : [120, 899]
  const sums = Array.from({ length: COUNT }, (_, i): Question => {
    const [a, b] = [between(...range), between(...range)]
    const text = i % 2 === 0 ? `What is ${a} plus ${b}?` : `${a}加${b}等于多少？`
    return { text, answer: String(a + b) }
  })
  const words = shuffled(WORDS[level], below).slice(0, COUNT)
  const numbers = Array.from({ length: COUNT }, () =>
    String(level === 'demo' ? between(10, 99) : between(10_000, 99_999)),
  )
  const size = level === 'demo' ? { width: 160, height: 160 } : { width: 448, height: 280 }
  const draw = (kind: Drawing['kind'], shown: string, i: number): Drawing => {
    const [ink, paper] = COLOURS[i % COLOURS.length]!
    const question = kind === 'number' ? 'What number is written?' : 'What word is written?'
    return { kind, shown, question, ...size, ink, paper }
  }
  return {
    // `full` allows one wrong answer of six: two mean a fault.
    passMark: level === 'demo' ? 0.66 : 0.8,
    sums,
    drawings: [...numbers.map((text, i) => draw('number', text, i)), ...words.map((text, i) => draw('word', text, i))],
    sentences: (['English', 'Chinese'] as const).flatMap((language) =>
      SPOKEN[level][language].map(([request, least]): Sentence => ({
        language,
        request,
        least,
        transcribe: TRANSCRIBE[level][language],
      })),
    ),
    prompts: PROMPTS,
  }
}

function shuffled<T>(values: readonly T[], below: (limit: number) => number): T[] {
  const remaining = [...values]
  return Array.from({ length: remaining.length }, () => remaining.splice(below(remaining.length), 1)[0]!)
}

/** Pseudo-random numbers in [0, 1) from a linear congruential generator (Numerical Recipes). */
function generator(seed: number): () => number {
  let state = (seed * 2_654_435_761) >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
