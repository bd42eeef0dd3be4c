/**
 * The voices, as data: parameter value, Chinese name, what to expect (in our words), dialect.
 * Reference: the voice tables of the Qwen-Omni guide (December 2025): 49, 17, 4 and 2 voices.
 */

export type Dialect = 'beijing' | 'cantonese' | 'hokkien' | 'nanjing' | 'shaanxi' | 'shanghai' | 'sichuan' | 'tianjin'

export interface Voice {
  /** The value of the `audio.voice` parameter. */
  readonly name: string
  readonly displayName: string
  readonly description: string
  /** The Chinese dialect this voice speaks in place of Mandarin. */
  readonly dialect?: Dialect
}

/** ISO 639-1, in the order of the guide. */
export const TEN_LANGUAGES = ['zh', 'en', 'fr', 'de', 'ru', 'it', 'es', 'pt', 'ja', 'ko'] as const
export const TWO_LANGUAGES = ['zh', 'en'] as const

const all = [
  ['Cherry', '芊悅', 'A young woman, sunny, lively and at ease'],
  ['Serena', '蘇瑤', 'A gentle young woman'],
  ['Ethan', '晨煦', 'A young man, warm and energetic, standard Mandarin with a northern touch'],
  ['Chelsie', '千雪', 'An anime-like girlfriend'],
  ['Momo', '茉兔', 'A playful tease who cheers you up'],
  ['Vivian', '十三', 'Cocky, cute and a little short-tempered'],
  ['Moon', '月白', 'A dashing, forthright man'],
  ['Maia', '四月', 'Clever and tender at once'],
  ['Kai', '凱', 'A calm man, restful for the ears'],
  ['Nofish', '不吃魚', 'A designer who does not curl his tongue'],
  ['Bella', '萌寶', 'A tipsy-hearted little girl'],
  ['Jennifer', '詹妮弗', 'An American woman with the polish of a film trailer'],
  ['Ryan', '甜茶', 'A dramatic man with rhythm and tension'],
  ['Katerina', '卡捷琳娜', 'A mature woman with a lingering cadence'],
  ['Aiden', '艾登', 'A big American boy who cooks well'],
  ['Eldric Sage', '滄明子', 'A steady old sage'],
  ['Mia', '乖小妹', 'A meek, well-behaved girl'],
  ['Mochi', '沙小彌', 'A bright child with a grown-up air'],
  ['Bellona', '燕錚鶯', 'A loud and clear woman of martial tales'],
  ['Vincent', '田叔', 'A husky, smoky man with the feel of old battles'],
  ['Bunny', '萌小姬', 'A very cute little girl'],
  ['Neil', '阿聞', 'A news presenter, level and exact'],
  ['Elias', '墨講師', 'A lecturer, rigorous and good at telling it simply'],
  ['Arthur', '徐大爺', 'A weathered old man with village stories, unhurried'],
  ['Nini', '鄰家妹妹', 'The soft, sticky-sweet girl next door'],
  ['Ebona', '詭婆婆', 'An eerie old woman who whispers'],
  ['Seren', '小婉', 'A soft, slow woman to fall asleep to'],
  ['Pip', '頑屁小孩', 'A naughty little boy'],
  ['Stella', '少女阿月', 'A sweet, muddled girl who can turn heroic'],
  ['Bodega', '博德加', 'A hearty Spanish man'],
  ['Sonrisa', '索尼莎', 'A cheerful Latin American woman'],
  ['Alek', '阿列克', 'A Russian man, cold outside and warm inside'],
  ['Dolce', '多爾切', 'A lazy Italian man'],
  ['Sohee', '素熙', 'A Korean woman, gentle, bright and full of feeling'],
  ['Ono Anna', '小野杏', 'A mischievous childhood friend'],
  ['Lenn', '萊恩', 'A young German, rational with a rebel streak'],
  ['Emilien', '埃米爾安', 'A romantic young Frenchman'],
  ['Andre', '安德雷', 'A calm, natural, magnetic man'],
  ['Radio Gol', '拉迪奧·戈爾', 'A football commentator and poet'],
  ['Jada', '上海-阿珍', 'A brisk Shanghai woman', 'shanghai'],
  ['Dylan', '北京-曉東', 'A boy of the Beijing alleys', 'beijing'],
  ['Li', '南京-老李', 'A patient yoga teacher from Nanjing', 'nanjing'],
  ['Marcus', '陝西-秦川', 'A sincere Shaanxi man of few words', 'shaanxi'],
  ['Roy', '閩南-阿傑', 'A funny, direct Taiwanese man', 'hokkien'],
  ['Peter', '天津-李彼得', 'A Tianjin comic partner', 'tianjin'],
  ['Sunny', '四川-晴兒', 'A sweet Sichuan girl', 'sichuan'],
  ['Eric', '四川-程川', 'A man of Chengdu, out of the ordinary', 'sichuan'],
  ['Rocky', '粵語-阿強', 'A witty Cantonese man to chat with', 'cantonese'],
  ['Kiki', '粵語-阿清', 'A sweet best friend from Hong Kong', 'cantonese'],
] as const satisfies readonly (readonly [string, string, string, Dialect?])[]

export const VOICES: readonly Voice[] = all.map(([name, displayName, description, dialect]) => ({
  name,
  displayName,
  description,
  ...(dialect === undefined ? {} : { dialect }),
}))

/** `qwen3-omni-flash-2025-12-01`: all 49. */
export const VOICES_49 = VOICES.map((voice) => voice.name)

/** `qwen3-omni-flash` and `qwen3-omni-flash-2025-09-15`, in the guide's order. */
export const VOICES_17 = [
  'Cherry',
  'Ethan',
  'Nofish',
  'Jennifer',
  'Ryan',
  'Katerina',
  'Elias',
  'Jada',
  'Dylan',
  'Sunny',
  'Li',
  'Marcus',
  'Roy',
  'Peter',
  'Rocky',
  'Kiki',
  'Eric',
] as const

/** `qwen-omni-turbo` and its snapshots. */
export const VOICES_4 = ['Cherry', 'Serena', 'Ethan', 'Chelsie'] as const

/** The open checkpoints. */
export const VOICES_2 = ['Ethan', 'Chelsie'] as const

const byName = new Map(VOICES.map((voice) => [voice.name, voice]))

/** @throws when the name is in no table: the tables above only hold names of `VOICES`. */
export function voiceNamed(name: string): Voice {
  const voice = byName.get(name)
  if (voice === undefined) throw new Error(`no voice is called ${name}`)
  return voice
}
