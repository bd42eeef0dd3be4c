/**
 * Reads a checkpoint's voices from `spk_dict.pt` (a PyTorch file, read safely: see unpickle.ts) or from
 * `voices.safetensors`.
 *
 * The latter is a safetensors file with `<voice>.cond` [width], `<voice>.ref_mel` [frames, mels] and
 * `<voice>.bos_token` i32 [1].
 */

import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'

import { EngineError } from '../../../contract/index.ts'
import { fromBfloat16Array, fromHalfArray } from '../../../tensor/index.ts'
import { parseSafetensorsHeader } from '../../../weights/index.ts'
import { readStoredZip } from './stored-zip.ts'
import { unpickle, type Pickled, type PickledTensor, type StorageType } from './unpickle.ts'
import type { Voice } from './voice.ts'

/** Most bytes of a file. */
const LARGEST = 1 << 26
const BYTES: Readonly<Record<StorageType, number>> = { f32: 4, f16: 2, bf16: 2, f64: 8 }

/** As {@link readVoices}, from a file. */
export async function readVoicesFile(path: string): Promise<ReadonlyMap<string, Voice>> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (error) {
    throw new EngineError('bad_checkpoint', `cannot read the voices of ${path}`, { cause: error })
  }
  return readVoices(bytes, basename(path))
}

/**
 * Voices by name, in the file's order. `name`: the file's name, for errors.
 * Throws `EngineError('bad_checkpoint')` with the cause and the fix.
 */
export function readVoices(bytes: Uint8Array, name: string): ReadonlyMap<string, Voice> {
  if (bytes.length > LARGEST) throw new EngineError('bad_checkpoint', `${name} has ${bytes.length} bytes: it is not a file of voices`)
  try {
    const voices = startsWith(bytes, [0x50, 0x4b]) ? voicesOfTorch(bytes) : voicesOfSafetensors(bytes, name)
    if (voices.size === 0) throw new Error('it holds no voice')
    return voices
  } catch (error) {
    if (error instanceof EngineError) throw error
    throw new EngineError(
      'bad_checkpoint',
      `${name} cannot be read as voices: ${(error as Error).message}; download it again from the model's page`,
      { cause: error },
    )
  }
}

function startsWith(bytes: Uint8Array, prefix: readonly number[]): boolean {
  return prefix.every((byte, i) => bytes[i] === byte)
}

function voicesOfTorch(bytes: Uint8Array): Map<string, Voice> {
  const entries = readStoredZip(bytes)
  const pickles = [...entries.keys()].filter((name) => name === 'data.pkl' || name.endsWith('/data.pkl'))
  const [pickle] = pickles
  if (pickle === undefined || pickles.length > 1) throw new Error(`it holds ${pickles.length} pickles, one is wanted`)
  const root = pickle.slice(0, -'data.pkl'.length)
  const order = entries.get(`${root}byteorder`)
  if (order && new TextDecoder().decode(order) !== 'little') throw new Error('its numbers are not little-endian')
  const content = unpickle(entries.get(pickle) ?? new Uint8Array())
  if (!(content instanceof Map)) throw new Error('it holds no dictionary of voices')
  const voices = new Map<string, Voice>()
  for (const [name, value] of content) voices.set(name, voiceOf(name, value, (tensor) => valuesOf(tensor, entries, root)))
  return voices
}

function voiceOf(name: string, value: Pickled, read: (tensor: PickledTensor) => Float32Array): Voice {
  if (!(value instanceof Map)) throw new Error(`voice ${name} is not a dictionary`)
  const unknown = [...value.keys()].find((key) => key !== 'cond' && key !== 'ref_mel' && key !== 'bos_token')
  if (unknown !== undefined) throw new Error(`voice ${name} has an unknown part ${JSON.stringify(unknown)}`)
  const tensor = (key: string): { shape: readonly number[]; values: Float32Array } => {
    const found = value.get(key)
    if (typeof found !== 'object' || !('kind' in found) || found.kind !== 'tensor')
      throw new Error(`voice ${name} has no tensor ${key}`)
    return { shape: found.shape, values: read(found) }
  }
  return checked(name, tensor('cond'), tensor('ref_mel'), value.get('bos_token'))
}

interface Values {
  readonly shape: readonly number[]
  readonly values: Float32Array
}

function checked(name: string, condition: Values, mel: Values, bosToken: unknown): Voice {
  // Torch files have a leading batch dimension of one.
  const inner = ({ shape }: Values, rank: number): readonly number[] =>
    shape.length === rank + 1 && shape[0] === 1 ? shape.slice(1) : shape
  if (inner(condition, 1).length !== 1) throw new Error(`voice ${name}: cond is [${condition.shape.join(', ')}]`)
  const [frames, mels, ...more] = inner(mel, 2)
  if (!frames || !mels || more.length > 0) throw new Error(`voice ${name}: ref_mel is [${mel.shape.join(', ')}]`)
  if (condition.values.length === 0) throw new Error(`voice ${name}: cond is empty`)
  for (const [part, { values }] of Object.entries({ cond: condition, ref_mel: mel }))
    if (!values.every((value) => Number.isFinite(value))) throw new Error(`voice ${name}: ${part} has a value that is not a number`)
  if (typeof bosToken !== 'number' || bosToken < 0) throw new Error(`voice ${name} has no bos_token`)
  return { name, bosToken, condition: condition.values, referenceMel: mel.values, referenceFrames: frames }
}

