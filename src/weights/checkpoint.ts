/**
 * A checkpoint on disk: its configuration, its small files, and the location of each tensor's bytes.
 *
 * Made by `open-checkpoint.ts`, used by `load-parameters.ts`. Disposing it unmaps its files, so weights that are used
 * in place must be disposed first.
 */

import { EngineError } from '../contract/index.ts'
import { FileMapping, type TensorType } from '../tensor/index.ts'
import type { StoredType } from './safetensors.ts'

export interface StoredTensor {
  /** Name in the file. */
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

/** `folder`: tensors in PyTorch's layout. `converted`: tensors in the layout of the graphs. */
export type CheckpointKind = 'folder' | 'converted'

/** The files next to the weights, by name. */
interface SmallFiles {
  text(name: string): Promise<string | undefined>
  bytes(name: string): Promise<Uint8Array | undefined>
}

/** See the file header. Made by `openCheckpoint`. */
export class Checkpoint implements Disposable {
  /** Path of the folder or file. */
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

  /** A small text file of the checkpoint (tokenizer.json, chat_template.json, ...); undefined when it is missing. */
  readText(name: string): Promise<string | undefined> {
    return this.#files.text(name)
  }

  /** A small binary file of the checkpoint (spk_dict.pt); undefined when it is missing. */
  readBytes(name: string): Promise<Uint8Array | undefined> {
    return this.#files.bytes(name)
  }

  /** The mapping of a file, which is made at the first call. */
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
   * A summary such as `bf16` or `q4_0, q8_0`: types with at least a twentieth of the bytes, the largest share first.
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
 * @internal `architectures[0]` of a config.json. Throws `EngineError('bad_checkpoint')` when there is none.
 */
export function architectureOf(config: CheckpointConfig): string {
  const { architectures } = config
  const first: unknown = Array.isArray(architectures) ? architectures[0] : undefined
  if (typeof first !== 'string') {
    throw new EngineError('bad_checkpoint', 'config.json names no architecture: architectures[0] must be a class name')
  }
  return first
}
