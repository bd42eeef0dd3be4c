/**
 * The small files of a checkpoint: config.json, tokenizer.json, chat_template.jinja, ...
 *
 * In: a checkpoint folder, or another source of files by name, such as a converted file.
 * Out: {@link CheckpointFiles}: their contents, read once, with errors that name the file.
 */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { EngineError } from '../contract/index.ts'

/** Provides a checkpoint's small files by name. `Checkpoint` of `weights/` is one. */
export interface FileSource {
  /** For messages: the folder or file of the contents. */
  readonly location: string
  /** The content of config.json, if it has already been read. */
  readonly config?: JsonObject
  /** The file's text, or undefined when the checkpoint has no such file. */
  readText(name: string): Promise<string | undefined>
  /** The file's bytes, for binary files. Absent: not supported. */
  readBytes?(name: string): Promise<Uint8Array | undefined>
}

/** Any JSON object. */
export type JsonObject = { readonly [key: string]: unknown }

/** A checkpoint's small files, as values. */
export interface CheckpointFiles {
  readonly location: string
  text(name: string): string | undefined
  /** Parsed once. Undefined when there is no such file. Throws `bad_checkpoint` when it is not a JSON object. */
  json(name: string): JsonObject | undefined
  /** As `json`, but throws `bad_checkpoint` when there is no such file. */
  requireJson(name: string): JsonObject
  /** A binary file from the family's list. */
  bytes(name: string): Uint8Array | undefined
}

/** Text files that families read. */
const textFiles = [
  'config.json',
  'generation_config.json',
  'preprocessor_config.json',
  'video_preprocessor_config.json',
  'processor_config.json',
  'chat_template.jinja',
  'chat_template.json',
  'tokenizer_config.json',
  'tokenizer.json',
] as const

/** Read only without tokenizer.json. */
const vocabularyFiles = ['vocab.json', 'merges.txt'] as const

/**
 * Reads every file once. Throws `bad_checkpoint` for an existing file that cannot be read.
 * @param source a folder, or an opened checkpoint.
 * @param binary names of files to read as bytes.
 */
export async function readCheckpointFiles(
  source: string | FileSource,
  binary: readonly string[] = [],
): Promise<CheckpointFiles> {
  const files = typeof source === 'string' ? folderSource(source) : source
  const texts = new Map<string, string>()
  const parsed = new Map<string, JsonObject>(files.config && [['config.json', files.config]])
  const read = async (names: readonly string[]): Promise<void> => {
    for (const name of names) {
      if (parsed.has(name)) continue
      const text = await files.readText(name)
      if (text !== undefined) texts.set(name, text)
    }
  }
  await read(textFiles)
  if (!texts.has('tokenizer.json')) await read(vocabularyFiles)
  const bytes = new Map<string, Uint8Array>()
  for (const name of binary) {
    const content = await files.readBytes?.(name)
    if (content !== undefined) bytes.set(name, content)
  }
  return new Files(files.location, texts, bytes, parsed)
}

/** A configuration without other files, for example for the conversion of weights. */
export function configurationOnly(config: JsonObject, location = 'the checkpoint'): CheckpointFiles {
  return new Files(location, new Map(), new Map(), new Map([['config.json', config]]))
}

class Files implements CheckpointFiles {
  readonly location: string
  readonly #texts: ReadonlyMap<string, string>
  readonly #bytes: ReadonlyMap<string, Uint8Array>
  readonly #parsed: Map<string, JsonObject>

  constructor(
    location: string,
    texts: ReadonlyMap<string, string>,
    bytes: ReadonlyMap<string, Uint8Array>,
    parsed = new Map<string, JsonObject>(),
  ) {
    this.location = location
    this.#texts = texts
    this.#bytes = bytes
    this.#parsed = parsed
  }

  text(name: string): string | undefined {
    return this.#texts.get(name)
  }

  bytes(name: string): Uint8Array | undefined {
    return this.#bytes.get(name)
  }

  json(name: string): JsonObject | undefined {
    const known = this.#parsed.get(name)
    if (known) return known
    const text = this.#texts.get(name)
    if (text === undefined) return undefined
    try {
      const value: unknown = JSON.parse(text)
      if (!isObject(value)) throw new Error('not a JSON object')
      this.#parsed.set(name, value)
      return value
    } catch (error) {
      throw new EngineError('bad_checkpoint', `${name} in ${this.location} is broken: ${(error as Error).message}`, {
        cause: error,
      })
    }
  }

  requireJson(name: string): JsonObject {
    const value = this.json(name)
    if (value === undefined)
      throw new EngineError('bad_checkpoint', `${this.location} has no ${name}; copy it from the checkpoint's hub page`)
    return value
  }
}

/** Reads from a folder on disk. */
function folderSource(folder: string): FileSource {
  async function read(name: string): Promise<Buffer | undefined> {
    try {
      return await readFile(join(folder, name))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw new EngineError('bad_checkpoint', `cannot read ${name} in ${folder}: ${(error as Error).message}`, {
        cause: error,
      })
    }
  }
  return { location: folder, readText: async (name) => (await read(name))?.toString('utf8'), readBytes: read }
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
