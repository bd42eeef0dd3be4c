/**
 * The voices, as data: parameter value, Chinese name, description, dialect.
 * Reference: the voice tables of the Qwen-Omni guide (December 2025): 49, 17, 4 and 2 voices.
 */

export type Dialect = 'beijing' | 'cantonese' | 'hokkien' | 'nanjing' | 'shaanxi' | 'shanghai' | 'sichuan' | 'tianjin'

export interface Voice {
  /** The value of the `audio.voice` parameter. */
  readonly name: string
  /** The speaker's sex; used to choose a substitute. */
  readonly sex: 'female' | 'male'
  readonly displayName: string
  readonly description: string
  /** The Chinese dialect this voice speaks in place of Mandarin. */
  readonly dialect?: Dialect
}

/** ISO 639-1, in the order of the guide. */
export const TEN_LANGUAGES = ['zh', 'en', 'fr', 'de', 'ru', 'it', 'es', 'pt', 'ja', 'ko'] as const
export const TWO_LANGUAGES = ['zh', 'en'] as const

const all = [
  ['Cherry', 'female', '芊悅', 'A young woman, sunny, lively and at ease'],
  ['Serena', 'female', '蘇瑤', 'A gentle young woman'],
  ['Ethan', 'male', '晨煦', 'A young man, warm and energetic, standard Mandarin with a northern touch'],
  ['Chelsie', 'female', '千雪', 'A young woman in anime style'],
  ['Momo', 'female', '茉兔', 'A playful woman who cheers you up'],
  ['Vivian', 'female', '十三', 'Cocky, cute and a little short-tempered'],
  ['Moon', 'male', '月白', 'A dashing, forthright man'],
  ['Maia', 'female', '四月', 'Clever and tender at once'],
  ['Kai', 'male', '凱', 'A calm man, restful for the ears'],
  ['Nofish', 'male', '不吃魚', 'A designer who does not curl his tongue'],
  ['Bella', 'female', '萌寶', 'A cute little girl'],
  ['Jennifer', 'female', '詹妮弗', 'An American woman with the polish of a film trailer'],
  ['Ryan', 'male', '甜茶', 'A dramatic man with rhythm and tension'],
  ['Katerina', 'female', '卡捷琳娜', 'A mature woman with a lingering cadence'],
  ['Aiden', 'male', '艾登', 'A big American boy who cooks well'],
  ['Eldric Sage', 'male', '滄明子', 'A steady old sage'],
  ['Mia', 'female', '乖小妹', 'A meek, well-behaved girl'],
  ['Mochi', 'male', '沙小彌', 'A bright child with a grown-up air'],
  ['Bellona', 'female', '燕錚鶯', 'A loud and clear woman of martial tales'],
  ['Vincent', 'male', '田叔', 'A husky, smoky man with the feel of old battles'],
  ['Bunny', 'female', '萌小姬', 'A very cute little girl'],
  ['Neil', 'male', '阿聞', 'A news presenter, level and exact'],
  ['Elias', 'male', '墨講師', 'A lecturer, rigorous and good at telling it simply'],
  ['Arthur', 'male', '徐大爺', 'A weathered old man with village stories, unhurried'],
  ['Nini', 'female', '鄰家妹妹', 'The soft, sticky-sweet girl next door'],
  ['Ebona', 'female', '詭婆婆', 'An eerie old woman who whispers'],
  ['Seren', 'female', '小婉', 'A soft, slow woman to fall asleep to'],
  ['Pip', 'male', '頑屁小孩', 'A naughty little boy'],
  ['Stella', 'female', '少女阿月', 'A sweet, muddled girl who can turn heroic'],
  ['Bodega', 'male', '博德加', 'A hearty Spanish man'],
  ['Sonrisa', 'female', '索尼莎', 'A cheerful Latin American woman'],
  ['Alek', 'male', '阿列克', 'A Russian man, cold outside and warm inside'],
  ['Dolce', 'male', '多爾切', 'A lazy Italian man'],
  ['Sohee', 'female', '素熙', 'A Korean woman, gentle, bright and full of feeling'],
  ['Ono Anna', 'female', '小野杏', 'A mischievous childhood friend'],
  ['Lenn', 'male', '萊恩', 'A young German, rational with a rebel streak'],
  ['Emilien', 'male', '埃米爾安', 'A romantic young Frenchman'],
  ['Andre', 'male', '安德雷', 'A calm, natural, magnetic man'],
  ['Radio Gol', 'male', '拉迪奧·戈爾', 'A football commentator and poet'],
  ['Jada', 'female', '上海-阿珍', 'A brisk Shanghai woman', 'shanghai'],
  ['Dylan', 'male', '北京-曉東', 'A boy of the Beijing alleys', 'beijing'],
  ['Li', 'male', '南京-老李', 'A patient yoga teacher from Nanjing', 'nanjing'],
  ['Marcus', 'male', '陝西-秦川', 'A sincere Shaanxi man of few words', 'shaanxi'],
  ['Roy', 'male', '閩南-阿傑', 'A funny, direct Taiwanese man', 'hokkien'],
  ['Peter', 'male', '天津-李彼得', 'A Tianjin comic partner', 'tianjin'],
  ['Sunny', 'female', '四川-晴兒', 'A sweet Sichuan girl', 'sichuan'],
  ['Eric', 'male', '四川-程川', 'A man of Chengdu, out of the ordinary', 'sichuan'],
  ['Rocky', 'male', '粵語-阿強', 'A witty Cantonese man to chat with', 'cantonese'],
  ['Kiki', 'female', '粵語-阿清', 'A sweet best friend from Hong Kong', 'cantonese'],
] as const satisfies readonly (readonly [string, 'female' | 'male', string, string, Dialect?])[]

export const VOICES: readonly Voice[] = all.map(([name, sex, displayName, description, dialect]) => ({
  name,
  sex,
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

/** @throws when the name is in no table: the tables above hold only names of `VOICES`. */
export function voiceNamed(name: string): Voice {
  const voice = byName.get(name)
  if (voice === undefined) throw new Error(`no voice is called ${name}`)
  return voice
}
