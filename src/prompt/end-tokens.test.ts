import { expect, it } from 'vitest'
import { readCheckpointFiles } from './checkpoint-files.ts'
import { readEndTokens } from './end-tokens.ts'
import type { PromptTokenizer } from './tokenizer.ts'

const tokenizer = (end?: number): PromptTokenizer =>
  ({ idOf: () => end }) as Partial<PromptTokenizer> as PromptTokenizer
const files = (generation?: object) =>
  readCheckpointFiles({
    location: 'here',
    readText: async (name) =>
      name === 'generation_config.json' && generation ? JSON.stringify(generation) : undefined,
  })

it('lists the end of turn first, then what generation_config.json says', async () => {
  expect(readEndTokens(await files(), tokenizer(7), '<end>')).toEqual([7])
  expect(readEndTokens(await files({ eos_token_id: [7, 8, 'x'] }), tokenizer(7), '<end>')).toEqual([7, 8])
  expect(readEndTokens(await files({ eos_token_id: 9 }), tokenizer(), '<end>', 5)).toEqual([5, 9])
  const none = await files()
  expect(() => readEndTokens(none, tokenizer(), '<end>')).toThrow('no <end> token')
})
