/** The local engine: a checkpoint on this machine, in a process of its own. */

export { createLocalEngine, type LocalEngine, type LocalEngineOptions } from './local-engine.ts'
export type { LoadOptions, ProcessBeat } from './messages.ts'
export { mapVoices, nativeVoices, type VoiceDescription, type VoiceMapping } from './voices.ts'
