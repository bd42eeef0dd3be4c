/**
 * Feed-forward blocks. x: [hidden, tokens] to [hidden, tokens].
 */

import { TensorError, type GraphBuilder, type Tensor } from '../tensor/index.ts'
import { Linear } from './linear.ts'
import type { ParameterPrecision, Parameters } from './parameters.ts'

/** Activations by their name in `hidden_act` of a config.json. */
export type Activation = 'silu' | 'gelu' | 'gelu_pytorch_tanh' | 'relu'

/** Checks the name of an activation. Throws {@link TensorError} for an unsupported one. */
export function toActivation(name: string): Activation {
  if (name === 'silu' || name === 'swish') return 'silu'
  if (name === 'gelu' || name === 'gelu_pytorch_tanh' || name === 'relu') return name
  throw new TensorError(`activation ${name} is not supported; silu, gelu, gelu_pytorch_tanh and relu are`)
}

/** Applies an activation element by element. */
export function activate(g: GraphBuilder, activation: Activation, x: Tensor<'f32'>): Tensor<'f32'> {
  switch (activation) {
    case 'silu':
      return g.silu(x)
    case 'gelu':
      return g.geluErf(x)
    case 'gelu_pytorch_tanh':
      return g.geluTanh(x)
    case 'relu':
      return g.relu(x)
    default:
      return activation satisfies never
  }
}

/** down_proj(silu(gate_proj x) * up_proj x); without biases by default. */
export class GatedMlp {
  readonly gate_proj: Linear
  readonly up_proj: Linear
  readonly down_proj: Linear

  constructor(
    parameters: Parameters,
    hidden: number,
    intermediate: number,
    options: { bias?: boolean; precision?: ParameterPrecision } = {},
  ) {
    this.gate_proj = new Linear(parameters.scope('gate_proj'), hidden, intermediate, options)
    this.up_proj = new Linear(parameters.scope('up_proj'), hidden, intermediate, options)
    this.down_proj = new Linear(parameters.scope('down_proj'), intermediate, hidden, options)
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    return this.down_proj.forward(g, g.swiglu(this.gate_proj.forward(g, x), this.up_proj.forward(g, x)))
  }
}

/**
 * second(activation(first x)); with biases by default. `names`: the layers' names in the checkpoint, which differ by
 * model (`fc1`/`fc2`, `linear_fc1`/`linear_fc2`). `sizes`: input, inner and output size.
 */
export class PlainMlp {
  readonly first: Linear
  readonly second: Linear
  readonly activation: Activation

  constructor(
    parameters: Parameters,
    names: readonly [string, string],
    sizes: readonly [number, number, number],
    activation: Activation,
    options: { bias?: boolean; precision?: ParameterPrecision } = {},
  ) {
    const linear = { ...options, bias: options.bias ?? true }
    this.first = new Linear(parameters.scope(names[0]), sizes[0], sizes[1], linear)
    this.second = new Linear(parameters.scope(names[1]), sizes[1], sizes[2], linear)
    this.activation = activation
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    return this.second.forward(g, activate(g, this.activation, this.first.forward(g, x)))
  }
}
