/** Formats a reply's tokens and times as one line. */
import type { Reply } from './ask.ts'
import { SPEECH_RATE } from '../media/encode/encode-speech.ts'
import { styled } from './output.ts'

/**
 * Such as `in 25 (text 11, image 14)  out 42 (text 20, audio 22)  first token 80 ms, first audio 210 ms, 1.2 s, speech
 * 1.8 s`.
 */
export function usageText({ usage, times, samples }: Reply): string {
  const parts: string[] = []
  if (usage !== null) {
    parts.push(`in ${usage.prompt_tokens}${detail(usage.prompt_tokens_details)}`)
    parts.push(`out ${usage.completion_tokens}${detail(usage.completion_tokens_details)}`)
  }
  const timings = [
    ...(times.firstToken === null ? [] : [`first token ${Math.round(times.firstToken)} ms`]),
    ...(times.firstAudio === null ? [] : [`first audio ${Math.round(times.firstAudio)} ms`]),
    `${(times.total / 1000).toFixed(2)} s in all`,
    ...(samples === 0 ? [] : [`${(samples / SPEECH_RATE).toFixed(2)} s of speech`]),
  ]
  return styled('dim', [...parts, timings.join(', ')].join('  '), process.stderr)
}

function detail(details: object | undefined): string {
  const shown = Object.entries(details ?? {}).map(([key, value]) => `${key.replace('_tokens', '')} ${value}`)
  return shown.length === 0 ? '' : ` (${shown.join(', ')})`
}
