/**
 * Converts a checkpoint folder to one file that is mapped at start: weights are quantised, experts stacked,
 * convolutions rearranged for the graphs, and the small files (config, tokenizer, template, preprocessing) embedded.
 *
 * The file is GGUF version 3 with tensors named as declared. Tensors are read in chunks (`read-parameter.ts`) and
 * converted on worker threads.
 *
 * Reference: docs/decisions/2026-11-23-converted-file.md
 */

import { randomUUID } from 'node:crypto'
import { readdir, rename, rm, stat, statfs } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { EngineError } from '../contract/index.ts'
import type { ParameterDeclaration } from '../nn/parameters.ts'
import { type Backend, type TensorType, toShape } from '../tensor/index.ts'
import type { Checkpoint } from './checkpoint.ts'
import { type ConvertedLayout, convertedLayout, type ConvertedSource } from './converted-layout.ts'
import { GgufWriter } from './gguf-write.ts'
import { type CheckpointNaming, matchParameters } from './match-parameters.ts'
import { messageOf } from './message-of.ts'
import { FileReader, parameterBytes } from './read-parameter.ts'
import { chooseType, type WeightTypeChoice } from './weight-types.ts'

/** Small text files to embed, where the folder has them. */
const embeddedFiles = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'vocab.json',
  'merges.txt',
  'tokenizer_config.json',
  'chat_template.json',
  'chat_template.jinja',
  'preprocessor_config.json',
  'video_preprocessor_config.json',
  'processor_config.json',
] as const

/** Small binary files to embed, where the folder has them: Qwen2.5-Omni's voices. */
const embeddedBinaries = ['spk_dict.pt', 'voices.safetensors'] as const

/** Files that are not embedded when another file with the same content is. */
const replacedBy: Readonly<Record<string, string>> = { 'vocab.json': 'tokenizer.json', 'merges.txt': 'tokenizer.json' }

const PARTIAL = '.partial'
/** Milliseconds without a write after which an unfinished file counts as abandoned. */
const ABANDONED_AFTER = 10 * 60_000

export interface ConvertProgress {
  /** The parameter written last. */
  readonly tensor: string
  readonly type: TensorType
  readonly tensorsDone: number
  readonly tensors: number
  /** Bytes of the output that are written, and in total. */
  readonly bytesDone: number
  readonly bytes: number
}

export interface ConvertOptions extends WeightTypeChoice {
  /** Path of the file to write, usually ending in `.gguf`. Written under a temporary name and renamed when complete. */
  readonly output: string
  readonly naming?: CheckpointNaming
  readonly onProgress?: (progress: ConvertProgress) => void
  readonly signal?: AbortSignal
}

export interface ConvertResult {
  readonly path: string
  readonly bytes: number
  /** Weights of another type than the requested one, because their rows do not divide into its blocks. */
  readonly fallbacks: readonly { readonly name: string; readonly type: TensorType }[]
  readonly ignored: readonly { readonly name: string; readonly reason: string }[]
}

/**
 * Converts an opened folder, on a CPU backend.
 *
 * Rejects with `EngineError('bad_checkpoint')` when the weights do not match the declarations, the checkpoint is
 * already converted or the disk has too little space; with the signal's reason when aborted. A failure leaves no file.
 */
