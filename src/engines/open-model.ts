/**
 * A checkpoint opened: its weights located but not read, its small files read once and checked, its prompts ready.
 *
 * In: a folder or converted file. Out: an {@link OpenedModel}, and an engine's listing of it. The local engine, the
 * unloaded one and the command line's reports all begin here.
 */

import type { EngineCapabilities, EngineModel } from '../contract/index.ts'
import { type ModelDescription, readModel, supportedArchitectures } from '../models/index.ts'
import type { PromptBuilder } from '../prompt/prompt-builder.ts'
import { type Checkpoint, openCheckpoint } from '../weights/index.ts'
import { readServingDefaults, type ServingDefaults } from './serving-defaults.ts'

export interface OpenedModel extends Disposable {
  readonly checkpoint: Checkpoint
  readonly description: ModelDescription
  readonly prompt: PromptBuilder
  readonly serving: ServingDefaults
}

/** Tokens of a reply at most, where nobody says otherwise. */
export const longestReply = 16_384

/** Capabilities of engines that know a checkpoint. */
const capabilities: Omit<EngineCapabilities, 'tools'> = {
  seed: true,
  voiceChoice: true,
  promptByModality: true,
  countsPrompt: true,
  scripted: true,
}

/** @throws EngineError `bad_checkpoint` naming the file, the fault and the fix. */
export async function openModel(location: string): Promise<OpenedModel> {
  const checkpoint = await openCheckpoint(location, { supported: supportedArchitectures })
  try {
    const description = await readModel(checkpoint)
    return {
      checkpoint,
      description,
      prompt: description.prompt(),
      serving: await readServingDefaults(checkpoint),
      [Symbol.dispose]: () => checkpoint[Symbol.dispose](),
    }
  } catch (error) {
    checkpoint[Symbol.dispose]()
    throw error
  }
}

/** An engine's listing of a model, without voices: those are the engine's choice. */
export function listModel(
  { description, prompt, checkpoint, serving }: Omit<OpenedModel, typeof Symbol.dispose>,
  options: {
    readonly id: string
    readonly device: string
    /** At most the checkpoint's own. */
    readonly contextLength?: number
    readonly maxOutputTokens?: number
    /** Format the weights were converted to while loading. */
    readonly weights?: string | undefined
  },
): Omit<EngineModel, 'voices'> {
  const contextLength = Math.min(options.contextLength ?? Infinity, description.contextLength)
  return {
    id: options.id,
    architecture: description.architecture,
    input: description.reads,
    output: description.speaks ? ['text', 'audio'] : ['text'],
    thinking: prompt.canThink,
    capabilities: { ...capabilities, tools: prompt.tools },
    contextLength,
    maxOutputTokens: Math.min(options.maxOutputTokens ?? longestReply, Math.max(1, Math.floor(contextLength / 2))),
    weights: options.weights ?? checkpoint.describeTypes(),
    device: options.device,
    ...serving,
  }
}
