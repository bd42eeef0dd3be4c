/**
 * The memory of one KV cache: keys and values of all layers, at one size that can grow.
 *
 * In: a layout and a number of tokens. Out: tensors per layer. A few layers grow at a time: new memory is allocated and
 * zeroed on a worker thread, a graph copies the content, the old memory is freed; so only a part is held twice.
 *
 * On a CPU values are stored in columns, a token's value spread over all rows: then the values of a few tokens are a
 * plain matrix product over consecutive memory (`attend-cached.ts`).
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
  /** Elements of a token's keys in one layer, as of its values. */
  readonly width: number
  readonly type: 'f16' | 'f32'
  readonly columns: boolean
}

export interface StoredLayer {
  readonly keys: Tensor<'f16' | 'f32'>
  readonly values: Tensor<'f16' | 'f32'>
}

/** Most allocations of one cache: devices limit their number. */
const PIECES = 8

let nextId = 1

export class KvStore implements Disposable {
  readonly #backend: Backend
  readonly #layout: KvLayout
  readonly #layersPerPiece: number
  #pieces: TensorBuffer[] = []
  #id = nextId++
  #reserved = 0

  constructor(backend: Backend, layout: KvLayout) {
    this.#backend = backend
    this.#layout = layout
    this.#layersPerPiece = Math.ceil(layout.layers / PIECES)
  }

  /** Unique in the process; another one whenever the tensors are. */
  get id(): number {
    return this.#id
  }

  /** Tokens for which memory is reserved. */
  get reserved(): number {
    return this.#reserved
  }

  get bytes(): number {
    return this.#pieces.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Bytes of this many reserved tokens, and the peak while it grows to that size. */
  bytesOf(reserved: number): { held: number; growing: number } {
    const { layers, width, type } = this.#layout
    const layer = 2 * width * reserved * (type === 'f32' ? 4 : 2)
    return { held: layers * layer, growing: (layers + this.#layersPerPiece) * layer }
  }

  /**
   * Grows to `reserved` tokens and keeps the first `kept`. When memory is short it frees everything: {@link
   * TensorError}.
   */
  async grow(reserved: number, kept: number): Promise<void> {
    const { layers } = this.#layout
    this.#id = nextId++
    try {
      for (let first = 0, at = 0; first < layers; first += this.#layersPerPiece, at++) {
        const last = Math.min(layers, first + this.#layersPerPiece)
        const old = this.#pieces[at]
        const piece = allocateTensors(this.#backend, this.#specs(first, last, reserved), { clear: false })
        try {
          await piece.clearInWorker()
          if (old && kept > 0) await this.#copy(old, piece, first, last, kept)
        } catch (error) {
          piece[Symbol.dispose]()
          throw error
        }
        this.#pieces[at] = piece
        old?.[Symbol.dispose]()
      }
      this.#reserved = reserved
    } catch (error) {
      this.clear()
      throw error
    }
  }

  /** Copies the first `tokens` of another store of the same layout. Both have memory for them. */
  async copyFrom(source: KvStore, tokens: number): Promise<void> {
    const { layers } = this.#layout
    for (const [at, piece] of this.#pieces.entries()) {
      const from = source.#pieces[at]
      if (!from) throw new TensorError('caches of different models')
      const first = at * this.#layersPerPiece
      await this.#copy(from, piece, first, Math.min(layers, first + this.#layersPerPiece), tokens)
    }
  }

  layer(layer: number): StoredLayer {
    return layerOf(this.#pieces[Math.floor(layer / this.#layersPerPiece)], layer)
  }

  /** Frees all memory. */
  clear(): void {
    for (const piece of this.#pieces) piece[Symbol.dispose]()
    this.#pieces = []
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
    const part = (g: GraphBuilder, all: Tensor<'f16' | 'f32'>, inColumns: boolean): Tensor<'f16' | 'f32'> =>
      inColumns ? g.view(all, [tokens, width], { strides: [all.strides[1]] }) : g.view(all, [width, tokens])
    using graph = buildGraph(
      this.#backend,
      (g) => {
        for (let layer = first; layer < last; layer++) {
          const [source, target] = [layerOf(from, layer), layerOf(to, layer)]
          g.effect(g.copyInto(part(g, source.keys, false), part(g, target.keys, false)))
          g.effect(g.copyInto(part(g, source.values, columns), part(g, target.values, columns)))
        }
        return { done: g.copy(g.view(layerOf(to, first).keys, [1])) }
      },
      { maxNodes: 8 * (last - first) + 16 },
    )
    await graph.run({})
  }
}

function layerOf(piece: TensorBuffer | undefined, layer: number): StoredLayer {
  const keys = piece?.tensors[`k${layer}`]
  const values = piece?.tensors[`v${layer}`]
  if (!keys || !values) throw new TensorError(`the cache has no memory for layer ${layer}`)
  return { keys: keys as Tensor<'f16' | 'f32'>, values: values as Tensor<'f16' | 'f32'> }
}