export async function convertCheckpoint(
  backend: Backend,
  checkpoint: Checkpoint,
  declarations: readonly ParameterDeclaration[],
  options: ConvertOptions,
): Promise<ConvertResult> {
  const { output, signal } = options
  if (checkpoint.kind !== 'folder') {
    throw new EngineError('bad_checkpoint', `${checkpoint.location} is already converted; give the original folder`)
  }
  signal?.throwIfAborted()
  const { sources, ignored } = matchParameters(checkpoint, declarations, options.naming)
  const layout = convertedLayout(
    sources.map((parameter) => parameter.declaration),
    options,
    await sourceOf(checkpoint),
  )
  const { bytes } = layout
  await removeAbandoned(output)
  await checkDisk(output, bytes)
  const partial = `${output}.${randomUUID()}${PARTIAL}`
  try {
    await using reader = new FileReader()
    await using writer = await GgufWriter.create(partial, layout.metadata, layout.plan)
    for (const [index, { declaration, type }] of layout.weights.entries()) {
      const parameter = sources[index]!
      // The next chunk is read and quantised while the previous one is written.
      let written: Promise<void> = Promise.resolve()
      for await (const chunk of parameterBytes(reader, parameter, type, backend, signal)) {
        await written
        written = writer.append(chunk)
        written.catch(() => undefined)
      }
      await written
      options.onProgress?.({
        tensor: declaration.name,
        type,
        tensorsDone: index + 1,
        tensors: sources.length,
        bytesDone: writer.position,
        bytes,
      })
    }
    await writer.finish()
    const { size } = await stat(partial)
    if (size !== bytes) throw new Error(`${partial} has ${size} bytes instead of ${bytes}: the disk may be full`)
    signal?.throwIfAborted()
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  }
  await rename(partial, output)
  return { path: output, bytes, ignored, fallbacks: fallbacksOf(layout, options) }
}

/** Removes unfinished files of ended conversions to the same file; a running conversion writes continuously. */
async function removeAbandoned(output: string): Promise<void> {
  const folder = dirname(output)
  const names = await readdir(folder).catch(() => [])
  const partials = names.filter((name) => name.startsWith(`${basename(output)}.`) && name.endsWith(PARTIAL))
  for (const name of partials) {
    const path = join(folder, name)
    const age = Date.now() - ((await stat(path).catch(() => undefined))?.mtimeMs ?? Date.now())
    if (age > ABANDONED_AFTER) await rm(path, { force: true })
  }
}

async function sourceOf(checkpoint: Checkpoint): Promise<ConvertedSource> {
  const files: Record<string, string> = {}
  for (const file of embeddedFiles) {
    const text = await checkpoint.readText(file)
    if (text !== undefined && !(file in replacedBy && replacedBy[file]! in files)) files[file] = text
  }
  const binaries: Record<string, string> = {}
  for (const file of embeddedBinaries) {
    const bytes = await checkpoint.readBytes(file)
    if (bytes !== undefined) binaries[file] = Buffer.from(bytes).toString('base64')
  }
  const { model_type: modelType } = checkpoint.config
  return {
    name: basename(checkpoint.location),
    files,
    binaries,
    ...(typeof modelType === 'string' ? { modelType } : {}),
  }
}

/** Weights whose type differs from that of a row of 256 elements, which divides into all blocks. */
function fallbacksOf({ weights }: ConvertedLayout, choice: WeightTypeChoice): { name: string; type: TensorType }[] {
  return weights.flatMap(({ declaration: { name, precision }, type }) =>
    chooseType({ name, precision, shape: toShape([256]) }, choice) === type ? [] : [{ name, type }],
  )
}

async function checkDisk(output: string, bytes: number): Promise<void> {
  const folder = dirname(output)
  let free: number
  try {
    const { bavail, bsize } = await statfs(folder)
    free = bavail * bsize
  } catch (error) {
    throw new EngineError('bad_checkpoint', `cannot write ${output}: ${messageOf(error)}`, { cause: error })
  }
  // An existing file is replaced only when the new one is complete, so its space does not count.
  if (bytes > free) {
    throw new EngineError(
      'bad_checkpoint',
      `${output} needs ${(bytes / 1e9).toFixed(2)} GB and the disk has ${(free / 1e9).toFixed(2)} GB free: free some space or choose another disk`,
    )
  }
  const existing = await stat(output).catch(() => undefined)
  if (existing?.isDirectory() === true) {
    throw new EngineError('bad_checkpoint', `${output} is a folder; give the path of the file to write`)
  }
}
