/** The prompt for transcriptions. Documented in docs/realtime.md and docs/audio-endpoints.md. */

export const TRANSCRIBE_PROMPT = 'Transcribe the audio.'

/** Hints about a recording. */
export interface TranscriptionHints {
  /** ISO 639-1 code that {@link languageName} knows. */
  readonly language?: string | undefined
  /** Words that may occur. */
  readonly prompt?: string | undefined
}

export function transcriptionPrompt(task: string, { language, prompt }: TranscriptionHints): string {
  const parts = [task]
  if (language) parts.push(`It is in ${languageName(language) ?? language}.`)
  if (prompt) parts.push(`These words may occur: ${prompt}`)
  return parts.join(' ')
}

/** English name of a language, or undefined if `code` is not a language code. */
export function languageName(code: string): string | undefined {
  try {
    return new Intl.DisplayNames('en', { type: 'language', fallback: 'none' }).of(code)
  } catch {
    return undefined
  }
}
