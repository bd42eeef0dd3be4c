/**
 * Writes a GGUF file sequentially: first the header, from names, types and shapes, then each tensor's bytes.
 *
 * Reference: the GGUF specification, version 3 (little-endian).
 */

import { type FileHandle, open } from 'node:fs/promises'
import { tensorBytes, type TensorType, typeInfo } from '../tensor/index.ts'
import { writeAll } from '../tensor/write-all.ts'
import { ggufTypes } from './gguf-read.ts'

export interface GgufTensorPlan {
  /** At most 63 bytes of UTF-8, ggml's limit. */
  readonly name: string
  readonly type: TensorType
  /** ggml order: contiguous dimension first; at most four dimensions. */
  readonly shape: readonly number[]
}

/** Non-negative integers are written as u32, other numbers as f32. */
export type GgufMetadata = Readonly<Record<string, GgufMetadataValue>>
type GgufMetadataValue = string | number | boolean | readonly string[]

const alignment = 64

/** An open file, to which tensors are appended in the order of the plan. Disposing it closes the file. */
export class GgufWriter implements AsyncDisposable {
  readonly #handle: FileHandle
  readonly #plan: readonly GgufTensorPlan[]
  /** Bytes written so far. */
  position = 0
  /** Index of the current tensor. */
  #tensor = 0
  /** Bytes of the current tensor that are not written yet. */
  #remaining = 0

  private constructor(handle: FileHandle, plan: readonly GgufTensorPlan[]) {
    this.#handle = handle
    this.#plan = plan
  }

  /** Creates or replaces the file and writes the header. Throws when a tensor name is too long. */
  static async create(path: string, metadata: GgufMetadata, plan: readonly GgufTensorPlan[]): Promise<GgufWriter> {
    const header = encodeHeader(metadata, plan)
    const writer = new GgufWriter(await open(path, 'w'), plan)
    await writer.#write(header)
    await writer.#pad()
    writer.#remaining = plan.length === 0 ? 0 : bytesOfPlan(plan[0]!)
    return writer
  }

  /** Bytes of the whole file. */
  static size(metadata: GgufMetadata, plan: readonly GgufTensorPlan[]): number {
    return plan.reduce(
      (sum, tensor) => sum + aligned(bytesOfPlan(tensor)),
      aligned(encodeHeader(metadata, plan).length),
    )
  }

  /** Appends bytes of the current tensor. Throws when there are more than its type and shape need. */
  async append(bytes: Uint8Array): Promise<void> {
    const tensor = this.#plan[this.#tensor]
    if (tensor === undefined) throw new Error('all tensors of the plan are already written')
    if (bytes.length > this.#remaining)
      throw new Error(`tensor ${tensor.name} gets ${bytes.length - this.#remaining} bytes too many`)
    await this.#write(bytes)
    this.#remaining -= bytes.length
    if (this.#remaining > 0) return
    await this.#pad()
    this.#tensor++
    const next = this.#plan[this.#tensor]
    this.#remaining = next === undefined ? 0 : bytesOfPlan(next)
  }

  /** Syncs the file to disk. Throws when tensors of the plan are missing. */
  async finish(): Promise<void> {
    if (this.#tensor < this.#plan.length) throw new Error(`tensor ${this.#plan[this.#tensor]!.name} is not written`)
    await this.#handle.sync()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close()
  }

  async #write(bytes: Uint8Array): Promise<void> {
    await writeAll(this.#handle, bytes)
    this.position += bytes.length
  }

  async #pad(): Promise<void> {
    const gap = aligned(this.position) - this.position
    if (gap > 0) await this.#write(new Uint8Array(gap))
  }
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment
}

function bytesOfPlan({ type, shape }: GgufTensorPlan): number {
  return tensorBytes(type, shape)
}

function encodeHeader(metadata: GgufMetadata, plan: readonly GgufTensorPlan[]): Buffer {
  const parts: Buffer[] = []
  const u32 = (value: number): void => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(value)
    parts.push(bytes)
  }
  const u64 = (value: number): void => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(BigInt(value))
    parts.push(bytes)
  }
  const text = (value: string): void => {
    const bytes = Buffer.from(value, 'utf8')
    u64(bytes.length)
    parts.push(bytes)
  }
  parts.push(Buffer.from('GGUF', 'latin1'))
  u32(3)
  u64(plan.length)
  const entries = Object.entries<GgufMetadataValue>({ ...metadata, 'general.alignment': alignment })
  u64(entries.length)
  for (const [key, value] of entries) {
    text(key)
    if (typeof value === 'string') {
      u32(ggufTypes.string)
      text(value)
    } else if (typeof value === 'boolean') {
      u32(ggufTypes.bool)
      parts.push(Buffer.from([value ? 1 : 0]))
    } else if (typeof value === 'number') {
      if (Number.isInteger(value) && value >= 0) {
        u32(ggufTypes.u32)
        u32(value)
      } else {
        u32(ggufTypes.f32)
        const bytes = Buffer.alloc(4)
        bytes.writeFloatLE(value)
        parts.push(bytes)
      }
    } else {
      u32(ggufTypes.array)
      u32(ggufTypes.string)
      u64(value.length)
      for (const item of value) text(item)
    }
  }
  let offset = 0
  for (const tensor of plan) {
    if (Buffer.byteLength(tensor.name) > 63) throw new Error(`tensor name ${tensor.name} is too long for GGUF`)
    text(tensor.name)
    u32(tensor.shape.length)
    for (const dimension of tensor.shape) u64(dimension)
    u32(typeInfo(tensor.type).id)
    u64(offset)
    offset += aligned(bytesOfPlan(tensor))
  }
  return Buffer.concat(parts)
}
