/**
 * Opens a checkpoint and checks its files; no weight is read.
 *
 * In: a folder as on the hub (config.json, safetensors in one file or shards), or a converted file (GGUF,
 * `convert.ts`). Out: a {@link Checkpoint}.
 */

import { readFile, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { EngineError } from '../contract/index.ts'
import { architectureOf, Checkpoint, type CheckpointConfig, type StoredTensor } from './checkpoint.ts'
import { readGgufHeader } from './gguf-read.ts'
import { listOf } from './list-of.ts'
import { messageOf } from './message-of.ts'
import { readSafetensorsHeader } from './safetensors.ts'

/**
 * Opens a folder or a converted file. `supported`: architectures to accept. Default: all.
 *
 * Rejects with `EngineError('bad_checkpoint')`, naming the file and the fix: no such path, no config.json, a shard that
 * is missing, truncated or lacks tensors of the index, unsupported element types, an unsupported architecture.
 */
export async function openCheckpoint(
  location: string,
  options: { readonly supported?: readonly string[]; readonly signal?: AbortSignal } = {},
): Promise<Checkpoint> {
  let isFolder: boolean
  try {
    isFolder = (await stat(location)).isDirectory()
  } catch (error) {
    throw new EngineError(
      'bad_checkpoint',
      `there is no checkpoint at ${location}: ${messageOf(error)}; give a folder with config.json or a converted file`,
      { cause: error },
    )
  }
  const checkpoint = isFolder ? await openFolder(location, options.signal) : await openConverted(location)
  const { supported } = options
  if (supported !== undefined && !supported.includes(checkpoint.architecture)) {
    throw new EngineError(
      'bad_checkpoint',
      `${location} is a ${checkpoint.architecture}, which is not supported; supported are ${supported.join(', ')}`,
    )
  }
  return checkpoint
}

async function openFolder(folder: string, signal?: AbortSignal): Promise<Checkpoint> {
  const bytes = (name: string): Promise<Buffer | undefined> => readOptional(join(folder, name))
  const readText = async (name: string): Promise<string | undefined> => (await bytes(name))?.toString('utf8')
  const config = parseJson(await readText('config.json'), 'config.json', folder)
  architectureOf(config)
  refuseQuantised(config, folder)
  const tensors = new Map<string, StoredTensor>()
  for (const [file, indexed] of await shardsOf(folder, readText)) {
    signal?.throwIfAborted()
    const path = join(folder, file)
    const { entries } = await readSafetensorsHeader(path)
    for (const entry of entries.values()) {
      const { name } = entry
      const other = tensors.get(name)
      if (other !== undefined) {
        throw new EngineError('bad_checkpoint', `tensor ${name} is in both ${basename(other.file)} and ${file}`)
      }
      tensors.set(name, { ...entry, file: path })
    }
    const missing = indexed.filter((name) => !entries.has(name))
    if (missing.length > 0) {
      throw new EngineError(
        'bad_checkpoint',
        `${file} lacks ${listOf(missing)}, which model.safetensors.index.json places there; download it again`,
      )
    }
  }
  return new Checkpoint(folder, 'folder', config, tensors, { text: readText, bytes })
}

/** Weights that other tools quantised (AWQ, GPTQ, FP8, bitsandbytes) are packed in unsupported formats. */
function refuseQuantised(config: Readonly<Record<string, unknown>>, folder: string): void {
  const parts = [config, config['thinker_config'], config['talker_config']]
  for (const part of parts) {
    const quantization = isRecord(part) ? part['quantization_config'] : undefined
    if (!isRecord(quantization)) continue
    const method = typeof quantization['quant_method'] === 'string' ? ` (${quantization['quant_method']})` : ''
    throw new EngineError(
      'bad_checkpoint',
      `${folder} is quantised${method}, which is not supported; get the bfloat16 checkpoint and quantise it: ` +
        'omniserve convert FOLDER --quantize q4_0',
    )
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

/** The file names of the weights, with the tensors that the index lists for each. */
async function shardsOf(
  folder: string,
  readText: (name: string) => Promise<string | undefined>,
): Promise<Map<string, string[]>> {
  const shards = new Map<string, string[]>()
  const index = await readText('model.safetensors.index.json')
  if (index === undefined) {
    const single = join(folder, 'model.safetensors')
    if (!(await exists(single))) {
      throw new EngineError(
        'bad_checkpoint',
        `${folder} has neither model.safetensors nor model.safetensors.index.json; other formats (.bin, .pth) are not supported`,
      )
    }
    shards.set('model.safetensors', [])
    return shards
  }
  const map = parseJson(index, 'model.safetensors.index.json', folder).weight_map
  if (typeof map !== 'object' || map === null) {
    throw new EngineError('bad_checkpoint', `model.safetensors.index.json in ${folder} has no weight_map`)
  }
  for (const [name, file] of Object.entries(map as Record<string, unknown>)) {
    if (typeof file !== 'string' || file !== basename(file) || file === '..') {
      throw new EngineError('bad_checkpoint', `model.safetensors.index.json places ${name} in ${JSON.stringify(file)}`)
    }
    const names = shards.get(file)
    if (names === undefined) shards.set(file, [name])
    else names.push(name)
  }
  const present = await Promise.all(
    [...shards.keys()].map(async (file) => [file, await exists(join(folder, file))] as const),
  )
  const missing = present.filter(([, isPresent]) => !isPresent).map(([file]) => file)
  if (missing.length > 0) {
    throw new EngineError(
      'bad_checkpoint',
      `${folder} lacks ${missing.length} of ${shards.size} weight files: ${listOf(missing)}; finish the download`,
    )
  }
  return shards
}

async function openConverted(path: string): Promise<Checkpoint> {
  const { metadata, tensors: stored } = await readGgufHeader(path)
  const format = metadata.get('omniserve.format')
  if (format !== 1) {
    throw new EngineError(
      'bad_checkpoint',
      format === undefined
        ? `${basename(path)} is a GGUF file of another program; convert the checkpoint folder with omniserve convert`
        : `${basename(path)} was written by a newer omniserve (format ${String(format)}); convert the checkpoint again`,
    )
  }
  const names = metadata.get('omniserve.tensor_names')
  const tensors = new Map<string, StoredTensor>()
  for (const [index, tensor] of stored.entries()) {
    const name = Array.isArray(names) ? names[index] : undefined
    if (typeof name !== 'string' || tensors.has(name)) {
      throw new EngineError(
        'bad_checkpoint',
        `${basename(path)}: omniserve.tensor_names is invalid; convert the checkpoint again`,
      )
    }
    tensors.set(name, { ...tensor, name, file: path })
  }
  const readText = async (name: string): Promise<string | undefined> => {
    const text = metadata.get(`omniserve.file.${name}`)
    return typeof text === 'string' ? text : undefined
  }
  const bytes = async (name: string): Promise<Uint8Array | undefined> => {
    const encoded = metadata.get(`omniserve.binary.${name}`)
    return typeof encoded === 'string' ? Buffer.from(encoded, 'base64') : undefined
  }
  const config = parseJson(await readText('config.json'), 'config.json', path)
  return new Checkpoint(path, 'converted', config, tensors, { text: readText, bytes })
}

function parseJson(text: string | undefined, file: string, location: string): CheckpointConfig {
  if (text === undefined) throw new EngineError('bad_checkpoint', `${location} has no ${file}`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new EngineError('bad_checkpoint', `${file} in ${location} is not JSON: ${messageOf(error)}`, { cause: error })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new EngineError('bad_checkpoint', `${file} in ${location} is not a JSON object`)
  }
  return value as CheckpointConfig
}

async function readOptional(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new EngineError('bad_checkpoint', `cannot read ${path}: ${messageOf(error)}`, { cause: error })
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch {
    return false
  }
}
