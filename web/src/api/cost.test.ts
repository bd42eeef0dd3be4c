import { describe, expect, it } from 'vitest'
import { costOf } from './cost.ts'
import { listing } from './listing.fixture.ts'

const { prices } = listing('qwen3-omni-flash')

describe('costOf', () => {
  it('bills spoken replies by their audio only', () => {
    const usage = {
      prompt_tokens: 2000,
      completion_tokens: 2000,
      total_tokens: 4000,
      prompt_tokens_details: { text_tokens: 1000, image_tokens: 1000 },
      completion_tokens_details: { text_tokens: 1000, audio_tokens: 1000 },
    }
    expect(costOf(usage, prices)).toEqual({
      currency: 'USD',
      input: 0.00121,
      output: 0.01511,
      total: expect.closeTo(0.01632, 9),
    })
  })

  it('bills text by what was asked with, reasoning included', () => {
    const usage = (prompt: object) => ({
      prompt_tokens: 11,
      completion_tokens: 363,
      total_tokens: 374,
      prompt_tokens_details: prompt,
      completion_tokens_details: { reasoning_tokens: 195, text_tokens: 168 },
    })
    expect(costOf(usage({ text_tokens: 11 }), prices)?.output).toBeCloseTo((363 * 1.66) / 1e6, 12)
    expect(costOf(usage({ audio_tokens: 11 }), prices)?.output).toBeCloseTo((363 * 3.06) / 1e6, 12)
    expect(costOf(usage({ text_tokens: 11 }), undefined)).toBeUndefined()
  })
})
