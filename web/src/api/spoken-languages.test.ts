import { expect, it } from 'vitest'
import { listing } from './listing.fixture.ts'
import { spokenLanguages } from './spoken-languages.ts'

it('is what the checkpoint speaks of what the voice speaks', () => {
  const served = listing('qwen3-omni-flash').served_by
  if (served === null) throw new Error('the fixture is served')
  const voice = {
    name: 'Cherry',
    display_name: '芊悦',
    description: '',
    languages: ['zh', 'en', 'fr'],
    native: true,
    spoken_by: 'cherry',
  }
  expect(spokenLanguages(voice, served)).toEqual(['zh', 'en'])
  const real = { ...served, checkpoint: 'Qwen/Qwen3-Omni-30B-A3B-Instruct' }
  expect(spokenLanguages(voice, real)).toEqual(['zh', 'en', 'fr'])
  expect(spokenLanguages(voice, { ...real, architecture: 'Qwen2_5OmniModel' })).toEqual(['zh', 'en'])
  expect(spokenLanguages(voice, null)).toEqual(['zh', 'en', 'fr'])
})
