/**
 * Loads a checkpoint and starts its runtime: opens and validates its files, checks memory, loads weights.
 *
 * In: {@link LoadOptions}. Out: a {@link HostedModel}. A fault of the checkpoint is an `EngineError('bad_checkpoint')`
 * that names the fault and the fix. Where possible, faults are found before weights are read.
 */

import { availableParallelism } from 'node:os'

import { EngineError, type GenerationRequest } from '../../contract/index.ts'
import { createDetokenizer } from '../../prompt/detokenizer.ts'
import type { PromptBuilder, PromptOptions } from '../../prompt/prompt-builder.ts'
import type { RequestMetrics } from '../../runtime/request-metrics.ts'
import type { OmniModel } from '../../models/index.ts'
import { MemoryBudget } from '../../models/memory-budget.ts'
import type { SpeechOptions } from '../../models/speech.ts'
import { type ReplyWatcher, Runtime } from '../../runtime/runtime.ts'
import type { RuntimeTokenizer } from '../../runtime/reply-reader.ts'
import { CleanupStack } from '../../runtime/cleanup-stack.ts'
import { type Backend, loadBackend, TensorError, TensorLibraryError } from '../../tensor/index.ts'
import { checkMemory, loadParameters } from '../../weights/index.ts'
import { listModel, defaultMaxOutputTokens, openModel } from '../open-model.ts'
import { tokensThatFit } from './cache-limit.ts'
import { availableFor, choosePlacement, loadedTypes, smallCheckpointBytes, workingBytes } from './choose-placement.ts'
import { deviceNotes } from './device-notes.ts'
import type { LoadOptions } from './messages.ts'
import type { HostedModel } from './process-host.ts'

/** Share of the free memory for caches, including the prefix cache. */
const cacheShare = 0.8
/** Share of memory-mapped weights that caches may evict from memory. The system reads them again when needed. */
const evictableShare = 0.2

/** Above this size, repacking takes long enough that the log announces it. */
const slowRepackBytes = 1e9

/** A hosted model with its parts, for verification and tests. */
export interface OpenHostedModel extends HostedModel {
  readonly parts: {
    readonly backend: Backend
    readonly model: OmniModel
    readonly prompt: PromptBuilder
    /** Builds another model over the same weights, with other speech options. Dispose it before the hosted model. */
    readonly build: (speech: SpeechOptions) => OmniModel
  }
}

/**
 * Loads a model and starts its runtime. Throws `EngineError('bad_checkpoint')` after the release of all native memory.
 * @param onMetrics called when a request has ended.
 * @param watch receives every generated id, for tests in this process.
 */
export async function loadHostedModel(
  options: LoadOptions,
  onMetrics: (metrics: RequestMetrics) => void,
  watch?: ReplyWatcher,
): Promise<OpenHostedModel> {
  using cleanup = new CleanupStack()
  const opened = cleanup.use(await openModel(options.checkpoint))
  const { checkpoint, description, prompt } = opened
  const { declarations, naming } = description
  const { bytes, ...types } = loadedTypes(checkpoint, description, options)
  // With an f16 cache, the choice between two nearly equal experts may differ. For a small model, f32 costs little.
  const computesInF32 = options.exact === true || (options.types === undefined && types.types?.type === 'f32')
  const backend = cleanup.use(await openDevice(options, bytes))
  for (const note of deviceNotes(backend)) process.stderr.write(`${note}\n`)
  const available = availableFor(backend, options)
  const onDevice = backend.kind === 'cpu' ? '' : ` on ${backend.deviceName}`
  const placement = await choosePlacement(backend, checkpoint, description, { ...options, ...types })
  checkMemory(
    { weights: placement.weights, working: workingBytes },
    declarations,
    checkpoint.location + onDevice,
    available,
  )
  if (placement.kind === 'repacked-now' && placement.weights > slowRepackBytes)
    process.stderr.write(`${placement.chosen}\n`)
  const before = backend.availableMemory()
  const weights = cleanup.use(
    await loadParameters(backend, checkpoint, declarations, {
      ...types,
      naming,
      ...(placement.cache && { repackCache: placement.cache }),
      ...(placement.kind === 'stored' && { repack: false }),
    }),
  )
  // Sequential reads are much faster than page faults in the order in which the first tokens need weights.
  if (placement.weights + workingBytes <= before) await weights.prefetch()
  const free = Math.max(before - placement.weights, evictableShare * weights.mappedBytes)
  const most = cacheShare * Math.max(0, Math.min(free, backend.availableMemory()) - workingBytes)
  const budget = new MemoryBudget(Math.min(most, options.cacheBytes ?? Infinity))
  const build = (more: SpeechOptions = {}): OmniModel =>
    description.build(backend, weights, {
      budget,
      ...(computesInF32 && { cacheType: 'f32' }),
      speech: {
        exact: options.exact ?? false,
        ...(options.maxSpeechFrames !== undefined && { maxFrames: options.maxSpeechFrames }),
        ...(options.diffusion && { diffusion: options.diffusion }),
        ...more,
      },
    })
  const model = cleanup.use(build())
  const fitting = tokensThatFit(model, budget.limit, (options.cacheBytes ?? Infinity) <= most)
  const runtime = new Runtime({
    model,
    tokenizer: runtimeTokenizer(prompt),
    prepare: (request, signal) =>
      prompt.prepare(request.messages, { ...promptOptions(request, prompt, options), signal }),
    count: (request, signal) => prompt.count(request.messages, { ...promptOptions(request, prompt, options), signal }),
    ...(prompt.audioFeatures && { audioFeatures: prompt.audioFeatures }),
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
    ...(options.maxCachedPrefixes !== undefined && { maxCachedPrefixes: options.maxCachedPrefixes }),
  })
  await sharePrompts(runtime, options.systemPrompts ?? [])
  const resources = cleanup.move()
  return {
    model: listModel(opened, {
      id: options.id,
      contextLength: runtime.contextLength,
      weights: types.types?.type,
      device:
        backend.kind === 'cpu'
          ? `cpu (${backend.threads} ${backend.threads === 1 ? 'thread' : 'threads'})`
          : `${backend.kind} (${backend.deviceName})`,
      maxOutputTokens: Math.min(options.maxOutputTokens ?? Infinity, defaultMaxOutputTokens, Math.floor(fitting / 2)),
    }),
    speakers: description.speaks?.speakers ?? [],
    placement: { chosen: placement.chosen, ...(placement.faster !== undefined && { faster: placement.faster }) },
    runtime,
    nativeBytes: () => backend.memory.buffers + backend.memory.contexts,
    dispose: () => resources[Symbol.dispose](),
    parts: { backend, model, prompt, build },
  }
}

/**
 * Prefills common system prompts. Without memory for them, requests are only slower. Any other error is a fault of the
 * checkpoint, and is thrown.
 */
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

/** Throws `unsupported` for a missing device, an invalid number of threads, or a library version that is not tested. */
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

/**
 * For small models one thread is fastest, because threads synchronize after each operation. The vocoder runs in a
 * thread of its own, without synchronization.
 */
function threadOption(asked: number | undefined, bytes: number): { threads?: number; parallelThreads?: number } {
  if (asked !== undefined) return { threads: asked }
  return bytes < smallCheckpointBytes ? { threads: 1, parallelThreads: Math.min(1, availableParallelism() - 1) } : {}
}

/**
 * Options of the checkpoint's chat template. Parity runs do not set the template's `enable_thinking` variable.
 */
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
