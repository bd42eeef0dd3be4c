/**
 * Describes one computation: inputs, operations, outputs. Model code and `src/nn` write their graphs with it.
 *
 * In: tensors (weights, caches, inputs). Out: tensors that stand for results; nothing is computed until the graph runs.
 * Operations are in the base classes, one file per kind (`operations-*.ts`). They check shapes and types and throw
 * {@link TensorError}, because ggml would end the process. Dimensions are in ggml order: contiguous first, the reverse
 * of PyTorch's.
 */

import type { Backend } from './backend.ts'
import type { Address } from './native.ts'
import { RotaryOperations } from './operations-rotary.ts'
import { newTensor } from './tensor-buffer.ts'
import type { Tensor } from './tensor.ts'
import type { TensorType } from './types.ts'

/** Types of inputs. */
export type InputType = 'f32' | 'f16' | 'i32' | 'i64'

export class GraphBuilder extends RotaryOperations {
  /** @internal */
  readonly inputs = new Map<string, Tensor<InputType>>()
  readonly #graph: Address

  /** @internal */
  constructor(backend: Backend, context: Address, graph: Address, limit: number) {
    super(backend, context, limit)
    this.#graph = graph
  }

  /** Declares an input: data of this type and shape, passed to each run by name. */
  input<T extends InputType>(name: string, type: T, dimensions: readonly number[]): Tensor<T> {
    if (this.inputs.has(name)) this.fail('input', `${name} is declared twice`)
    this.reserve('input')
    const tensor = newTensor(this.backend, this.context, name, type, dimensions)
    this.native.set_input(tensor.handle)
    // Marked as output, too, so that later results do not reuse its memory.
    this.native.set_output(tensor.handle)
    this.inputs.set(name, tensor)
    return tensor
  }

  /**
   * Uninitialised f32 memory [count], written by {@link copyInto} and read through views. Order writes and reads with
   * {@link effect}.
   */
  workspace(count: number): Tensor<'f32'> {
    this.reserve('workspace')
    return newTensor(this.backend, this.context, 'workspace', 'f32', [count])
  }

  /**
   * Adds an operation that no output depends on, such as a cache write. Effects run in the order of these calls.
   */
  effect(tensor: Tensor): void {
    this.native.build_forward_expand(this.#graph, tensor.handle)
  }

  /** @internal Marks a result as output, so that its memory is not reused. */
  output<T extends TensorType>(tensor: Tensor<T>): Tensor<T> {
    // Later results may reuse the memory of a view.
    const result = tensor.isView ? this.copy(tensor) : tensor
    this.native.set_output(result.handle)
    this.native.build_forward_expand(this.#graph, result.handle)
    return result
  }
}
