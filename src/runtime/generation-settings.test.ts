import { expect, it } from 'vitest'
import { defaultGeneration, readGenerationSettings } from './generation-settings.ts'

it('takes what the checkpoint says and transformers’ defaults for the rest', () => {
  expect(readGenerationSettings(undefined, 7)).toEqual({ ...defaultGeneration, endTokenIds: [7] })
  const read = readGenerationSettings(
    { eos_token_id: [7, 8, 'x'], talker_temperature: 0.5, talker_top_k: 'many', talker_max_new_tokens: 100 },
    7,
  )
  expect(read.endTokenIds).toEqual([7, 8])
  expect(read.talker).toEqual({ ...defaultGeneration.talker, temperature: 0.5 })
  expect(read.maxSpeechFrames).toBe(100)
  expect(readGenerationSettings({ talker_do_sample: false }, 7).codePredictor.temperature).toBe(0)
})
