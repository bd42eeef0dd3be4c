/**
 * Graph operations that multiply matrices or access rows by index: products, experts, attention.
 *
 * Dimensions are in ggml order (contiguous first). Every operation checks shapes and types and throws
 * {@link TensorError}.
 */

import { ElementwiseOperations } from './operations-elementwise.ts'
import { hasContiguousRows, isContiguous, type Tensor } from './tensor.ts'
import type { TensorType } from './types.ts'

/** `GGML_PREC_F32`. */
const PRECISION_F32 = 10

export abstract class MatrixOperations extends ElementwiseOperations {
  /**
   * Matrix product along the first dimension: weight [k, n, ...], x [k, m, ...] to [n, m, ...]; the weight broadcasts
   * over dimensions 2 and 3 of x. `exact`: f32 also on devices that otherwise compute in half precision.
   */
  mulMat(weight: Tensor, x: Tensor<'f32' | 'f16'>, options: { exact?: boolean } = {}): Tensor<'f32'> {
    this.reserve('mulMat')
    if (x.repacked) this.fail('mulMat', 'the second operand is a repacked weight', weight, x)
    if (weight.shape[0] !== x.shape[0]) this.fail('mulMat', 'first dimensions differ', weight, x)
    if (x.shape[2] % weight.shape[2] !== 0 || x.shape[3] % weight.shape[3] !== 0)
      this.fail('mulMat', 'batch dimensions of x are not multiples of those of the weight', weight, x)
    if (!hasContiguousRows(weight) || !hasContiguousRows(x))
      this.fail('mulMat', 'rows are not contiguous; call cont first', weight, x)
    if (weight.strides[1] < weight.strides[0])
      this.fail('mulMat', 'the first operand is transposed; call cont first', weight, x)
    if (!isMatrixType(weight.type)) this.fail('mulMat', `${weight.type} has no matrix product`, weight, x)
    // Kernels of repacked weights require contiguous f32 rows, and with batches write beyond the result; ggml checks
    // neither.
    if (weight.repacked) {
      if (x.type !== 'f32') this.fail('mulMat', 'a repacked weight needs f32', weight, x)
      const rows = x.shape[1] * x.shape[2] * x.shape[3]
      if (!isContiguous(x) || rows !== x.shape[1]) {
        const product = this.mulMat(weight, this.reshape(this.cont(x), x.shape[0], rows), options)
        return this.reshape(product, weight.shape[1], x.shape[1], x.shape[2], x.shape[3])
      }
    }
    const handle = this.native.mul_mat(this.context, weight.handle, x.handle)
    this.addWork(2 * weight.shape[0] * weight.shape[1] * x.shape[1] * x.shape[2] * x.shape[3])
    if (options.exact && handle !== null) this.native.mul_mat_set_prec(handle, PRECISION_F32)
    return this.made(handle, 'f32', [weight.shape[1], x.shape[1], x.shape[2], x.shape[3]])
  }

  /**
   * Matrix products with each token's experts: weights [k, n, experts], x [k, 1 or used, tokens], ids i32 [used,
   * tokens] to [n, used, tokens].
   */
  mulMatId(weights: Tensor, x: Tensor<'f32'>, ids: Tensor<'i32'>): Tensor<'f32'> {
    this.reserve('mulMatId')
    const fits =
      weights.shape[0] === x.shape[0] &&
      weights.shape[3] === 1 &&
      x.shape[3] === 1 &&
      ids.shape[2] === 1 &&
      ids.shape[3] === 1 &&
      ids.shape[1] === x.shape[2] &&
      ids.shape[0] % x.shape[1] === 0
    if (!fits) this.fail('mulMatId', 'needs [k, n, experts], [k, 1 or used, tokens], [used, tokens]', weights, x, ids)
    if (ids.type !== 'i32' || x.type !== 'f32') this.fail('mulMatId', 'needs f32 rows and i32 ids', weights, x, ids)
    if (!hasContiguousRows(weights) || !hasContiguousRows(x))
      this.fail('mulMatId', 'rows are not contiguous', weights, x)
    if (!isMatrixType(weights.type)) this.fail('mulMatId', `${weights.type} has no matrix product`, weights)
    this.addWork(2 * weights.shape[0] * weights.shape[1] * ids.shape[0] * x.shape[2])
    return this.made(this.native.mul_mat_id(this.context, weights.handle, x.handle, ids.handle), 'f32', [
      weights.shape[1],
      ids.shape[0],
      x.shape[2],
      1,
    ])
  }

