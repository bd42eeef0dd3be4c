/**
 * Starts the engines for the checkpoints that the settings name.
 *
 * A name is resolved in this order: a built-in checkpoint, a folder or converted file, a pulled checkpoint by its hub
 * id.
 */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { readSpeechPrompt } from '../api/speech-prompt.ts'
import { VOICES } from '../catalogue/index.ts'
import { homeFolder, packageFolder, pulledFolder, type Settings } from '../config/index.ts'
import { EngineError, type Engine } from '../contract/index.ts'
import { createLocalEngine, type RequestMetrics } from '../engines/local/local-engine.ts'
import { mapVoices } from '../engines/local/voices.ts'

/** Folder for cache files of repacked weights. */
export function weightsFolder(): string {
  return path.join(homeFolder(), 'weights')
}

export interface FoundCheckpoint {
  /** Path of a folder, or of a file written by `omniserve convert`. */
  readonly location: string
  /** The name under which it is served. */
  readonly id: string
}

/** Used if `models/nano` is missing: random weights, whose replies are meaningless. */
const RANDOM_CHECKPOINT = path.join(packageFolder, 'testdata', 'checkpoints', 'tiny-mixed')

/** @throws EngineError `bad_checkpoint` with the searched locations */
export function findCheckpoint(name: string): FoundCheckpoint {
  if (/^[\w.-]+$/.test(name)) {
    const builtIn = path.join(packageFolder, 'models', name)
    if (isCheckpoint(builtIn)) return { location: builtIn, id: name }
    if (name === 'nano' && isCheckpoint(RANDOM_CHECKPOINT)) return { location: RANDOM_CHECKPOINT, id: 'tiny-random' }
  }
  const direct = path.resolve(name)
  if (isCheckpoint(direct)) return { location: direct, id: path.basename(direct).replace(/\.gguf$/, '') }
  const searched = [direct]
  let pullCommand = 'omniserve pull OWNER/NAME'
  if (/^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(name)) {
    const pulled = pulledFolder(name)
    if (isCheckpoint(pulled)) return { location: pulled, id: name }
    searched.push(pulled)
    pullCommand = `omniserve pull ${name}`
  }
  throw new EngineError(
    'bad_checkpoint',
    `no checkpoint '${name}': looked in ${searched.join(' and ')}. Give a folder with a config.json, or download one: ${pullCommand}`,
  )
}

export function isCheckpoint(location: string): boolean {
  return existsSync(path.join(location, 'config.json')) || (location.endsWith('.gguf') && existsSync(location))
}

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
