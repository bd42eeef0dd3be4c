import { expect, it } from 'vitest'
import { prefillBudget, sharePrefill } from './thinker-step.ts'

it('shares a chunk evenly, and gives what short prompts leave to long ones', () => {
  expect(sharePrefill([1000], 256)).toEqual([256])
  expect(sharePrefill([1000, 1000], 256)).toEqual([128, 128])
  expect(sharePrefill([1000, 10, 100], 256)).toEqual([146, 10, 100])
  expect(sharePrefill([5, 5, 5], 2)).toEqual([1, 1, 1])
  expect(sharePrefill([], 256)).toEqual([])
})

it('keeps chunks as short as their time wants', () => {
  const largest = 256
  expect(prefillBudget({ milliseconds: 3000, millisecondsPerToken: undefined, largest: 512 })).toBe(256)
  expect(prefillBudget({ milliseconds: 3000, millisecondsPerToken: 5, largest: 512 })).toBe(512)
  expect(prefillBudget({ milliseconds: 3000, millisecondsPerToken: 50, largest })).toBe(32)
  expect(prefillBudget({ milliseconds: Infinity, millisecondsPerToken: 50, largest })).toBe(256)
  expect(prefillBudget({ milliseconds: 250, millisecondsPerToken: undefined, largest })).toBe(16)
  expect(prefillBudget({ milliseconds: 250, millisecondsPerToken: 50, largest })).toBe(16)
  expect(prefillBudget({ milliseconds: 250, millisecondsPerToken: 4, largest })).toBe(32)
  expect(prefillBudget({ milliseconds: 250, millisecondsPerToken: 0.01, largest })).toBe(256)
  expect(prefillBudget({ milliseconds: 1000, millisecondsPerToken: 4, largest })).toBe(128)
})
