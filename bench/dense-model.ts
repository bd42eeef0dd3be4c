/**
 * The dense decoder of `dense-file.ts`, built of `src/nn` the way the models are.
 */

import {
  Attention,
  declareParameters,
  Embedding,
  GatedMlp,
  KvCache,
  KvStep,
  Linear,
  loadedParameters,
  RmsNorm,
  Rotary,
  type Parameters,
} from '../src/nn/index.ts'
import {
  FileMapping,
  GraphCache,
  loadWeights,
  type Backend,
  type LoadWeightsOptions,
  type WeightSet,
} from '../src/tensor/index.ts'
import { dense, type DenseTensor } from './dense-file.ts'

class Layer {
  readonly attention: Attention
  readonly mlp: GatedMlp
  readonly before: RmsNorm
  readonly between: RmsNorm

  constructor(parameters: Parameters) {
    const { hidden, heads, keyValueHeads, headSize, feedForward, epsilon } = dense
    this.attention = new Attention(parameters.scope('self_attn'), {
      hidden,
      heads,
      keyValueHeads,
      headSize,
      bias: true,
    })
    this.mlp = new GatedMlp(parameters.scope('mlp'), hidden, feedForward)
    this.before = new RmsNorm(parameters.scope('input_layernorm'), hidden, epsilon)
    this.between = new RmsNorm(parameters.scope('post_attention_layernorm'), hidden, epsilon)
  }
}

class Network {
  readonly embedding: Embedding
  readonly layers: readonly Layer[]
  readonly norm: RmsNorm
  readonly head: Linear

  constructor(parameters: Parameters) {
    this.embedding = new Embedding(parameters.scope('embed_tokens'), dense.vocabulary, dense.hidden)
    this.layers = Array.from({ length: dense.layers }, (_, i) => new Layer(parameters.scope('layers').scope(i)))
    this.norm = new RmsNorm(parameters.scope('norm'), dense.hidden, dense.epsilon)
    this.head = new Linear(parameters.scope('lm_head'), dense.hidden, dense.vocabulary)
  }
}

const ggufNames: readonly (readonly [RegExp, string])[] = [
  [/^embed_tokens\./, 'token_embd.'],
  [/^lm_head\./, 'output.'],
  [/^norm\./, 'output_norm.'],
  [/^layers\.(\d+)\./, 'blk.$1.'],
  [/self_attn\.([qkv])_proj/, 'attn_$1'],
  [/self_attn\.o_proj/, 'attn_output'],
  [/mlp\.(gate|up|down)_proj/, 'ffn_$1'],
  [/input_layernorm/, 'attn_norm'],
  [/post_attention_layernorm/, 'ffn_norm'],
]

/** llama.cpp's name of a parameter. */
const ggufName = (name: string): string => ggufNames.reduce((text, [pattern, to]) => text.replace(pattern, to), name)

export class DenseModel implements Disposable {
  readonly #backend: Backend
  readonly #mapping: FileMapping
  readonly #weights: WeightSet
  readonly #network: Network
  readonly #graphs: GraphCache
  readonly #rotary = new Rotary({ kind: 'plain', base: dense.rotaryBase })

  private constructor(backend: Backend, mapping: FileMapping, weights: WeightSet) {
    this.#backend = backend
    this.#mapping = mapping
    this.#weights = weights
    this.#network = new Network(loadedParameters(weights))
    this.#graphs = new GraphCache(backend)
  }

  static async load(
    backend: Backend,
    path: string,
    tensors: readonly DenseTensor[],
    options: LoadWeightsOptions,
  ): Promise<DenseModel> {
    const mapping = FileMapping.open(path)
    const stored = new Map(tensors.map((tensor) => [tensor.name, tensor]))
    const specs = declareParameters((parameters) => new Network(parameters)).map(({ name, use, shape }) => {
      const tensor = stored.get(ggufName(name))
      if (!tensor) throw new Error(`the file has no ${ggufName(name)}`)
      return { name, use, shape, type: tensor.type, source: { mapping, offset: tensor.offset } }
    })
    return new DenseModel(backend, mapping, await loadWeights(backend, specs, options))
  }

  newCache(capacity: number): KvCache {
    const { layers, keyValueHeads, headSize } = dense
    return new KvCache(this.#backend, { layers, keyValueHeads, headSize, capacity })
  }

  /** One step of one sequence; logits of the last token. */
  async forward(cache: KvCache, ids: Int32Array): Promise<Float32Array> {
    const tokens = ids.length
    await cache.reserve(cache.length + tokens)
    const step = new KvStep([{ cache, tokens }], { repeats: dense.heads / dense.keyValueHeads })
    const { logits } = await this.#graphs.run(
      step.key,
      (g) => {
        const rotation = { rotary: this.#rotary, positions: this.#rotary.input(g, tokens) }
        const segments = step.segments(g)
        let x = this.#network.embedding.forward(g, g.input('ids', 'i32', [tokens]))
        for (const [i, layer] of this.#network.layers.entries()) {
          x = g.add(x, layer.attention.forward(g, layer.before.forward(g, x), segments, i, rotation))
          // The last feed-forward only for the token whose logits are needed, as in `Decoder` and llama.cpp.
          if (tokens > 1 && i === dense.layers - 1) x = g.slice(x, 1, tokens - 1, 1)
          x = g.add(x, layer.mlp.forward(g, layer.between.forward(g, x)))
        }
        return { logits: this.#network.head.forward(g, this.#network.norm.forward(g, x)) }
      },
      { ids, positions: Int32Array.from(ids, (_, i) => cache.length + i), ...step.inputs() },
    )
    step.advance()
    return logits
  }

  [Symbol.dispose](): void {
    this.#graphs[Symbol.dispose]()
    this.#weights[Symbol.dispose]()
    this.#mapping[Symbol.dispose]()
  }
}
