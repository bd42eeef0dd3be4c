/**
 * A checkpoint on disk: its configuration, its small files and where each tensor's bytes are. No weight is read here.
 *
 * In: a folder as on the hub (config.json, safetensors in one file or shards) or one converted file (GGUF, see
 * convert.ts). Out: a {@link Checkpoint}, which load-parameters.ts reads from. Disposing it unmaps its files; weights
 * that are used in place must be gone by then.
 */

import { readFile, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { EngineError } from '../contract/index.ts'
import { FileMapping, type TensorType } from '../tensor/index.ts'
import { readGgufHeader } from './gguf-read.ts'
import { messageOf } from './message-of.ts'
import { readSafetensorsHeader, type StoredType } from './safetensors.ts'

export interface StoredTensor {
  /** As stored. */
  readonly name: string
  readonly type: TensorType | StoredType
  /** PyTorch order in folders, ggml order in converted files. */
  readonly shape: readonly number[]
  readonly file: string
  /** Byte range in the file. */
  readonly offset: number
  readonly length: number
}

/** Any JSON object. */
export type CheckpointConfig = { readonly [key: string]: unknown }

/** `folder`: tensors as PyTorch wrote them. `converted`: tensors as the graphs use them. */
export type CheckpointKind = 'folder' | 'converted'

/** The files next to the weights, by name. */
interface SmallFiles {
  text(name: string): Promise<string | undefined>
  bytes(name: string): Promise<Uint8Array | undefined>
}

/** See the file header. Make one with {@link openCheckpoint}. */
export class Checkpoint implements Disposable {
  /** The folder or file. */
  readonly location: string
  readonly kind: CheckpointKind
  /** config.json */
  readonly config: CheckpointConfig
  /** `architectures[0]` of config.json. */
  readonly architecture: string
  readonly tensors: ReadonlyMap<string, StoredTensor>
  readonly #files: SmallFiles
  readonly #mappings = new Map<string, FileMapping>()
  #disposed = false

  /** @internal */
  constructor(
    location: string,
    kind: CheckpointKind,
    config: CheckpointConfig,
    tensors: ReadonlyMap<string, StoredTensor>,
    files: SmallFiles,
  ) {
    this.location = location
    this.kind = kind
    this.config = config
    this.architecture = architectureOf(config)
    this.tensors = tensors
    this.#files = files
  }

  /** A small text file of the checkpoint (tokenizer.json, chat_template.json, ...), or undefined. */
  readText(name: string): Promise<string | undefined> {
    return this.#files.text(name)
  }

  /** A small binary file of the checkpoint (spk_dict.pt), or undefined. */
  readBytes(name: string): Promise<Uint8Array | undefined> {
    return this.#files.bytes(name)
  }

  /** The file at an address, mapped at most once. */
  mapping(file: string): FileMapping {
    if (this.#disposed) throw new Error(`checkpoint ${this.location} is closed`)
    let mapping = this.#mappings.get(file)
    if (mapping === undefined) {
      mapping = FileMapping.open(file)
      this.#mappings.set(file, mapping)
    }
    return mapping
  }

  /**
   * A summary such as `bf16`, `f32`, `q4_0, q8_0`: types that hold at least a twentieth of the bytes, the commonest
   * first.
   */
  describeTypes(): string {
    const bytes = new Map<string, number>()
    let total = 0
    for (const { type, length } of this.tensors.values()) {
      bytes.set(type, (bytes.get(type) ?? 0) + length)
      total += length
    }
    return [...bytes]
      .toSorted((a, b) => b[1] - a[1])
      .filter(([, size], i) => i === 0 || size >= total / 20)
      .map(([type]) => type)
      .join(', ')
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return
    this.#disposed = true
    for (const mapping of this.#mappings.values()) mapping[Symbol.dispose]()
    this.#mappings.clear()
  }
}

/**
 * Opens a folder or a converted file and checks everything that can be checked without reading weights.
 *
 * Throws `EngineError('bad_checkpoint')` naming the file and the fix: no such folder, no config.json, a shard that is
 * missing, truncated, or lacks tensors that the index lists, unsupported element types; `supported` architectures, when
 * given.
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
  for (const [file, promised] of await shardsOf(folder, readText)) {
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
    const lacking = promised.filter((name) => !entries.has(name))
    if (lacking.length > 0) {
      throw new EngineError(
        'bad_checkpoint',
        `${file} lacks ${listOf(lacking)}, which model.safetensors.index.json places there; download it again`,
      )
    }
  }
  return new Checkpoint(folder, 'folder', config, tensors, { text: readText, bytes })
}

/**
 * Checkpoints that other tools quantised (AWQ, GPTQ, FP8, bitsandbytes) have packed weights that only those tools
 * support.
 */
function refuseQuantised(config: Readonly<Record<string, unknown>>, folder: string): void {
  const parts = [config, config['thinker_config'], config['talker_config']]
  for (const part of parts) {
    const found = isRecord(part) ? part['quantization_config'] : undefined
    if (!isRecord(found)) continue
    const method = typeof found['quant_method'] === 'string' ? ` (${found['quant_method']})` : ''
    throw new EngineError(
      'bad_checkpoint',
      `${folder} is quantised${method}, which is not supported; get the bfloat16 checkpoint and make a smaller one of it: ` +
        'omniserve convert FOLDER --quantize q4_0',
    )
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

/** File names with the tensors that the index lists for each. */
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
        `${folder} has neither model.safetensors nor model.safetensors.index.json; other formats (.bin, .pth) are not read`,
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
  const missing = present.filter(([, there]) => !there).map(([file]) => file)
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
      throw new EngineError('bad_checkpoint', `${basename(path)}: omniserve.tensor_names is broken; convert again`)
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

function architectureOf(config: CheckpointConfig): string {
  const { architectures } = config
  const first: unknown = Array.isArray(architectures) ? architectures[0] : undefined
  if (typeof first !== 'string') {
    throw new EngineError('bad_checkpoint', 'config.json names no architecture: architectures[0] must be a class name')
  }
  return first
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

/** At most eight names, and how many more. */
export function listOf(names: readonly string[]): string {
  const shown = names.slice(0, 8).join(', ')
  return names.length > 8 ? `${shown} and ${names.length - 8} more` : shown
}
