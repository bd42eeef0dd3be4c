/**
 * How modules get their weights, by the checkpoint's names.
 *
 * A module's constructor gets {@link Parameters} and requests each weight by name, shape and use. The same constructor
 * runs twice: with {@link declareParameters}, which only records the requests (to validate, convert and load a
 * checkpoint), and with {@link loadedParameters}, which returns the loaded tensors. So the list of declared weights
 * always equals the weights that the graphs use.
 *
 * Shapes are in ggml order: a PyTorch weight [out, in] is [in, out].
 */

import { TensorError, toShape, type Shape, type Tensor, type WeightSet, type WeightUse } from '../tensor/index.ts'

/**
 * How a stored weight is made from checkpoint tensors (PyTorch shapes):
 * - `plain`: the tensor itself;
 * - `experts`: `experts.0.NAME`, `experts.1.NAME`, ... stacked along a new last dimension as `experts.NAME`;
 * - `conv-windows`: a Conv1d weight [out, in, kernel] as one matrix, [in * kernel, out] in ggml order, `in` contiguous:
 *   PyTorch `weight.permute(0, 2, 1)`;
 * - `conv-columns`: a ConvTranspose1d weight [in, out, kernel] as one matrix, [in, out * kernel] in ggml order, `out`
 *   before `kernel`: PyTorch `weight.permute(2, 1, 0)`;
 * - `conv-flat`: a convolution weight [out, in, ...kernel] as one matrix, [kernel * in, out] in ggml order: the same
 *   bytes.
 *
 * See `rearrange` in `layouts.ts`.
 */
export type ParameterLayout = 'plain' | 'experts' | 'conv-windows' | 'conv-columns' | 'conv-flat'

/**
 * How coarsely a weight may be quantised: `exact` is always f32 (norms, biases, scales), `fine` has at least 8 bits,
 * `coarse` can have any type.
 */
export type ParameterPrecision = 'exact' | 'fine' | 'coarse'

export interface ParameterRequest {
  /** ggml order. */
  readonly shape: readonly number[]
  /** Default `other`. */
  readonly use?: WeightUse
  /** Default `plain`. */
  readonly layout?: ParameterLayout
  /** Default: `coarse` for matmul and experts, `exact` otherwise. */
  readonly precision?: ParameterPrecision
  /** Whether a checkpoint may lack it. Default false. */
  readonly optional?: boolean
}

export interface ParameterDeclaration {
  /** Full name, with dots between modules. */
  readonly name: string
  readonly shape: Shape
  readonly use: WeightUse
  readonly layout: ParameterLayout
  readonly precision: ParameterPrecision
  /** True where a checkpoint may lack it. */
  readonly optional?: true
}

export interface Parameters {
  /** Full name of the module, empty at the root. */
  readonly path: string
  /** The parameters of a module inside this one. */
  scope(name: string | number): Parameters
  /** One weight of this module. Throws {@link TensorError} when the loaded weight is missing or has another shape. */
  get(name: string, request: ParameterRequest): Tensor
  /** A norm, bias or scale: always f32. Throws as {@link get} does, and for another type. */
  vector(name: string, shape: readonly number[]): Tensor<'f32'>
  /** As {@link vector}; undefined when the checkpoint does not have it. */
  optionalVector(name: string, shape: readonly number[]): Tensor<'f32'> | undefined
}

/**
 * Runs a constructor and returns the weights that it requested, in order. The constructed module has placeholder
 * tensors and must not be used in a graph.
 */
export function declareParameters(construct: (parameters: Parameters) => unknown): ParameterDeclaration[] {
  const declarations = new Map<string, ParameterDeclaration>()
  construct(
    parameters('', (name, request) => {
      const known = declarations.get(name)
      const declaration = declarationOf(name, request)
      if (known && JSON.stringify(known) !== JSON.stringify(declaration)) {
        throw new TensorError(`parameter ${name} is requested twice with different properties`)
      }
      declarations.set(name, declaration)
      return {
        handle: 0n,
        type: 'f32',
        shape: declaration.shape,
        strides: [0, 0, 0, 0],
        name,
        repacked: false,
        isView: false,
      }
    }),
  )
  return [...declarations.values()]
}

/** Provides loaded weights. `prefix`: the full name of the module, empty at the root. */
export function loadedParameters(weights: WeightSet, prefix = ''): Parameters {
  return parameters(prefix, (name, request) =>
    request.optional && !weights.has(name) ? undefined : weights.get(name, declarationOf(name, request).shape),
  )
}

/** `get` looks up a full name; it returns undefined only for optional weights. */
function parameters(path: string, get: (name: string, request: ParameterRequest) => Tensor | undefined): Parameters {
  const join = (name: string | number): string => (path === '' ? String(name) : `${path}.${name}`)
  const required = (name: string, tensor: Tensor | undefined): Tensor => {
    if (!tensor) throw new TensorError(`the checkpoint has no weight ${join(name)}`)
    return tensor
  }
  const float32 = (name: string, tensor: Tensor): Tensor<'f32'> => {
    if (!isFloat32(tensor)) throw new TensorError(`weight ${join(name)} must be stored as f32, not ${tensor.type}`)
    return tensor
  }
  return {
    path,
    scope: (name) => parameters(join(name), get),
    get: (name, request) => required(name, get(join(name), request)),
    vector: (name, shape) => float32(name, required(name, get(join(name), { shape }))),
    optionalVector: (name, shape) => {
      const tensor = get(join(name), { shape, optional: true })
      return tensor && float32(name, tensor)
    },
  }
}

function isFloat32(tensor: Tensor): tensor is Tensor<'f32'> {
  return tensor.type === 'f32'
}

function declarationOf(name: string, request: ParameterRequest): ParameterDeclaration {
  const use = request.use ?? 'other'
  return {
    name,
    shape: toShape(request.shape, name),
    use,
    layout: request.layout ?? 'plain',
    precision: request.precision ?? (use === 'other' ? 'exact' : 'coarse'),
    ...(request.optional && { optional: true as const }),
  }
}