/** A tensor's values in row-major order, for any strides. */
function valuesOf({ storage, offset, shape, strides }: PickledTensor, entries: ReadonlyMap<string, Uint8Array>, root: string): Float32Array {
  const bytes = entries.get(`${root}data/${storage.key}`)
  if (!bytes) throw new Error(`storage ${storage.key} is missing`)
  if (bytes.length !== storage.count * BYTES[storage.type])
    throw new Error(`storage ${storage.key} has ${bytes.length} bytes for ${storage.count} numbers`)
  const stored = numbersOf(storage.type, bytes)
  const count = shape.reduce((product, extent) => product * extent, 1)
  const last = shape.reduce((sum, extent, i) => sum + (extent - 1) * (strides[i] ?? 0), offset)
  if (count > stored.length || (count > 0 && last >= stored.length))
    throw new Error(`a tensor [${shape.join(', ')}] is larger than its storage of ${stored.length}`)
  const values = new Float32Array(count)
  const index = shape.map(() => 0)
  for (let i = 0; i < count; i++) {
    values[i] = stored[index.reduce((sum, place, axis) => sum + place * (strides[axis] ?? 0), offset)] ?? 0
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = (index[axis] ?? 0) + 1
      if ((index[axis] ?? 0) < (shape[axis] ?? 0)) break
      index[axis] = 0
    }
  }
  return values
}

function numbersOf(type: StorageType, bytes: Uint8Array): Float32Array {
  // The copy is aligned, as typed arrays require.
  const { buffer } = Uint8Array.from(bytes)
  switch (type) {
    case 'f32':
      return new Float32Array(buffer)
    case 'f64':
      return Float32Array.from(new Float64Array(buffer))
    case 'f16':
      return fromHalfArray(new Uint16Array(buffer))
    case 'bf16':
      return fromBfloat16Array(new Uint16Array(buffer))
    default:
      return type satisfies never
  }
}

function voicesOfSafetensors(bytes: Uint8Array, name: string): Map<string, Voice> {
  if (startsWith(bytes, [0x80]) && bytes[2] === 0x8a)
    throw new Error('it was written by a PyTorch older than 1.6 (or in its old form), which is not supported')
  const { entries } = parseSafetensorsHeader(bytes, name)
  const parts = new Map<string, Map<string, Values>>()
  for (const { name: key, type, shape, offset, length } of entries.values()) {
    const dot = key.lastIndexOf('.')
    const [voice, part] = [key.slice(0, dot), key.slice(dot + 1)]
    const { buffer } = Uint8Array.from(bytes.subarray(offset, offset + length))
    let values: Float32Array
    if (part === 'bos_token' && type === 'i32' && length === 4) values = Float32Array.from(new Int32Array(buffer))
    else if ((part === 'cond' || part === 'ref_mel') && type === 'f32') values = new Float32Array(buffer)
    else throw new Error(`tensor ${key} (${type}) is not part of a voice`)
    const known = parts.get(voice) ?? new Map<string, Values>()
    parts.set(voice, known.set(part, { shape, values }))
  }
  const voices = new Map<string, Voice>()
  for (const [voice, known] of parts) {
    const [condition, mel] = [known.get('cond'), known.get('ref_mel')]
    if (!condition || !mel) throw new Error(`voice ${voice} lacks cond or ref_mel`)
    voices.set(voice, checked(voice, condition, mel, known.get('bos_token')?.values[0]))
  }
  return voices
}

/** Writes voices as the bytes of a safetensors file. */
export function encodeVoices(voices: Iterable<Voice>): Uint8Array {
  const header: Record<string, { dtype: string; shape: readonly number[]; data_offsets: [number, number] }> = {}
  const chunks: Uint8Array[] = []
  let at = 0
  const put = (name: string, dtype: string, shape: readonly number[], values: Float32Array | Int32Array): void => {
    header[name] = { dtype, shape, data_offsets: [at, at + values.byteLength] }
    chunks.push(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    at += values.byteLength
  }
  for (const { name, bosToken, condition, referenceMel, referenceFrames } of voices) {
    put(`${name}.cond`, 'F32', [condition.length], condition)
    put(`${name}.ref_mel`, 'F32', [referenceFrames, referenceMel.length / referenceFrames], referenceMel)
    put(`${name}.bos_token`, 'I32', [1], Int32Array.of(bosToken))
  }
  const text = new TextEncoder().encode(JSON.stringify(header))
  const padded = Math.ceil(text.length / 8) * 8
  const bytes = new Uint8Array(8 + padded + at).fill(0x20, 8, 8 + padded)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true)
  bytes.set(text, 8)
  let place = 8 + padded
  for (const chunk of chunks) {
    bytes.set(chunk, place)
    place += chunk.length
  }
  return bytes
}
