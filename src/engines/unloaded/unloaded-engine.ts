/**
 * An engine that does not load weights: it lists a checkpoint's capabilities and counts prompt tokens.
 *
 * In: a folder or converted file. Out: facts, and an `Engine` that refuses to generate. The commands `models`, `voices`
 * and `tokens` use it, so that they are fast for a checkpoint of any size.
 */
import {
  EngineError,
  type Engine,
  type EngineModel,
  type GenerationRequest,
  type PromptUsage,
} from '../../contract/index.ts'
import type { ModelDescription } from '../../models/index.ts'
import type { PromptBuilder } from '../../prompt/prompt-builder.ts'
import { checkpointMemory } from '../../weights/index.ts'
import type { VoiceMapping } from '../local/voices.ts'
import { listModel, openModel } from '../open-model.ts'

export interface CheckpointLocation {
  /** Folder, or file made by `omniserve convert`. */
  readonly location: string
  /** Name of the served model. */
  readonly id: string
}

export interface CheckpointFacts {
  readonly model: Omit<EngineModel, 'voices'>
  /** Lower-case names; empty when it has no speech. */
  readonly speakers: readonly string[]
  readonly description: ModelDescription
  /** Bytes of all weights that the model uses, in their stored types. */
  readonly weightBytes: number
  readonly prompt: PromptBuilder
}

/** Reads a checkpoint's facts without its weights. @throws EngineError `bad_checkpoint` */
export async function readCheckpointFacts({ location, id }: CheckpointLocation): Promise<CheckpointFacts> {
  using opened = await openModel(location)
  const { checkpoint, description, prompt } = opened
  // Also checks every weight's name and shape, as loading does.
  const { weights } = checkpointMemory(checkpoint, description.declarations, { naming: description.naming })
  return {
    model: listModel(opened, { id, device: 'not loaded' }),
    speakers: description.speaks?.speakers ?? [],
    description,
    weightBytes: weights,
    prompt,
  }
}

/** Creates an engine without weights. @throws EngineError `bad_checkpoint` */
export async function createUnloadedEngine(found: CheckpointLocation, voices: VoiceMapping): Promise<Engine> {
  const { model, speakers, prompt } = await readCheckpointFacts(found)
  return new UnloadedEngine({ ...model, voices: voices(speakers) }, prompt)
}

class UnloadedEngine implements Engine {
  readonly #model: EngineModel
  readonly #prompt: PromptBuilder

  constructor(model: EngineModel, prompt: PromptBuilder) {
    this.#model = model
    this.#prompt = prompt
  }

  get id(): string {
    return this.#model.id
  }

  async models(): Promise<readonly EngineModel[]> {
    return [this.#model]
  }

  async countPrompt(request: GenerationRequest, signal?: AbortSignal): Promise<PromptUsage> {
    signal?.throwIfAborted()
    const thinking = this.#prompt.thinking === 'fixed' ? {} : { thinking: request.thinking !== undefined }
    return this.#prompt.count(request.messages, { ...thinking, signal })
  }

  generate(): AsyncIterable<never> {
    const refusal = new EngineError('engine_closed', `the weights of ${this.id} are not loaded`)
    return { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(refusal) }) }
  }

  status(): { ready: boolean; active: number; waiting: number; reason: string } {
    return { ready: false, active: 0, waiting: 0, reason: 'weights are not loaded' }
  }

  async close(): Promise<void> {}
}
