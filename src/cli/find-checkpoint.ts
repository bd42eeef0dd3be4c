/**
 * Finds the checkpoint that a name stands for.
 *
 * A name is resolved in this order: a built-in checkpoint, a folder or converted file, a pulled checkpoint by its hub
 * id.
 */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { homeFolder, packageFolder, pulledFolder } from '../config/paths.ts'
import { EngineError } from '../contract/index.ts'

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
export const RANDOM_CHECKPOINT = path.join(packageFolder, 'testdata', 'checkpoints', 'tiny-mixed')

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
