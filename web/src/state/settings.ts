/**
 * The user's settings, kept in the browser's local storage. Sampling values of null are not sent: the model's default
 * applies.
 */
export interface Settings {
  model: string
  speech: boolean
  voice: string
  autoplay: boolean
  thinking: boolean
  thinkingBudget: number | null
  temperature: number | null
  topP: number | null
  topK: number | null
  presencePenalty: number | null
  repetitionPenalty: number | null
  seed: number | null
  maxTokens: number | null
  stop: string[]
  system: string
  apiKey: string
}

export const DEFAULT_SETTINGS: Settings = {
  model: '',
  speech: true,
  voice: '',
  autoplay: true,
  thinking: false,
  thinkingBudget: null,
  temperature: null,
  topP: null,
  topK: null,
  presencePenalty: null,
  repetitionPenalty: null,
  seed: null,
  maxTokens: null,
  stop: [],
  system: '',
  apiKey: '',
}

const KEY = 'omniserve.settings'

/** Reads stored settings; anything missing or of another type is the default. */
export function loadSettings(): Settings {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Record<string, unknown>
    const settings: Record<string, unknown> = { ...DEFAULT_SETTINGS }
    for (const [name, fallback] of Object.entries(DEFAULT_SETTINGS)) {
      const value = stored[name]
      const fits =
        fallback === null
          ? value === null || typeof value === 'number'
          : Array.isArray(fallback)
            ? Array.isArray(value)
            : typeof value === typeof fallback
      if (fits && value !== undefined) settings[name] = value
    }
    return settings as unknown as Settings
  } catch {
    return { ...DEFAULT_SETTINGS }
  }
}

export function saveSettings(settings: Settings): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(settings))
  } catch {
    // Storage blocked or full: the settings last as long as the page.
  }
}
