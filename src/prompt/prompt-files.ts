/**
 * The small text files that stand beside a checkpoint's weights: config.json, tokenizer.json, chat_template.jinja, ...
 *
 * In: a checkpoint folder, or anything that can hand out such files by name (an opened checkpoint with the files inside).
 * Out: their texts and parsed JSON, with errors that name the file.
 */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { EngineError } from '../contract/index.ts'

/** Hands out a checkpoint's small files by name. `Checkpoint` of the weights room is one. */
export interface PromptFiles {
  /** For messages: the folder or file the texts come from. */
  readonly location: string
  /** The file's text, or undefined when the checkpoint has no such file. */
  readText(name: string): Promise<string | undefined>
}

/** Reads from a folder on disk. */
export function folderFiles(folder: string): PromptFiles {
  return {
    location: folder,
    async readText(name) {
      try {
        return await readFile(join(folder, name), 'utf8')
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
        throw new EngineError('bad_checkpoint', `cannot read ${name} in ${folder}: ${(error as Error).message}`, {
          cause: error,
        })
      }
    },
  }
}

/** Any JSON object. */
export type JsonObject = { readonly [key: string]: unknown }

/** Parses one of the files as a JSON object; undefined when it is absent. Throws `bad_checkpoint` when it is not JSON. */
export async function readJson(files: PromptFiles, name: string): Promise<JsonObject | undefined> {
  const text = await files.readText(name)
  if (text === undefined) return undefined
  try {
    const value: unknown = JSON.parse(text)
    if (isObject(value)) return value
    throw new Error('not a JSON object')
  } catch (error) {
    throw new EngineError('bad_checkpoint', `${name} in ${files.location} is broken: ${(error as Error).message}`, {
      cause: error,
    })
  }
}

/** As {@link readJson}, but the file must be there. */
export async function requireJson(files: PromptFiles, name: string): Promise<JsonObject> {
  const value = await readJson(files, name)
  if (value === undefined) {
    throw new EngineError('bad_checkpoint', `${files.location} has no ${name}; copy it from the checkpoint's hub page`)
  }
  return value
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
