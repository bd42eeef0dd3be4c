/**
 * Writes a GGUF file front to back: the header first, from types and shapes alone, then each tensor's bytes as they
 * come.
 *
 * Reference: the GGUF specification, version 3 (little-endian).
 */

import { type FileHandle, open } from 'node:fs/promises'
import { tensorBytes, type TensorType, typeInfo } from '../tensor/index.ts'
import { ggufTypes } from './gguf-read.ts'

export interface GgufTensorPlan {
  /** 63 bytes of UTF-8 at most: longer names cannot be read by other programs. */
  readonly name: string
  readonly type: TensorType
  /** ggml order: contiguous dimension first; four dimensions at most. */
  readonly shape: readonly number[]
}

/** Numbers are written as u32 when they are natural, as f32 otherwise; lists are of texts. */
export type GgufMetadata = Readonly<Record<string, GgufMetadataValue>>
type GgufMetadataValue = string | number | boolean | readonly string[]

const alignment = 64

/** An open file that takes tensors in the order of the plan. Disposing it closes the file, finished or not. */
export class GgufWriter implements AsyncDisposable {
  readonly #handle: FileHandle
  readonly #plan: readonly GgufTensorPlan[]
  /** Bytes written so far. */
  position = 0
  #tensor = 0
  #left = 0

  private constructor(handle: FileHandle, plan: readonly GgufTensorPlan[]) {
    this.#handle = handle
    this.#plan = plan
  }

  /** Creates the file (replacing one that is there) and writes the header. */
  static async create(path: string, metadata: GgufMetadata, plan: readonly GgufTensorPlan[]): Promise<GgufWriter> {
    const header = encodeHeader(metadata, plan)
    const writer = new GgufWriter(await open(path, 'w'), plan)
    await writer.#write(header)
    await writer.#pad()
    writer.#left = plan.length === 0 ? 0 : bytesOfPlan(plan[0]!)
    return writer
  }

  /** Bytes of the whole file. */
  static size(metadata: GgufMetadata, plan: readonly GgufTensorPlan[]): number {
    return plan.reduce(
      (sum, tensor) => sum + aligned(bytesOfPlan(tensor)),
      aligned(encodeHeader(metadata, plan).length),
    )
  }

  /** Appends bytes of the current tensor. Throws when they are more than its type and shape allow. */
  async append(bytes: Uint8Array): Promise<void> {
    const tensor = this.#plan[this.#tensor]
    if (tensor === undefined) throw new Error('all tensors of the plan are written')
    if (bytes.length > this.#left)
      throw new Error(`tensor ${tensor.name} gets ${bytes.length - this.#left} bytes too many`)
    await this.#write(bytes)
    this.#left -= bytes.length
    if (this.#left > 0) return
    await this.#pad()
    this.#tensor++
    const next = this.#plan[this.#tensor]
    this.#left = next === undefined ? 0 : bytesOfPlan(next)
  }

  /** Makes sure that all is on disk. Throws when tensors of the plan are missing. */
  async finish(): Promise<void> {
    if (this.#tensor < this.#plan.length) throw new Error(`tensor ${this.#plan[this.#tensor]!.name} is not written`)
    await this.#handle.sync()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close()
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done)
      if (bytesWritten === 0) throw new Error('the disk takes no more bytes')
      done += bytesWritten
    }
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
    for (const extent of tensor.shape) u64(extent)
    u32(typeInfo(tensor.type).id)
    u64(offset)
    offset += aligned(bytesOfPlan(tensor))
  }
  return Buffer.concat(parts)
}
