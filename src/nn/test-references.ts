/** Reference implementations for the tests of this folder, in double precision. */

/** Reproducible values in [-scale, scale]. */
export function random(count: number, scale = 1, seed = 1): Float32Array {
  let state = (seed * 2654435761) >>> 0 || 1
  return Float32Array.from({ length: count }, () => {
    state ^= state << 13
    state >>>= 0
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return (state / 0x80000000 - 1) * scale
  })
}

/** The largest absolute difference, or NaN. Throws for different lengths. */
export function maximumDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`${a.length} values against ${b.length}`)
  let largest = 0
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs((a[i] ?? 0) - (b[i] ?? 0))
    if (!(difference <= largest)) largest = difference
  }
  return largest
}

/** W x + b for each row of x. */
export function referenceLinear(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  inFeatures: number,
  bias?: ArrayLike<number>,
): number[] {
  const outFeatures = weight.length / inFeatures
  const rows = x.length / inFeatures
  const y: number[] = []
  for (let row = 0; row < rows; row++) {
    for (let out = 0; out < outFeatures; out++) {
      let sum = bias?.[out] ?? 0
      for (let i = 0; i < inFeatures; i++) sum += (x[row * inFeatures + i] ?? 0) * (weight[out * inFeatures + i] ?? 0)
      y.push(sum)
    }
  }
  return y
}

export function referenceRmsNorm(
  x: readonly number[],
  weight: ArrayLike<number>,
  size: number,
  epsilon: number,
): number[] {
  const y: number[] = []
  for (let start = 0; start < x.length; start += size) {
    let squares = 0
    for (let i = 0; i < size; i++) squares += (x[start + i] ?? 0) ** 2
    for (let i = 0; i < size; i++)
      y.push(((x[start + i] ?? 0) / Math.sqrt(squares / size + epsilon)) * (weight[i] ?? 0))
  }
  return y
}

interface AttentionShape {
  readonly hidden: number
  readonly heads: number
  readonly keyValueHeads: number
  readonly headSize: number
  readonly queryKeyNorm: number
}

/** An attention layer over a whole sequence: causal, optionally with a window, or within blocks (`lengths`). */
export function referenceAttention(
  weights: ReadonlyMap<string, Float32Array>,
  shape: AttentionShape,
  x: Float32Array,
  positions: Int32Array | Float32Array,
  options: { window?: number | undefined; lengths?: readonly number[]; sections: readonly [number, number, number] },
): Float32Array {
  const { hidden, heads, keyValueHeads, headSize } = shape
  const tokens = x.length / hidden
  const weight = (name: string): Float32Array => weights.get(name) ?? new Float32Array()
  const project = (name: string): number[] =>
    referenceLinear(x, weight(`${name}.weight`), hidden, weight(`${name}.bias`))
  const rotate = (values: number[], count: number): number[] => {
    const half = headSize / 2
    const rotated = [...values]
    for (let token = 0; token < tokens; token++) {
      for (let head = 0; head < count; head++) {
        const at = (token * count + head) * headSize
        for (let i = 0; i < half; i++) {
          const axis =
            i % 3 === 1 && i < 3 * options.sections[1] ? 1 : i % 3 === 2 && i < 3 * options.sections[2] ? 2 : 0
          const angle = (positions[axis * tokens + token] ?? 0) * 10_000 ** ((-2 * i) / headSize)
          const a = values[at + i] ?? 0
          const b = values[at + i + half] ?? 0
          rotated[at + i] = a * Math.cos(angle) - b * Math.sin(angle)
          rotated[at + i + half] = a * Math.sin(angle) + b * Math.cos(angle)
        }
      }
    }
    return rotated
  }
  const q = rotate(referenceRmsNorm(project('q_proj'), weight('q_norm.weight'), headSize, shape.queryKeyNorm), heads)
  const k = rotate(
    referenceRmsNorm(project('k_proj'), weight('k_norm.weight'), headSize, shape.queryKeyNorm),
    keyValueHeads,
  )
  const v = project('v_proj')
  const blockOf: number[] = []
  for (const [block, length] of (options.lengths ?? []).entries()) for (let i = 0; i < length; i++) blockOf.push(block)
  const visible = (from: number, to: number): boolean =>
    options.lengths
      ? blockOf[from] === blockOf[to]
      : to <= from && from - to < (options.window ?? Number.POSITIVE_INFINITY)
  const attended: number[] = []
  for (let token = 0; token < tokens; token++) {
    for (let head = 0; head < heads; head++) {
      const shared = Math.floor(head / (heads / keyValueHeads))
      const scores = Array.from({ length: tokens }, (_, other) => {
        if (!visible(token, other)) return Number.NEGATIVE_INFINITY
        let sum = 0
        for (let i = 0; i < headSize; i++) {
          sum +=
            (q[(token * heads + head) * headSize + i] ?? 0) * (k[(other * keyValueHeads + shared) * headSize + i] ?? 0)
        }
        return sum / Math.sqrt(headSize)
      })
      const largest = Math.max(...scores)
      const powers = scores.map((score) => Math.exp(score - largest))
      const total = powers.reduce((sum, power) => sum + power, 0)
      for (let i = 0; i < headSize; i++) {
        attended.push(
          powers.reduce(
            (sum, power, other) => sum + (power / total) * (v[(other * keyValueHeads + shared) * headSize + i] ?? 0),
            0,
          ),
        )
      }
    }
  }
  return Float32Array.from(referenceLinear(attended, weight('o_proj.weight'), heads * headSize))
}