  /**
   * One expert of weights [k, n, experts]: [k, n], for `mulMat` only. Also of repacked weights, because each expert is
   * repacked separately.
   */
  expert(weights: Tensor, index: number): Tensor {
    this.reserve('expert')
    const [k, n, experts, one] = weights.shape
    if (one !== 1 || !Number.isInteger(index) || index < 0 || index >= experts)
      this.fail('expert', `there is no expert ${index}`, weights)
    const [, row, matrix] = weights.strides
    const handle = this.native.view_4d(this.context, weights.handle, k, n, 1, 1, row, matrix, matrix, index * matrix)
    const { repacked } = weights
    return {
      ...this.made(handle, weights.type, [k, n, 1, 1], [weights.strides[0], row, matrix, matrix], true),
      repacked,
    }
  }

  /**
   * Sum of vectors with weights: a [n, count, tokens], weights [count, tokens] to [n, tokens]. One operation on a CPU;
   * other devices do not support it and get several.
   */
  weightedSum(a: Tensor<'f32'>, weights: Tensor<'f32'>): Tensor<'f32'> {
    this.readable('weightedSum', a, weights)
    const [n, count, tokens, one] = a.shape
    if (one !== 1 || weights.shape[0] !== count || weights.shape[1] !== tokens || weights.shape[2] !== 1)
      this.fail('weightedSum', 'shapes do not match', a, weights)
    const factors = this.reshape(this.cont(weights), 1, count, tokens)
    if (this.backend.kind === 'cpu' && hasContiguousRows(a)) {
      const sum = this.made(this.native.out_prod(this.context, a.handle, factors.handle), 'f32', [n, 1, tokens, 1])
      return this.reshape(sum, n, tokens)
    }
    const scaled = this.mul(a, factors)
    const part = (i: number): Tensor<'f32'> =>
      this.view(scaled, [n, tokens], { strides: [scaled.strides[2]], offset: i * scaled.strides[1] })
    let sum = part(0)
    for (let i = 1; i < count; i++) sum = this.add(sum, part(i))
    return count === 1 ? this.cont(sum) : sum
  }

  /** Adds each expert's bias to its result: a [n, used, tokens] + bias [n, experts] at ids i32 [used, tokens]. */
  addId(a: Tensor<'f32'>, bias: Tensor<'f32'>, ids: Tensor<'i32'>): Tensor<'f32'> {
    this.readable('addId', a, bias, ids)
    if (a.shape[0] !== bias.shape[0] || a.shape[1] !== ids.shape[0] || a.shape[2] !== ids.shape[1])
      this.fail('addId', 'shapes do not match', a, bias, ids)
    return this.made(this.native.add_id(this.context, a.handle, bias.handle, ids.handle), 'f32', a.shape)
  }

  /** Rows by index: table [n, rows, d2, d3] of any float type, ids i32 [count, d2, d3] to f32 [n, count, d2, d3]. */
  getRows(table: Tensor, ids: Tensor<'i32'>): Tensor<'f32'> {
    this.readable('getRows', table, ids)
    if (ids.type !== 'i32') this.fail('getRows', 'ids must be i32', table, ids)
    if (!isMatrixType(table.type)) this.fail('getRows', 'the table must hold floats', table, ids)
    if (table.shape[2] !== ids.shape[1] || table.shape[3] !== ids.shape[2] || ids.shape[3] !== 1) {
      this.fail('getRows', 'batch dimensions differ', table, ids)
    }
    if (!hasContiguousRows(table)) this.fail('getRows', 'rows are not contiguous', table)
    return this.made(this.native.get_rows(this.context, table.handle, ids.handle), 'f32', [
      table.shape[0],
      ids.shape[0],
      table.shape[2],
      table.shape[3],
    ])
  }

