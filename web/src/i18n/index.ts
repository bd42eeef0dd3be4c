/**
 * The page's languages: English, 简体中文, 繁體中文. The first visit follows the browser; a choice is kept.
 */
import i18next from 'i18next'
import { initReactI18next } from 'react-i18next'
import { en } from './en.ts'

export const LANGUAGES = [
  { code: 'en', name: 'English' },
  { code: 'zh-Hans', name: '简体中文' },
  { code: 'zh-Hant', name: '繁體中文' },
] as const

export type LanguageCode = (typeof LANGUAGES)[number]['code']

const KEY = 'omniserve.language'

/** The page's language for a browser's list of languages. */
export function pickLanguage(wanted: readonly string[]): LanguageCode {
  for (const tag of wanted) {
    const lower = tag.toLowerCase()
    if (lower.startsWith('en')) return 'en'
    if (lower.startsWith('zh')) return /hant|-tw|-hk|-mo/.test(lower) ? 'zh-Hant' : 'zh-Hans'
  }
  return 'en'
}

function stored(): LanguageCode | undefined {
  try {
    const code = localStorage.getItem(KEY)
    return LANGUAGES.find((language) => language.code === code)?.code
  } catch {
    return undefined
  }
}

async function load(code: LanguageCode): Promise<void> {
  if (i18next.hasResourceBundle(code, 'translation')) return
  const texts = code === 'zh-Hans' ? (await import('./zh-hans.ts')).zhHans : (await import('./zh-hant.ts')).zhHant
  i18next.addResourceBundle(code, 'translation', texts)
}

/** Changes the page's language and keeps the choice. */
export async function setLanguage(code: LanguageCode, keep = true): Promise<void> {
  await load(code)
  await i18next.changeLanguage(code)
  document.documentElement.lang = code
  if (!keep) return
  try {
    localStorage.setItem(KEY, code)
  } catch {
    // Storage blocked: the choice lasts as long as the page.
  }
}

/** Call once before the first render. */
export async function startI18n(): Promise<void> {
  await i18next.use(initReactI18next).init({
    resources: { en: { translation: en } },
    lng: 'en',
    fallbackLng: 'en',
    interpolation: { escapeValue: false },
  })
  await setLanguage(stored() ?? pickLanguage(navigator.languages), false)
}
