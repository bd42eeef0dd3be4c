/**
 * The languages of a voice here: those of the API's voice that the loaded checkpoint supports.
 *
 * Pure. Reference: nano's model card; the Qwen2.5-Omni and Qwen3-Omni model cards on Hugging Face ("speech output").
 */
import type { ModelListing, VoiceListing } from './types.ts'

const CHINESE_ENGLISH = ['zh', 'en']

/** ISO 639-1 codes. */
export function spokenLanguages(voice: VoiceListing, checkpoint: ModelListing['served_by']): readonly string[] {
  if (checkpoint === null) return voice.languages
  const two = checkpoint.checkpoint === 'nano' || checkpoint.architecture.startsWith('Qwen2_5')
  return two ? voice.languages.filter((code) => CHINESE_ENGLISH.includes(code)) : voice.languages
}
