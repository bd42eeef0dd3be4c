/** A spoken conversation's settings from the page, and its earlier turns. Pure. */
import { speechReason } from '../api/rules.ts'
import type { ModelListing } from '../api/types.ts'
import type { Turn } from '../state/conversation.ts'
import type { Settings } from '../state/settings.ts'

/** Earlier turns that are sent again; sessions keep about as many. */
const REMEMBERED = 12

/** The `session` of `session.update`. A conversation has speech wherever the checkpoint supports it. */
export function talkSettings(model: ModelListing, settings: Settings): Record<string, unknown> {
  const spoken = speechReason(model, { ...settings, thinking: false }) === undefined
  const given = {
    temperature: settings.temperature,
    top_p: settings.topP,
    top_k: settings.topK,
    presence_penalty: settings.presencePenalty,
    repetition_penalty: settings.repetitionPenalty,
    seed: settings.seed,
    max_tokens: settings.maxTokens,
  }
  return {
    modalities: spoken ? ['text', 'audio'] : ['text'],
    ...(spoken && { voice: settings.voice }),
    instructions: settings.system,
    input_audio_format: 'pcm16',
    output_audio_format: 'pcm24',
    input_audio_transcription: { model: 'gummy-realtime-v1' },
    turn_detection: { type: 'server_vad', threshold: 0.5, prefix_padding_ms: 300, silence_duration_ms: 700 },
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null)),
  }
}

export function talkHistory(turns: readonly Turn[]): { role: 'user' | 'assistant'; text: string }[] {
  return turns
    .map((turn) => ({
      role: turn.role,
      text: turn.role === 'user' && turn.text === '' ? (turn.transcript ?? '') : turn.text,
    }))
    .filter(({ text }) => text.trim() !== '')
    .slice(-REMEMBERED)
}
