/** The system text put before spoken conversations, as the settings have it. */
import { readFile } from 'node:fs/promises'
import { SPEECH_PROMPT } from '../accounting/index.ts'
import { ConfigError, type Settings } from '../config/index.ts'

export interface SpeechPrompt {
  readonly text: string
  /** Whether it is shown to checkpoints of any context; the built-in one is not shown to short ones. */
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
