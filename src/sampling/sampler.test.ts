import { describe, expect, it } from 'vitest'
import { createRandom, textStream } from './random.ts'
import { argmax, createSampler, distribution } from './sampler.ts'

const greedy = { temperature: 0, topP: 1 }
const never = (): number => {
  throw new Error('greedy sampling must not draw')
}

describe('penalties', () => {
  it('divides positive and multiplies negative logits of seen ids, prompt included, once each', () => {
    const logits = Float32Array.of(4, -2, 3, 1)
    const sample = createSampler({ ...greedy, repetitionPenalty: 2 }, never, [0, 0, 1])
    expect(sample(logits)).toBe(2)
    expect(Array.from(logits)).toEqual([2, -4, 3, 1])
    const next = Float32Array.of(4, -2, 3, 1)
    sample(next)
    expect(Array.from(next)).toEqual([2, -4, 1.5, 1])
  })

  it('subtracts the presence penalty from generated ids only, after the repetition penalty', () => {
    const sample = createSampler({ ...greedy, repetitionPenalty: 2, presencePenalty: 0.5 }, never, [1])
    sample(Float32Array.of(4, 0, 0))
    const logits = Float32Array.of(4, 3, 0)
    expect(sample(logits)).toBe(0)
    expect(Array.from(logits)).toEqual([1.5, 1.5, 0])
  })

  it('counts forced ids and never picks suppressed ones', () => {
    const sample = createSampler({ ...greedy, presencePenalty: 10, suppressed: [2, 99] }, never)
    sample.observe(0)
    expect(sample(Float32Array.of(5, 1, 9))).toBe(1)
  })
})

describe('distribution', () => {
  const softmax = (values: number[]): number[] => {
    const weights = values.map((value) => Math.exp(value))
    const total = weights.reduce((left, right) => left + right)
    return weights.map((weight) => weight / total)
  }

  it('is softmax of logits over temperature when nothing is cut', () => {
    const { ids, weights, total } = distribution(Float32Array.of(1, 2, 4), { temperature: 2, topP: 1 })
    expect(Array.from(ids)).toEqual([0, 1, 2])
    softmax([0.5, 1, 2]).forEach((value, index) => expect(weights[index]! / total).toBeCloseTo(value, 12))
  })

  it('keeps ties at the k-th largest', () => {
    const { ids } = distribution(Float32Array.of(1, 3, 2, 2, 0), { temperature: 1, topK: 2, topP: 1 })
    expect(Array.from(ids)).toEqual([1, 2, 3])
  })

  it('keeps the smallest nucleus that reaches top-p', () => {
    // Probabilities 0.5, 0.3, 0.15, 0.05.
    const logits = Float32Array.from([0.5, 0.3, 0.15, 0.05], Math.log)
    const kept = (topP: number): number[] => Array.from(distribution(logits, { temperature: 1, topP }).ids)
    expect(kept(0.01)).toEqual([0])
    expect(kept(0.49)).toEqual([0])
    expect(kept(0.51)).toEqual([0, 1])
    expect(kept(0.81)).toEqual([0, 1, 2])
    expect(kept(0.96)).toEqual([0, 1, 2, 3])
  })

  it('agrees with sorting everything, on a large vocabulary', () => {
    const random = createRandom(5, 1)
    const logits = Float32Array.from({ length: 20_000 }, () => random() * 12)
    for (const [topK, topP] of [
      [50, 0.8],
      [undefined, 0.3],
      [1000, 0.95],
    ] as const) {
      const order = Array.from(logits.keys()).toSorted((left, right) => logits[right]! - logits[left]!)
      const first = order.slice(0, topK ?? order.length)
      const probabilities = softmax(first.map((id) => logits[id]!))
      let reached = 0
      let count = 0
      while (reached < topP) reached += probabilities[count++]!
      const expected = first.slice(0, count).toSorted((left, right) => left - right)
      expect(Array.from(distribution(logits, { temperature: 1, topK, topP }).ids)).toEqual(expected)
    }
  })
})

describe('drawing', () => {
  it('follows the probabilities, and a seed repeats itself', () => {
    const draw = (seed: number): number[] => {
      const sample = createSampler({ temperature: 1, topP: 1 }, createRandom(seed, textStream))
      return Array.from({ length: 4000 }, () => sample(Float32Array.from([0.6, 0.3, 0.1], Math.log)))
    }
    const ids = draw(7)
    expect(draw(7)).toEqual(ids)
    expect(draw(8)).not.toEqual(ids)
    const share = (id: number): number => ids.filter((other) => other === id).length / ids.length
    expect(share(0)).toBeCloseTo(0.6, 1)
    expect(share(1)).toBeCloseTo(0.3, 1)
    expect(share(2)).toBeCloseTo(0.1, 1)
  })

  it('has independent streams per stage', () => {
    const numbers = (stream: number): number[] => {
      const random = createRandom(1, stream)
      return Array.from({ length: 8 }, random)
    }
    expect(numbers(2)).not.toEqual(numbers(3))
    expect(numbers(1).every((value) => value >= 0 && value < 1)).toBe(true)
  })
})

it('argmax takes the first of equals and refuses NaN', () => {
  expect(argmax(Float32Array.of(1, 3, 3))).toBe(1)
  expect(() => argmax(Float32Array.of(NaN, NaN))).toThrow('no finite logit')
})
