/**
 * Reads a parameter's elements from its files, in the declared order and in chunks.
 *
 * In: a {@link ParameterSource} and a type. Out: bytes of that type in chunks of whole rows, so that converting a large
 * tensor needs memory for a chunk only.
 */

import { type FileHandle, open } from 'node:fs/promises'
import { basename } from 'node:path'
import { EngineError } from '../contract/index.ts'
import { rearrange } from '../nn/layouts.ts'
import { type Backend, halfToFloat, isFinite, quantize, rowBytes, type TensorType } from '../tensor/index.ts'
import type { ParameterSource } from './match-parameters.ts'

/** Maximum number of elements in a chunk: 16 MiB of f32. */
const chunkElements = 1 << 22

/** Keeps files open between reads. */
export class FileReader implements AsyncDisposable {
  readonly #handles = new Map<string, Promise<FileHandle>>()

  /** Fills `target` with bytes from `offset`. Rejects with `bad_checkpoint` when the file ends before. */
  async read(file: string, offset: number, target: Uint8Array): Promise<void> {
    let handle = this.#handles.get(file)
    if (handle === undefined) {
      handle = open(file, 'r')
      this.#handles.set(file, handle)
    }
    const opened = await handle
    for (let done = 0; done < target.length;) {
      const { bytesRead } = await opened.read(target, done, target.length - done, offset + done)
      if (bytesRead === 0) {
        throw new EngineError('bad_checkpoint', `${basename(file)} became shorter while it was read`)
      }
      done += bytesRead
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = [...this.#handles.values()]
    this.#handles.clear()
    await Promise.allSettled(opened.map(async (handle) => (await handle).close()))
  }
}

/**
 * Yields the parameter's bytes as `type`, in order. The stored type must be a float type or equal `type`.
 *
 * Rejects with `bad_checkpoint` for values that are infinite, NaN or out of the range of `type`; with the signal's
 * reason when aborted.
 */
export async function* parameterBytes(
  reader: FileReader,
  source: ParameterSource,
  type: TensorType,
  backend: Backend,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { layout, shape } = source.declaration
  const columns = shape[0]
  if (source.rearranged) {
    const values = await toFloats(source.type, await wholeTensor(reader, source), backend)
    signal?.throwIfAborted()
    const bytes = await quantize(backend, type, rearrange(layout, values, source.storedShape), columns)
    await checkFinite(backend, source, type, bytes, values)
    yield bytes
    return
  }
  for await (const stored of storedChunks(reader, source, signal)) {
    if (type === source.type) {
      await checkFinite(backend, source, type, stored)
      yield stored
    } else {
      const values = await toFloats(source.type, stored, backend)
      const bytes = await quantize(backend, type, values, columns)
      await checkFinite(backend, source, type, bytes, values)
      yield bytes
    }
    signal?.throwIfAborted()
  }
}

/** `values`: the values before conversion, when the type has changed. */
async function checkFinite(
  backend: Backend,
  { declaration: { name } }: ParameterSource,
  type: TensorType,
  bytes: Uint8Array,
  values?: Float32Array,
): Promise<void> {
  if (await isFinite(backend, type, bytes)) return
  if (values === undefined || values.some((value) => !Number.isFinite(value))) {
    throw new EngineError(
      'bad_checkpoint',
      `${name} contains values that are infinite or NaN: the checkpoint is damaged`,
    )
  }
  const largest = values.reduce((maximum, value) => Math.max(maximum, Math.abs(value)), 0)
  throw new EngineError(
    'bad_checkpoint',
    `${name} contains values up to ${largest}, out of the range of ${type}, which ends at 65504; convert with --quantize bf16 or f32, ` +
      'or give its stage another type with --stage',
  )
}

async function wholeTensor(reader: FileReader, { segments }: ParameterSource): Promise<Uint8Array> {
  const whole = new Uint8Array(segments.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const { file, offset, length } of segments) {
    await reader.read(file, offset, whole.subarray(at, at + length))
    at += length
  }
  return whole
}

/** Stored elements in chunks of whole rows. */
async function* storedChunks(
  reader: FileReader,
  { segments, type, declaration }: ParameterSource,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const row = rowBytes(type, declaration.shape[0])
  const chunkBytes = Math.max(1, Math.floor(chunkElements / declaration.shape[0])) * row
  // Small segments (experts) are combined, large ones are split.
  let pending: { file: string; offset: number; length: number }[] = []
  let size = 0
  const flush = async (): Promise<Uint8Array> => {
    signal?.throwIfAborted()
    const chunk = new Uint8Array(size)
    let at = 0
    for (const { file, offset, length } of pending) {
      await reader.read(file, offset, chunk.subarray(at, at + length))
      at += length
    }
    pending = []
    size = 0
    return chunk
  }
  for (const { file, offset, length } of segments) {
    for (let done = 0; done < length;) {
      const take = Math.min(length - done, chunkBytes - size)
      pending.push({ file, offset: offset + done, length: take })
      size += take
      done += take
      if (size === chunkBytes) yield await flush()
    }
  }
  if (size > 0) yield await flush()
}

async function toFloats(type: TensorType, bytes: Uint8Array, backend: Backend): Promise<Float32Array> {
  if (type === 'f32') return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
  if (type !== 'f16' && type !== 'bf16') {
    throw new EngineError('bad_checkpoint', `weights stored as ${type} cannot be converted to another type`)
  }
  return halfToFloat(backend, type, new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2))
}
