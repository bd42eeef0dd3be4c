import { describe, expect, it } from 'vitest'
import { createCatalogue, FAMILIES, limitsOf, TEN_LANGUAGES, VOICES, voiceNamed } from './index.ts'

describe('catalogue', () => {
  const intl = createCatalogue('intl')
  const cn = createCatalogue('cn')

  it('lists the guide’s models of each region', () => {
    expect(intl.models.map((model) => model.id)).toEqual([
      'qwen3-omni-flash',
      'qwen3-omni-flash-2025-12-01',
      'qwen3-omni-flash-2025-09-15',
      'qwen-omni-turbo',
      'qwen-omni-turbo-latest',
      'qwen-omni-turbo-2025-03-26',
      'qwen2.5-omni-7b',
    ])
    expect(cn.models.length - intl.models.length).toBe(1)
    expect(intl.find('qwen-omni-turbo-2025-01-19')).toBeUndefined()
    expect(cn.find('qwen-omni-turbo-0119')?.id).toBe('qwen-omni-turbo-2025-01-19')
  })

  it('has 49, 17, 4 and 2 voices, each described', () => {
    const counts = ['qwen3-omni-flash-2025-12-01', 'qwen3-omni-flash', 'qwen-omni-turbo', 'qwen2.5-omni-7b'].map(
      (name) => new Set(intl.find(name)?.voices).size,
    )
    expect(counts).toEqual([49, 17, 4, 2])
    expect(VOICES.every((voice) => voice.description.length > 5 && voice.displayName.length > 0)).toBe(true)
    expect(VOICES.filter((voice) => voice.dialect !== undefined)).toHaveLength(10)
    for (const model of cn.models) {
      for (const voice of model.voices) expect(voiceNamed(voice).name).toBe(voice)
      expect(model.voices).toContain(model.defaultVoice)
    }
    expect(TEN_LANGUAGES).toHaveLength(10)
  })

  it('keeps the limits of both modes', () => {
    const flash = intl.find('qwen3-omni-flash')
    expect(flash && limitsOf(flash, true)).toEqual({
      contextLength: 65_536,
      maxInput: 16_384,
      maxReasoning: 32_768,
      maxOutput: 16_384,
    })
    expect(flash?.normal.maxInput).toBe(49_152)
    const turbo = intl.find('qwen-omni-turbo')
    expect(turbo?.normal).toEqual({ contextLength: 32_768, maxInput: 30_720, maxOutput: 2_048 })
    expect(() => turbo && limitsOf(turbo, true)).toThrow('no thinking mode')
  })

  it('re-points aliases, and refuses unknown ones', () => {
    const later = createCatalogue('intl', { 'qwen3-omni-flash': 'qwen3-omni-flash-2025-12-01' })
    expect(later.find('qwen3-omni-flash')?.voices).toHaveLength(49)
    expect(later.find('qwen3-omni-flash')?.id).toBe('qwen3-omni-flash')
    expect(() => createCatalogue('intl', { 'qwen3-omni-flash': 'x' })).toThrow(
      /x is no model of region intl\. Models: qwen3-omni-flash, /,
    )
    expect(() => createCatalogue('intl', { x: 'qwen3-omni-flash' })).toThrow('x is no model of region intl')
  })

  it('prices each region in its currency, and the open model not at all', () => {
    expect(intl.find('qwen3-omni-flash')?.prices).toMatchObject({ currency: 'USD', outputAudio: 15.11 })
    expect(cn.find('qwen-omni-turbo')?.prices).toMatchObject({ currency: 'CNY', inputText: 0.4 })
    expect(cn.find('qwen2.5-omni-7b')?.prices).toBeUndefined()
    expect(FAMILIES.turbo.sampling.topP).toBe(0.01)
  })

  it('knows the realtime names', () => {
    expect(intl.isOnOtherWire('qwen3-omni-flash-realtime')).toBe(true)
    expect(intl.isOnOtherWire('qwen3-omni-flash')).toBe(false)
  })
})
