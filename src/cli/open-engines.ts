/** Starts the engines for the checkpoints that the settings name. */
import { readSpeechPrompt } from '../api/speech-prompt.ts'
import { VOICES } from '../catalogue/index.ts'
import type { Settings } from '../config/index.ts'
import type { Engine } from '../contract/index.ts'
import { createLocalEngine, type RequestMetrics } from '../engines/local/local-engine.ts'
import { mapVoices } from '../engines/local/voices.ts'
import { findCheckpoint, type FoundCheckpoint, RANDOM_CHECKPOINT, weightsFolder } from './find-checkpoint.ts'

export interface OpenEnginesOptions {
  readonly settings: Settings
  readonly log: (text: string, facts: Readonly<Record<string, unknown>>) => void
  readonly warn: (text: string, facts: Readonly<Record<string, unknown>>) => void
  /** Called with the metrics of each request at its end. */
  readonly onMetrics?: (metrics: RequestMetrics, checkpoint: string) => void
  readonly signal?: AbortSignal
}

/**
 * Starts one engine per checkpoint of `--model` and `--bind`. If one fails, the started ones are closed.
 *
 * @throws EngineError `bad_checkpoint`
 */
export async function openEngines(options: OpenEnginesOptions): Promise<ReadonlyMap<string, Engine>> {
  const { settings } = options
  const names = [...new Set([settings.model, ...Object.values(settings.bind)])]
  const found = names.map((name) => [name, findCheckpoint(name)] as const)
  const byLocation = new Map<string, Engine>()
  const engines = new Map<string, Engine>()
  try {
    for (const [name, checkpoint] of found) {
      const engine = byLocation.get(checkpoint.location) ?? (await openCheckpoint(name, checkpoint, options))
      byLocation.set(checkpoint.location, engine)
      engines.set(name, engine)
    }
  } catch (error) {
    await Promise.all([...byLocation.values()].map((engine) => engine.close()))
    throw error
  }
  return engines
}

/** Starts the engine of one checkpoint. @param name as in the settings @throws EngineError `bad_checkpoint` */
export async function openCheckpoint(
  name: string,
  { location, id }: FoundCheckpoint,
  { settings, log, warn, onMetrics, signal }: OpenEnginesOptions,
): Promise<Engine> {
  if (location === RANDOM_CHECKPOINT && name === 'nano') {
    warn('models/nano is missing: random weights are used, so replies are meaningless', { location })
  }
  const speechPrompt = await readSpeechPrompt(settings)
  const systemPrompts = speechPrompt && [
    { text: speechPrompt.text, minContext: speechPrompt.always ? 0 : settings.speechPromptMinContext },
  ]
  const startedAt = performance.now()
  const engine = await createLocalEngine({
    checkpoint: location,
    id,
    device: settings.device,
    precision: settings.gpuPrecision,
    voices: mapVoices(VOICES),
    cacheDirectory: weightsFolder(),
    maxConcurrent: settings.maxActive,
    maxWaiting: settings.maxWaiting,
    diffusion: {
      solver: settings.speechSolver,
      steps: settings.speechSteps,
      guidance: settings.speechGuidance,
    },
    ...(systemPrompts && { systemPrompts }),
    ...(settings.cacheMemory > 0 && { cacheBytes: settings.cacheMemory }),
    ...(settings.threads > 0 && { threads: settings.threads }),
    ...(settings.contextLength > 0 && { contextLength: settings.contextLength }),
    onLog: (line) => log(line, { checkpoint: id }),
    ...(onMetrics && { onMetrics: (metrics: RequestMetrics) => onMetrics(metrics, id) }),
    ...(signal && { signal }),
  })
  const [model] = await engine.models()
  const seconds = (performance.now() - startedAt) / 1000
  const { chosen: placement, faster } = engine.placement ?? {}
  const facts = { checkpoint: id, location, device: model?.device, weights: model?.weights, placement, seconds }
  log('checkpoint loaded', { ...facts, ...(faster !== undefined && { faster }) })
  return engine
}
