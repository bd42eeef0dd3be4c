/** The system text before spoken conversations, by the settings. */
import { readFile } from 'node:fs/promises'
import { SPEECH_PROMPT } from '../accounting/index.ts'
import { ConfigError, type Settings } from '../config/index.ts'

export interface SpeechPrompt {
  readonly text: string
  /** Whether checkpoints of any context get it; short ones do not get the built-in one. */
  readonly always: boolean
}

/** Undefined when there is none. @throws ConfigError for a file that cannot be read */
export async function readSpeechPrompt(settings: Settings): Promise<SpeechPrompt | undefined> {
  switch (settings.speechPrompt) {
    case 'default':
      return { text: SPEECH_PROMPT, always: false }
    case 'none':
      return undefined
    default:
      try {
        return { text: (await readFile(settings.speechPrompt, 'utf8')).trim(), always: true }
      } catch (error) {
        throw new ConfigError(`--speech-prompt names ${settings.speechPrompt}, which cannot be read.`, { cause: error })
      }
  }
}
