/**
 * The speaker of a checkpoint for an API voice.
 *
 * In: voice names and the checkpoint's speakers. Out: {@link EngineVoice}s. A voice the checkpoint was trained with is
 * native; any other always gets the same substitute. Pure.
 */

import { EngineError, type EngineVoice } from '../../contract/index.ts'

/** A voice that callers may name, with what is known of its speaker. */
export interface VoiceDescription {
  readonly name: string
  readonly sex?: 'female' | 'male'
}

/** Lists the voices offered over a checkpoint's speakers (lower-case names). */
export type VoiceMapping = (speakers: readonly string[]) => readonly EngineVoice[]

/** Sexes of speakers that public checkpoints have. */
const speakerSex: Readonly<Record<string, 'female' | 'male'>> = {
  aiden: 'male',
  chelsie: 'female',
  cherry: 'female',
  ethan: 'male',
  serena: 'female',
}

/**
 * A mapping for a list of voices: native by name, else a substitute of the same sex where both are known, spread by
 * name.
 */
export function mapVoices(voices: readonly VoiceDescription[]): VoiceMapping {
  return (speakers) => {
    if (speakers.length === 0) return []
    const listed = voices.map(({ name, sex }): EngineVoice => {
      const own = name.toLowerCase()
      if (speakers.includes(own)) return { name, speaker: own, native: true }
      const alike = speakers.filter((speaker) => sex !== undefined && speakerSex[speaker] === sex)
      const candidates = alike.length > 0 ? alike : speakers
      return { name, speaker: candidates[spread(own) % candidates.length]!, native: false }
    })
    const missing = speakers.filter((speaker) => !listed.some((voice) => voice.name.toLowerCase() === speaker))
    return [...listed, ...nativeVoices(missing)]
  }
}

/** The checkpoint's own speakers, under their own names. */
export function nativeVoices(speakers: readonly string[]): EngineVoice[] {
  return speakers.map((speaker) => ({
    name: speaker.charAt(0).toUpperCase() + speaker.slice(1),
    speaker,
    native: true,
  }))
}

/**
 * The speaker for a voice name.
 * @param strict whether an unlisted name is refused with `unsupported`; otherwise the first speaker is used.
 */
export function findSpeaker(
  name: string,
  voices: readonly EngineVoice[],
  speakers: readonly string[],
  strict: boolean,
): string {
  const wanted = name.toLowerCase()
  const voice = voices.find((candidate) => candidate.name.toLowerCase() === wanted)
  if (voice) return voice.speaker
  const first = speakers[0]
  if (first === undefined)
    throw new EngineError('unsupported', "This checkpoint has no speech; set modalities to ['text'].", {
      param: 'modalities',
    })
  if (!strict) return first
  throw new EngineError(
    'unsupported',
    `Unknown voice '${name}'; this checkpoint speaks ${voices.map((known) => known.name).join(', ')}.`,
    { param: 'audio.voice' },
  )
}

/** A small stable number of a text (FNV-1a). */
function spread(text: string): number {
  let state = 0x811c9dc5
  for (let index = 0; index < text.length; index += 1)
    state = Math.imul(state ^ text.charCodeAt(index), 0x01000193) >>> 0
  return state
}
