/**
 * A checkpoint on disk to a running model: opened, checked, fitted into memory, loaded, and given its runtime.
 *
 * In: {@link LoadOptions}. Out: a {@link HostedModel}. Everything that can be wrong with a checkpoint is an `EngineError('bad_checkpoint')`
 * that says what and how to mend it, and is found before weights are read where that is possible.
 */

import { EngineError, type GenerationRequest } from '../../contract/index.ts'
import { createDetokenizer } from '../../prompt/detokenizer.ts'
import type { PromptBuilder, PromptOptions } from '../../prompt/prompt-builder.ts'
import type { RequestMetrics } from '../../runtime/request-metrics.ts'
import type { OmniModel } from '../../models/index.ts'
import { MemoryBudget } from '../../models/memory-budget.ts'
import type { SpeechOptions } from '../../models/speech.ts'
import { type ReplyWatcher, Runtime } from '../../runtime/runtime.ts'
import type { RuntimeTokenizer } from '../../runtime/reply-reader.ts'
import { Undo } from '../../runtime/undo.ts'
import { type Backend, loadBackend, TensorError, TensorLibraryError } from '../../tensor/index.ts'
import { type Checkpoint, checkMemory, checkpointMemory, loadedMemory, loadParameters } from '../../weights/index.ts'
import { listModel, openModel } from '../open-model.ts'
import { contentKey } from './content-key.ts'
import { deviceNotes } from './device-notes.ts'
import type { LoadOptions } from './messages.ts'
import type { HostedModel } from './process-host.ts'

/** Memory beside the weights that a model needs at least: intermediate results and a short conversation's caches. */
const workingBytes = 256e6
/** Share of the free memory that caches may take, those kept of finished requests included. */
const cacheShare = 0.8
/** Weights below this are read faster than threads can be brought together for each operation. */
const smallCheckpoint = 200e6

/** A hosted model and what it is made of, for who looks inside. */
export interface OpenHostedModel extends HostedModel {
  readonly parts: {
    readonly backend: Backend
    readonly model: OmniModel
    readonly prompt: PromptBuilder
    /** Another model over the same weights, with speech of its own. To be disposed before the hosted one. */
    readonly build: (speech: SpeechOptions) => OmniModel
  }
}

/**
 * Loads and starts a model. Throws `EngineError('bad_checkpoint')`; everything native is released then.
 * @param onMetrics called when a request is over.
 * @param watch sees every id; for tests in this process.
 */
export async function loadHostedModel(
  options: LoadOptions,
  onMetrics: (metrics: RequestMetrics) => void,
  watch?: ReplyWatcher,
): Promise<OpenHostedModel> {
  using cleanup = new Undo()
  const opened = cleanup.use(await openModel(options.checkpoint))
  const { checkpoint, description, prompt } = opened
  const { declarations, naming } = description
  // References compute in f32 whatever the checkpoint stores, and so do small models, whose cache costs little: nano's logits are then
  // 1e-5 from transformers', with a cache in f16 5e-2 where two experts are next to equal.
  const whole = options.exact || (options.types === undefined && isSlowAsStored(checkpoint))
  const choice = options.types ?? (whole ? ({ type: 'f32' } as const) : undefined)
  const types = choice === undefined ? {} : { types: choice }
  const { weights: bytes } = checkpointMemory(checkpoint, declarations, { ...types, naming })
  const backend = cleanup.use(await openDevice(options, bytes))
  for (const note of deviceNotes(backend)) process.stderr.write(`${note}\n`)
  const available = backend.availableMemory() - (backend.kind === 'cpu' ? (options.keepFree ?? 0) : 0)
  const place = backend.kind === 'cpu' ? '' : ` on ${backend.deviceName}`
  const repacks = options.exact !== true && options.repack !== false
  const loaded = repacks
    ? await loadedMemory(backend, checkpoint, declarations, { ...types, naming })
    : { weights: bytes }
  checkMemory({ weights: loaded.weights, working: workingBytes }, declarations, checkpoint.location + place, available)

  const weights = cleanup.use(
    await loadParameters(backend, checkpoint, declarations, {
      ...types,
      naming,
      ...(options.cacheDirectory !== undefined && {
        repackCache: { directory: options.cacheDirectory, key: await contentKey(checkpoint) },
      }),
      ...(!repacks && { repack: false }),
    }),
  )
  const most = cacheShare * Math.max(0, backend.availableMemory() - workingBytes)
  const budget = new MemoryBudget(Math.min(most, options.cacheBytes ?? Infinity))
  const build = (more: SpeechOptions = {}): OmniModel =>
    description.build(backend, weights, {
      budget,
      ...(whole && { cacheType: 'f32' }),
      speech: {
        exact: options.exact ?? false,
        ...(options.maxSpeechFrames !== undefined && { maxFrames: options.maxSpeechFrames }),
        ...(options.diffusion && { diffusion: options.diffusion }),
        ...more,
      },
    })
  const model = cleanup.use(build())
  const runtime = new Runtime({
    model,
    tokenizer: runtimeTokenizer(prompt),
    prepare: (request, signal) =>
      prompt.prepare(request.messages, { ...promptOptions(request, prompt, options), signal }),
    count: (request, signal) => prompt.count(request.messages, { ...promptOptions(request, prompt, options), signal }),
    endTokenIds: prompt.endTokenIds,
    thinking: prompt.canThink,
    tools: prompt.tools,
    plainThink: options.exact ?? false,
    budget,
    onMetrics,
    ...(watch && { watch }),
    ...(options.contextLength !== undefined && { contextLength: options.contextLength }),
    ...(options.maxConcurrent !== undefined && { maxConcurrent: options.maxConcurrent }),
    ...(options.maxWaiting !== undefined && { maxWaiting: options.maxWaiting }),
    ...(options.keptPrefixes !== undefined && { keptPrefixes: options.keptPrefixes }),
  })
  await sharePrompts(runtime, options.systemPrompts ?? [])
  const held = cleanup.keep()
  return {
    model: listModel(opened, {
      id: options.id,
      contextLength: runtime.contextLength,
      weights: choice?.type,
      device:
        backend.kind === 'cpu'
          ? `cpu (${backend.threads} ${backend.threads === 1 ? 'thread' : 'threads'})`
          : `${backend.kind} (${backend.deviceName})`,
      ...(options.maxOutputTokens !== undefined && { maxOutputTokens: options.maxOutputTokens }),
    }),
    speakers: description.speaks?.speakers ?? [],
    runtime,
    nativeBytes: () => backend.memory.buffers + backend.memory.contexts,
    dispose: () => held[Symbol.dispose](),
    parts: { backend, model, prompt, build },
  }
}

