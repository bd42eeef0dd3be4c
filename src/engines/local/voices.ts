/**
 * Maps API voices to the speakers of a checkpoint.
 *
 * In: voice names and the checkpoint's speakers. Out: {@link EngineVoice}s. A voice that the checkpoint was trained
 * with is native; any other voice has a fixed substitute. Pure.
 */

import { EngineError, type EngineVoice } from '../../contract/index.ts'

/** A voice that requests may name. */
export interface VoiceDescription {
  readonly name: string
  readonly sex?: 'female' | 'male'
}

/** Maps a checkpoint's speakers (lower-case names) to the voices that are offered. */
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
 * A mapping for a list of voices: a native speaker by name, or else a substitute chosen by a hash of the name, of the
 * same sex if both are known.
 */
export function mapVoices(voices: readonly VoiceDescription[]): VoiceMapping {
  return (speakers) => {
    if (speakers.length === 0) return []
    const listed = voices.map(({ name, sex }): EngineVoice => {
      const own = name.toLowerCase()
      if (speakers.includes(own)) return { name, speaker: own, native: true }
      const sameSex = speakers.filter((speaker) => sex !== undefined && speakerSex[speaker] === sex)
      const candidates = sameSex.length > 0 ? sameSex : speakers
      return { name, speaker: candidates[hash(own) % candidates.length]!, native: false }
    })
    const missing = speakers.filter((speaker) => !listed.some((voice) => voice.name.toLowerCase() === speaker))
    return [...listed, ...nativeVoices(missing)]
  }
}

/** The checkpoint's speakers, under their own names. */
export function nativeVoices(speakers: readonly string[]): EngineVoice[] {
  return speakers.map((speaker) => ({
    name: speaker.charAt(0).toUpperCase() + speaker.slice(1),
    speaker,
    native: true,
  }))
}

/**
 * The speaker for a voice name.
 * @param strict whether an unlisted name is an error. Otherwise the first speaker is used.
 * @throws EngineError `unsupported`
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
    `Unknown voice '${name}'; this checkpoint has ${voices.map((known) => known.name).join(', ')}.`,
    { param: 'audio.voice' },
  )
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let state = 0x811c9dc5
  for (let index = 0; index < text.length; index += 1)
    state = Math.imul(state ^ text.charCodeAt(index), 0x01000193) >>> 0
  return state
}
