/** What engines that run a checkpoint themselves can honour and tell. */

import type { EngineCapabilities } from '../../contract/index.ts'

export const localCapabilities: EngineCapabilities = {
  tools: false,
  seed: true,
  voiceChoice: true,
  promptByModality: true,
  countsPrompt: true,
}
