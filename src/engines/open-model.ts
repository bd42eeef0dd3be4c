/**
 * Opens a checkpoint: locates its weights, reads and validates its small files, and prepares its prompt builder.
 *
 * In: a folder or converted file. Out: an {@link OpenedModel}, and an engine's listing of it. The local engine, the
 * unloaded engine and the reports of the command line use it.
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

/** Default limit of a reply's tokens. */
export const defaultMaxOutputTokens = 16_384

/** Capabilities of engines that have the checkpoint's files. */
const capabilities: Omit<EngineCapabilities, 'tools'> = {
  seed: true,
  voiceChoice: true,
  promptByModality: true,
  countsPrompt: true,
  scripted: true,
}

/** Opens a checkpoint. @throws EngineError `bad_checkpoint` naming the file, the fault and the fix */
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

/** An engine's listing of a model, without voices, which depend on the engine. */
export function listModel(
  { description, prompt, checkpoint, serving }: Omit<OpenedModel, typeof Symbol.dispose>,
  options: {
    readonly id: string
    readonly device: string
    /** Limited to the checkpoint's context length, which is the default. */
    readonly contextLength?: number
    readonly maxOutputTokens?: number
    /** Format that the weights were converted to while loading. */
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
    maxOutputTokens: Math.min(
      options.maxOutputTokens ?? defaultMaxOutputTokens,
      Math.max(1, Math.floor(contextLength / 2)),
    ),
    weights: options.weights ?? checkpoint.describeTypes(),
    device: options.device,
    ...serving,
  }
}
