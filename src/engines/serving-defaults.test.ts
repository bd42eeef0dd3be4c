import { expect, it } from 'vitest'
import { readServingDefaults } from './serving-defaults.ts'

const source = (config?: object) => ({
  location: '/checkpoint',
  readText: async () => (config === undefined ? undefined : JSON.stringify(config)),
})

it('reads what a checkpoint is best sampled with and how many turns it understands', async () => {
  const config = {
    do_sample: false,
    default_sampling: { temperature: 0, top_k: 20 },
    max_history_turns: 12,
    history_audio: 'transcript',
    max_spoken_history_turns: 2,
  }
  expect(await readServingDefaults(source(config))).toEqual({
    sampling: { temperature: 0, topK: 20 },
    historyTurns: 12,
    spokenHistoryTurns: 2,
    historyAudio: 'transcript',
  })
})

it('has nothing to say of checkpoints as published', async () => {
  expect(await readServingDefaults(source())).toEqual({})
  expect(await readServingDefaults(source({ temperature: 0.7, top_p: 0.8 }))).toEqual({})
})

it('names a field that is wrong', async () => {
  await expect(readServingDefaults(source({ default_sampling: { temperature: 2 } }))).rejects.toThrow(
    'default_sampling.temperature',
  )
  await expect(readServingDefaults(source({ default_sampling: { heat: 1 } }))).rejects.toThrow('heat')
  await expect(readServingDefaults(source({ max_history_turns: 0 }))).rejects.toThrow('max_history_turns')
  await expect(readServingDefaults(source({ history_audio: 'words' }))).rejects.toThrow('history_audio')
})
