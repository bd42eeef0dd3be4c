import { describe, expect, it } from 'vitest'
import { VOICES } from '../../../src/catalogue/voices.ts'
import { en } from './en.ts'
import { formatBytes, formatClock, formatLength, formatLimit, formatMilliseconds, formatMoney } from './format.ts'
import { pickLanguage } from './index.ts'
import { zhHans } from './zh-hans.ts'
import { zhHant } from './zh-hant.ts'

function flatten(value: object, prefix = ''): [string, string][] {
  return Object.entries(value).flatMap(([key, item]: [string, unknown]) =>
    typeof item === 'string'
      ? [[`${prefix}${key}`, item] as [string, string]]
      : flatten(item as object, `${prefix}${key}.`),
  )
}

const placeholders = (text: string): string[] => [...text.matchAll(/\{\{\w+\}\}/g)].map(([match]) => match).toSorted()

describe.each([
  ['zh-Hans', zhHans],
  ['zh-Hant', zhHant],
])('%s', (_name, texts) => {
  const { voice, voiceName, ...rest } = texts
  it('has every text with the same values in it', () => {
    const translated = new Map(flatten(rest))
    expect([...translated.keys()].toSorted()).toEqual(
      flatten(en)
        .map(([key]) => key)
        .toSorted(),
    )
    for (const [key, text] of flatten(en))
      expect(placeholders(translated.get(key) ?? ''), key).toEqual(placeholders(text))
  })

  it('describes every voice', () => {
    const known = VOICES.map(({ name }) => name)
    expect(Object.keys(voice ?? {}).toSorted()).toEqual(known.toSorted())
    expect(known).toEqual(expect.arrayContaining(Object.keys(voiceName ?? {})))
  })

  it('has no empty text and no halfwidth punctuation between Chinese words', () => {
    for (const [key, text] of flatten(texts)) {
      expect(text, key).not.toBe('')
      expect(text, key).not.toMatch(/\p{Script=Han}[,:?!]|[\w}][,:?!](\p{Script=Han}|\{\{)|\w,\d+ \p{Script=Han}/u)
    }
  })
})

describe('languages and formats', () => {
  it('follows the browser', () => {
    expect(pickLanguage(['fr', 'zh-TW'])).toBe('zh-Hant')
    expect(pickLanguage(['zh-Hant-CN'])).toBe('zh-Hant')
    expect(pickLanguage(['zh'])).toBe('zh-Hans')
    expect(pickLanguage(['en-GB', 'zh'])).toBe('en')
    expect(pickLanguage(['de'])).toBe('en')
  })

  it('formats for people', () => {
    expect([formatBytes(7_864_271, 'en'), formatBytes(512, 'en'), formatBytes(104_857_600, 'en')]).toEqual([
      '7.5 MB',
      '512 B',
      '100 MB',
    ])
    expect([formatLimit(1200, 'en'), formatLimit(150, 'en')]).toEqual(['20 min', '150 sec'])
    expect([formatClock(0), formatClock(61.9)]).toEqual(['0:00', '1:01'])
    expect([
      formatLength(0.94, 'en'),
      formatLength(9.97, 'en'),
      formatLength(67, 'en'),
      formatLength(0.4, 'en', 67),
    ]).toEqual(['0.9 s', '10.0 s', '1:07', '0:00'])
    expect([formatMilliseconds(130.4, 'en'), formatMilliseconds(2444, 'en')]).toEqual(['130 ms', '2.4 s'])
    expect([formatMoney(0.0000432, 'USD', 'en'), formatMoney(1.5, 'CNY', 'en')]).toEqual(['$0.000043', '¥1.50'])
  })
})
