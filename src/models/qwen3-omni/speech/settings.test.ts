import { expect, it } from 'vitest'
import { defaultSpeech, readSpeechSettings } from './settings.ts'

it('uses the checkpoint’s settings, and transformers’ defaults for missing ones', () => {
  expect(readSpeechSettings(undefined)).toEqual(defaultSpeech)
  const read = readSpeechSettings({ talker_temperature: 0.5, talker_max_new_tokens: 100 })
  expect(read.talker).toEqual({ ...defaultSpeech.talker, temperature: 0.5 })
  expect(read.maxFrames).toBe(100)
  expect(readSpeechSettings({ talker_do_sample: false }).codePredictor.temperature).toBe(0)
})

it.each([
  ['talker_do_sample', 'no'],
  ['talker_temperature', -0.5],
  ['talker_top_k', 1.5],
  ['talker_top_k', 'many'],
  ['talker_top_p', 0],
  ['talker_top_p', 1.01],
  ['talker_repetition_penalty', 0],
  ['talker_max_new_tokens', 0],
])('refuses %s = %j with an error that names it', (key, value) => {
  expect(() => readSpeechSettings({ [key]: value })).toThrow(`generation_config.json: ${key} should be`)
})