  /**
   * Writes rows of x [n, count] into table [n, rows] at ids (i64 or i32) [count], converting to the table's type.
   * Returns a view of the table; pass it to `effect` so that it runs.
   */
  setRows<T extends TensorType>(table: Tensor<T>, x: Tensor<'f32'>, ids: Tensor<'i64' | 'i32'>): Tensor<T> {
    this.readable('setRows', table, x, ids)
    const fits =
      table.shape[0] === x.shape[0] &&
      x.shape[1] === ids.shape[0] &&
      x.shape[2] === table.shape[2] &&
      x.shape[3] === table.shape[3] &&
      x.shape[2] % ids.shape[1] === 0 &&
      x.shape[3] % ids.shape[2] === 0 &&
      ids.shape[3] === 1
    if (!fits) this.fail('setRows', 'shapes do not match', table, x, ids)
    if (x.type !== 'f32' || (ids.type !== 'i64' && ids.type !== 'i32'))
      this.fail('setRows', 'needs f32 rows and i64 or i32 ids', table, x, ids)
    if (!hasContiguousRows(x) || !hasContiguousRows(table)) this.fail('setRows', 'rows are not contiguous', table, x)
    return this.made(
      this.native.set_rows(this.context, table.handle, x.handle, ids.handle),
      table.type,
      table.shape,
      table.strides,
      true,
    )
  }

  /**
   * softmax(q k * scale + mask) v in one operation: q [head, tokens, heads], k and v [head, cached, kv heads] (f16,
   * f32, or q8_0), mask f16 [cached, tokens], to [head, heads, tokens]. Query heads share key heads in consecutive
   * groups.
   */
  flashAttention(
    q: Tensor<'f32'>,
    k: Tensor,
    v: Tensor,
    mask: Tensor<'f16'> | undefined,
    scale: number,
  ): Tensor<'f32'> {
    this.readable('flashAttention', q, k, v)
    const fits =
      q.shape[0] === k.shape[0] &&
      k.shape[1] === v.shape[1] &&
      k.shape[2] === v.shape[2] &&
      q.shape[2] % k.shape[2] === 0 &&
      q.shape[3] === k.shape[3] &&
      k.shape[3] === v.shape[3]
    if (!fits) this.fail('flashAttention', 'shapes do not match', q, k, v)
    if (!hasContiguousRows(q) || !hasContiguousRows(k) || !hasContiguousRows(v))
      this.fail('flashAttention', 'rows are not contiguous', q, k, v)
    if (mask) {
      if (mask.type !== 'f16') this.fail('flashAttention', 'the mask must be f16', mask)
      if (mask.shape[0] !== k.shape[1] || mask.shape[1] < q.shape[1] || q.shape[2] % mask.shape[2] !== 0)
        this.fail('flashAttention', 'the mask does not match q and k', q, k, mask)
      if (!isContiguous(mask)) this.fail('flashAttention', 'the mask is not contiguous', mask)
    }
    this.addWork(2 * (k.shape[0] + v.shape[0]) * k.shape[1] * q.shape[1] * q.shape[2] * q.shape[3])
    const handle = this.native.flash_attn_ext(
      this.context,
      q.handle,
      k.handle,
      v.handle,
      mask?.handle ?? null,
      scale,
      0,
      0,
    )
    if (handle !== null) this.native.flash_attn_ext_set_prec(handle, PRECISION_F32)
    return this.made(handle, 'f32', [v.shape[0], q.shape[2], q.shape[1], q.shape[3]])
  }
}

function isMatrixType(type: TensorType): boolean {
  return type !== 'i8' && type !== 'i16' && type !== 'i32' && type !== 'i64'
}
