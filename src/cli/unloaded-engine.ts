/**
 * A checkpoint seen without loading its weights: what it can do, and what prompts cost it.
 *
 * In: a folder or converted file. Out: facts, and an `Engine` that lists and counts but refuses to generate. So `models`,
 * `voices` and `tokens` answer in the wire's own words within a moment, whatever the checkpoint's size.
 */
import {
  EngineError,
  type Engine,
  type EngineModel,
  type GenerationRequest,
  type PromptUsage,
} from '../contract/index.ts'
import { localCapabilities } from '../engines/local/capabilities.ts'
import type { VoiceMapping } from '../engines/local/voices.ts'
import { describeModel, type ModelDescription, supportedArchitectures } from '../models/index.ts'
import { createPromptBuilder, type PromptBuilder } from '../prompt/prompt-builder.ts'
import { checkpointMemory, openCheckpoint } from '../weights/index.ts'
import type { FoundCheckpoint } from './open-engines.ts'

const longestReply = 16_384

export interface CheckpointFacts {
  readonly model: Omit<EngineModel, 'voices'>
  /** Lower-case names; empty when it does not speak. */
  readonly speakers: readonly string[]
  readonly description: ModelDescription
  /** Bytes of all weights that are used, in the types they are stored in. */
  readonly weightBytes: number
  readonly builder: PromptBuilder
}

/** @throws EngineError `bad_checkpoint` */
export async function readCheckpointFacts({ location, id }: FoundCheckpoint): Promise<CheckpointFacts> {
  using checkpoint = await openCheckpoint(location, { supported: supportedArchitectures })
  const builder = await createPromptBuilder(checkpoint)
  const description = describeModel(checkpoint.config)
  const has = (prefix: string): boolean => description.declarations.some(({ name }) => name.startsWith(prefix))
  const speakers =
    description.speech !== undefined && has('talker.') && has('code2wav.')
      ? [...description.speech.speakers.keys()]
      : []
  const sees = has('thinker.visual.')
  // Matches every weight by name and shape, as loading does.
  const { weights } = checkpointMemory(checkpoint, description.declarations, { naming: description.naming })
  return {
    model: {
      id,
      architecture: description.architecture,
      input: [
        'text',
        ...(sees ? (['image'] as const) : []),
        ...(has('thinker.audio_tower.') ? (['audio'] as const) : []),
        ...(sees ? (['video'] as const) : []),
      ],
      output: speakers.length > 0 ? ['text', 'audio'] : ['text'],
      thinking: await canThink(builder),
      capabilities: localCapabilities,
      contextLength: description.contextLength,
      maxOutputTokens: Math.min(longestReply, Math.max(1, Math.floor(description.contextLength / 2))),
      weights: checkpoint.describeTypes(),
      device: 'not loaded',
    },
    speakers,
    description,
    weightBytes: weights,
    builder,
  }
}

/** A template that can switch thinking, or one that always opens a `<think>` block. */
async function canThink(builder: PromptBuilder): Promise<boolean> {
  if (builder.tokenizer.idOf('<think>') === undefined || builder.tokenizer.idOf('</think>') === undefined) return false
  if (builder.thinking === 'switch') return true
  const probe = await builder.prepare([{ role: 'user', content: [{ type: 'text', text: 'x' }] }])
  return probe.insideReasoning
}

/** @throws EngineError `bad_checkpoint` */
export async function createUnloadedEngine(found: FoundCheckpoint, voices: VoiceMapping): Promise<Engine> {
  const { model, speakers, builder } = await readCheckpointFacts(found)
  return new UnloadedEngine({ ...model, voices: voices(speakers) }, builder)
}

class UnloadedEngine implements Engine {
  readonly #model: EngineModel
  readonly #builder: PromptBuilder

  constructor(model: EngineModel, builder: PromptBuilder) {
    this.#model = model
    this.#builder = builder
  }

  get id(): string {
    return this.#model.id
  }

  async models(): Promise<readonly EngineModel[]> {
    return [this.#model]
  }

  async countPrompt(request: GenerationRequest, signal?: AbortSignal): Promise<PromptUsage> {
    signal?.throwIfAborted()
    const thinking = this.#builder.thinking === 'fixed' ? {} : { thinking: request.thinking !== undefined }
    return this.#builder.count(request.messages, thinking)
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
