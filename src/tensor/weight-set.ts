/**
 * Loaded weights by name, and the descriptions that they are loaded from.
 *
 * Made by `loadWeights`.
 */

import { TensorError } from './errors.ts'
import { prefetch, type FileMapping, type MappedRange } from './file-mapping.ts'
import type { TypedArray } from './tensor-buffer.ts'
import { describe, type Tensor } from './tensor.ts'
import type { TensorType } from './types.ts'

/** Where a weight's bytes are: in a mapped file, or in memory. */
export type WeightSource = MappedSource | TypedArray

export interface MappedSource {
  readonly mapping: FileMapping
  /** Bytes from the start of the file. */
  readonly offset: number
}

/**
 * `matmul`: only ever the first operand of `mulMat`. `experts`: only of `mulMatId`. Both may be repacked, and then no
 * other operation can read them. `other`: norms, biases, embeddings read by row, convolution kernels read through
 * views.
 */
export type WeightUse = 'matmul' | 'experts' | 'other'

export interface WeightSpec {
  readonly name: string
  readonly type: TensorType
  /** ggml order: contiguous dimension first. */
  readonly shape: readonly number[]
  readonly use: WeightUse
  readonly source: WeightSource
}

/** Bytes of weights by how they were loaded. */
export interface LoadedBytes {
  /** Used in place in a file: the checkpoint, or the cache of repacked weights. */
  readonly mapped: number
  readonly copied: number
  /** Repacked during this load. */
  readonly repacked: number
}

/** Disposing it frees the tensors. Mappings of the weights' sources must outlive it. */
export class WeightSet implements Disposable {
  readonly bytes: LoadedBytes
  readonly #tensors: ReadonlyMap<string, Tensor>
  readonly #mappedRanges: readonly MappedRange[]
  readonly #release: () => void
  #disposed = false

  /** @internal Use `loadWeights`. */
  constructor(
    tensors: ReadonlyMap<string, Tensor>,
    bytes: LoadedBytes,
    mappedRanges: readonly MappedRange[],
    release: () => void,
  ) {
    this.#tensors = tensors
    this.bytes = bytes
    this.#mappedRanges = mappedRanges
    this.#release = release
  }

  get names(): readonly string[] {
    return [...this.#tensors.keys()]
  }

  has(name: string): boolean {
    return this.#tensors.has(name)
  }

  /** Throws {@link TensorError} when the weight is missing or has another shape. Trailing ones may be left out. */
  get(name: string, shape?: readonly number[]): Tensor {
    const tensor = this.#tensors.get(name)
    if (!tensor) throw new TensorError(`the checkpoint has no weight ${name}`)
    if (shape && tensor.shape.some((size, i) => size !== (shape[i] ?? 1))) {
      throw new TensorError(`weight ${describe(tensor)} should be [${shape.join(', ')}]`)
    }
    return tensor
  }

  /** Bytes in mapped files, which the system may evict and read again. */
  get mappedBytes(): number {
    return this.#mappedRanges.reduce((sum, { length }) => sum + length, 0)
  }

  /**
   * Loads mapped weights from disk into memory, so that the first graphs do not wait for single pages. Rejects with the
   * signal's reason when aborted.
   */
  prefetch(signal?: AbortSignal): Promise<void> {
    return prefetch(this.#mappedRanges, signal)
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return
    this.#disposed = true
    this.#release()
  }
}