/** Prefills what many requests begin with. Without memory for it they are only slower; anything else is a fault of the checkpoint. */
async function sharePrompts(runtime: Runtime, prompts: NonNullable<LoadOptions['systemPrompts']>): Promise<void> {
  try {
    for (const { text, minContext } of prompts) {
      if (runtime.contextLength < minContext) continue
      await runtime.share([{ role: 'system', content: [{ type: 'text', text }] }], new AbortController().signal)
    }
  } catch (error) {
    if (error instanceof EngineError && error.code === 'overloaded') {
      process.emitWarning(`a system prompt is not prefilled: ${error.message}`)
      return
    }
    await runtime.close()
    throw error
  }
}

/**
 * Small folders in bf16 are widened to f32: no value changes, products of narrow matrices are quicker (bf16 took 1.65
 * times as long for nano's vocoder, bf16 instructions notwithstanding) and finer, because bf16 products round the other factor to bf16 too (51 dB from f32's sound). Large ones stay
 * as stored, because there memory decides.
 */
function isSlowAsStored(checkpoint: Checkpoint): boolean {
  if (checkpoint.kind !== 'folder') return false
  let bytes = 0
  let narrow = false
  for (const { type, length } of checkpoint.tensors.values()) {
    bytes += length
    narrow ||= type === 'bf16'
  }
  return narrow && bytes < smallCheckpoint
}

/** Throws `unsupported` for a device that is not here, threads it cannot have, or a library that was not tested. */
async function openDevice(options: LoadOptions, bytes: number): Promise<Backend> {
  try {
    return await loadBackend({
      ...(options.device !== undefined && { device: options.device }),
      precision: options.exact ? 'exact' : (options.precision ?? 'fast'),
      ...threadOption(options.threads, bytes),
    })
  } catch (error) {
    if (!(error instanceof TensorError || error instanceof TensorLibraryError)) throw error
    throw new EngineError('unsupported', error.message, { cause: error })
  }
}

/** With many tiny operations a second thread mostly waits, and on a busy machine it waits for its turn: 50 times slower was seen. */
function threadOption(asked: number | undefined, bytes: number): { threads?: number } {
  if (asked !== undefined) return { threads: asked }
  return bytes < smallCheckpoint ? { threads: 1 } : {}
}

/** Speech and `<think>` as the checkpoint's own template wants them; parity runs leave the template's variable alone. */
function promptOptions(request: GenerationRequest, prompt: PromptBuilder, options: LoadOptions): PromptOptions {
  const speech = request.speech !== undefined
  const tools = request.toolChoice === 'none' ? undefined : request.tools
  return prompt.thinking === 'fixed' || options.exact
    ? { speech, tools }
    : { speech, tools, thinking: request.thinking !== undefined }
}

function runtimeTokenizer({ tokenizer }: PromptBuilder): RuntimeTokenizer {
  return {
    createDetokenizer: () => createDetokenizer(tokenizer),
    encode: (text) => tokenizer.encodeText(text),
    tokenId: (token) => tokenizer.idOf(token),
  }
}
