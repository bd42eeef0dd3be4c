/**
 * The memory of one KV cache: keys and values of all layers, for a number of tokens that can grow.
 *
 * In: a layout and a number of tokens. Out: tensors per layer. Layers grow in groups: new memory is allocated and
 * zeroed on a worker thread, a graph copies the content, and the old memory is freed. So only one group is held twice.
 *
 * With values in columns (transposed), a token's values are spread over all rows. Attention of a few tokens is then a
 * matrix product over contiguous memory (`attend-cached.ts`).
 */

import {
  allocateTensors,
  buildGraph,
  TensorError,
  type Backend,
  type GraphBuilder,
  type Tensor,
  type TensorBuffer,
} from '../tensor/index.ts'

export interface KvLayout {
  readonly layers: number
  /** Elements of a token's keys in one layer, and of its values. */
  readonly width: number
  readonly type: 'f16' | 'f32'
  readonly columns: boolean
}

export interface StoredLayer {
  readonly keys: Tensor<'f16' | 'f32'>
  readonly values: Tensor<'f16' | 'f32'>
}

/** Maximum number of buffers of one cache, because devices limit their number. */
const MAX_GROUPS = 8

let nextId = 1

export class KvStore implements Disposable {
  readonly #backend: Backend
  readonly #layout: KvLayout
  readonly #layersPerGroup: number
  #groups: TensorBuffer[] = []
  #id = nextId++
  #reserved = 0

  constructor(backend: Backend, layout: KvLayout) {
    this.#backend = backend
    this.#layout = layout
    this.#layersPerGroup = Math.ceil(layout.layers / MAX_GROUPS)
  }

  /** Unique in the process; changes when the tensors change. */
  get id(): number {
    return this.#id
  }

  /** Number of tokens with reserved memory. */
  get reserved(): number {
    return this.#reserved
  }

  get bytes(): number {
    return this.#groups.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Bytes for this many reserved tokens, and the peak while it grows to this size. */
  bytesOf(reserved: number): { held: number; growing: number } {
    const { layers, width, type } = this.#layout
    const layerBytes = 2 * width * reserved * (type === 'f32' ? 4 : 2)
    return { held: layers * layerBytes, growing: (layers + this.#layersPerGroup) * layerBytes }
  }

  /**
   * Grows to `reserved` tokens and copies the first `kept`. When out of memory it frees everything and rejects with
   * {@link TensorError}.
   */
  async grow(reserved: number, kept: number): Promise<void> {
    const { layers } = this.#layout
    this.#id = nextId++
    try {
      for (let first = 0, index = 0; first < layers; first += this.#layersPerGroup, index++) {
        const last = Math.min(layers, first + this.#layersPerGroup)
        const old = this.#groups[index]
        const grown = allocateTensors(this.#backend, this.#specs(first, last, reserved), { clear: false })
        try {
          await grown.clearInWorker()
          if (old && kept > 0) await this.#copy(old, grown, first, last, kept)
        } catch (error) {
          grown[Symbol.dispose]()
          throw error
        }
        this.#groups[index] = grown
        old?.[Symbol.dispose]()
      }
      this.#reserved = reserved
    } catch (error) {
      this.clear()
      throw error
    }
  }

  /** Copies the first `tokens` of another store of the same layout. Both must have memory for them. */
  async copyFrom(source: KvStore, tokens: number): Promise<void> {
    const { layers } = this.#layout
    for (const [index, target] of this.#groups.entries()) {
      const from = source.#groups[index]
      if (!from) throw new TensorError('cannot copy between caches of different models')
      const first = index * this.#layersPerGroup
      await this.#copy(from, target, first, Math.min(layers, first + this.#layersPerGroup), tokens)
    }
  }

  layer(layer: number): StoredLayer {
    return layerOf(this.#groups[Math.floor(layer / this.#layersPerGroup)], layer)
  }

  /** Frees all memory. */
  clear(): void {
    for (const group of this.#groups) group[Symbol.dispose]()
    this.#groups = []
    this.#reserved = 0
    this.#id = nextId++
  }

  [Symbol.dispose](): void {
    this.clear()
  }

  #specs(first: number, last: number, reserved: number): Record<string, { type: 'f16' | 'f32'; shape: number[] }> {
    const { width, type, columns } = this.#layout
    const specs: Record<string, { type: 'f16' | 'f32'; shape: number[] }> = {}
    for (let layer = first; layer < last; layer++) {
      specs[`k${layer}`] = { type, shape: [width, reserved] }
      specs[`v${layer}`] = { type, shape: columns ? [reserved, width] : [width, reserved] }
    }
    return specs
  }

  async #copy(from: TensorBuffer, to: TensorBuffer, first: number, last: number, tokens: number): Promise<void> {
    const { width, columns } = this.#layout
    const firstTokens = (g: GraphBuilder, all: Tensor<'f16' | 'f32'>, inColumns: boolean): Tensor<'f16' | 'f32'> =>
      inColumns ? g.view(all, [tokens, width], { strides: [all.strides[1]] }) : g.view(all, [width, tokens])
    using graph = buildGraph(
      this.#backend,
      (g) => {
        for (let layer = first; layer < last; layer++) {
          const [source, target] = [layerOf(from, layer), layerOf(to, layer)]
          g.effect(g.copyInto(firstTokens(g, source.keys, false), firstTokens(g, target.keys, false)))
          g.effect(g.copyInto(firstTokens(g, source.values, columns), firstTokens(g, target.values, columns)))
        }
        return { done: g.copy(g.view(layerOf(to, first).keys, [1])) }
      },
      { maxNodes: 8 * (last - first) + 16 },
    )
    await graph.run({})
  }
}

function layerOf(group: TensorBuffer | undefined, layer: number): StoredLayer {
  const keys = group?.tensors[`k${layer}`]
  const values = group?.tensors[`v${layer}`]
  if (!keys || !values) throw new TensorError(`the cache has no memory for layer ${layer}`)
  return { keys: keys as Tensor<'f16' | 'f32'>, values: values as Tensor<'f16' | 'f32'> }
}
