import { readFileSync } from 'node:fs'

import { describe, expect, it } from 'vitest'

import { testdataPath } from '../../../testing/golden.ts'
import { describeModel } from '../index.ts'
import { parseConfig } from './config.ts'

interface Json {
  [key: string]: Json
}

function load(path: string): Json {
  return JSON.parse(readFileSync(testdataPath(path), 'utf8')) as Json
}

/** A deep copy with one value set (or deleted, when undefined). */
function change(json: Json, path: string, value: unknown): Json {
  const copy = structuredClone(json)
  const keys = path.split('.')
  const last = keys.pop() ?? ''
  let at = copy as Record<string, unknown>
  for (const key of keys) at = at[key] as Record<string, unknown>
  if (value === undefined) delete at[last]
  else at[last] = value
  return copy
}

/** Turns `rope_theta` and `rope_scaling` into `rope_parameters`. */
const respell = (part: Record<string, unknown>): void => {
  part['rope_parameters'] = { ...(part['rope_scaling'] as object), rope_theta: part['rope_theta'] }
  delete part['rope_scaling']
  delete part['rope_theta']
}

const real = load('qwen2.5-omni/config-7b.json')

describe('config.json', () => {
  it('has the same meaning in the newer spelling and under either name', () => {
    const newer = structuredClone(real)
    respell(newer['thinker_config']!['text_config']!)
    respell(newer['talker_config']!)
    expect(parseConfig(newer)).toEqual(parseConfig(real))
    const renamed = change(real, 'architectures', ['Qwen2_5OmniForConditionalGeneration'])
    expect(parseConfig(renamed)).toEqual({ ...parseConfig(real), architecture: 'Qwen2_5OmniForConditionalGeneration' })
  })

  it('supports every option of the tiny checkpoints', () => {
    const grouped = parseConfig(load('checkpoints/tiny25-grouped/config.json'))
    expect(grouped.architecture).toBe('Qwen2_5OmniModel')
    expect(grouped.thinker).toMatchObject({ heads: 4, keyValueHeads: 2, tiedEmbeddings: false })
    expect(grouped.speech?.talker).toMatchObject({ headSize: 32, hidden: 48 })
    const tied = parseConfig(load('checkpoints/tiny25-tied/config.json'))
    expect(tied.thinker.tiedEmbeddings).toBe(true)
    expect(tied.visionEncoder.window).toBe(2)
    expect(tied.speech?.talker.rotarySections).toEqual([4, 4, 0])
    const even = parseConfig(load('checkpoints/tiny25-even/config.json'))
    expect([...even.visionEncoder.fullLayers]).toEqual([])
    expect(even.audioEncoder.chunkFrames).toBe(150)
    expect(parseConfig(load('checkpoints/tiny25-thinker/config.json')).speech).toBeUndefined()
  })

  it('ties embeddings by the option that transformers uses, and accepts patch sizes as lists', () => {
    const tied = (path: string): boolean => parseConfig(change(real, path, true)).thinker.tiedEmbeddings
    expect(tied('thinker_config.text_config.tie_word_embeddings')).toBe(false)
    expect(tied('thinker_config.tie_word_embeddings')).toBe(true)
    const listed = change(real, 'thinker_config.vision_config.patch_size', [14, 14])
    expect(parseConfig(listed).visionEncoder).toEqual(parseConfig(real).visionEncoder)
  })

  it('describes a checkpoint that has only the thinker', () => {
    const alone = { ...real['thinker_config']!, architectures: ['Qwen2_5OmniThinkerForConditionalGeneration'] }
    const description = describeModel(alone)
    expect(description.speaks).toBeUndefined()
    const canonicalName = (name: string): string => description.naming.canonicalName(name)
    expect(canonicalName('model.layers.0.mlp.up_proj.weight')).toBe('thinker.model.layers.0.mlp.up_proj.weight')
    expect(canonicalName('model.language_model.norm.weight')).toBe('thinker.model.norm.weight')
    expect(canonicalName('audio_tower.ln_post.bias')).toBe('thinker.audio_tower.ln_post.bias')
  })

  it('has no speech if enable_audio_output is off, even if enable_talker is on', () => {
    expect(parseConfig(change(real, 'enable_audio_output', false)).speech).toBeUndefined()
    expect(parseConfig(change(real, 'enable_talker', false)).speech).toBeDefined()
  })

  it('refuses a sliding window that is used and shorter than the context', () => {
    const windowed = change(real, 'thinker_config.text_config.sliding_window', 4096)
    expect(parseConfig(windowed).thinker).toEqual(parseConfig(real).thinker)
    const used = change(windowed, 'thinker_config.text_config.use_sliding_window', true)
    expect(() => describeModel(used)).toThrow(/sliding_window is 4096; windows shorter than the context/)
  })

  const faults: [string, unknown, RegExp][] = [
    ['architectures', ['Qwen2_5_VLForConditionalGeneration'], /architectures .*Qwen2_5_VL/],
    ['thinker_config', undefined, /thinker_config is missing/],
    ['thinker_config.text_config.hidden_size', '3584', /text_config\.hidden_size should be a whole/],
    ['thinker_config.text_config.num_key_value_heads', 5, /num_key_value_heads is 5/],
    ['thinker_config.text_config.rope_scaling.mrope_section', [16, 24, 23], /mrope_section should be three numbers/],
    ['thinker_config.text_config.rope_scaling.rope_type', 'yarn', /rope_type is yarn; only default/],
    ['thinker_config.text_config.hidden_act', 'gelu', /hidden_act should be silu/],
    ['thinker_config.audio_config.output_dim', 2048, /output_dim is 2048 but the thinker's hidden_size is 3584/],
    ['thinker_config.audio_config.max_source_positions', 99, /max_source_positions is 99/],
    ['thinker_config.vision_config.window_size', 27, /window_size is 27/],
    ['thinker_config.vision_config.fullatt_block_indexes', [32], /fullatt_block_indexes should name layers below 32/],
    ['talker_config.embedding_size', 896, /embedding_size is 896 but the thinker's hidden_size is 3584/],
    ['talker_config.tts_codec_end_token_id', 8448, /tts_codec_end_token_id is 8448, outside the 8448 ids/],
    ['talker_config.vocab_size', 8000, /vocab_size is 8000, but token2wav has codes up to 8193/],
    ['thinker_config.text_config.num_hidden_layers', 1e9, /num_hidden_layers should be at most 1000, is 1000000000/],
    ['thinker_config.audio_config.encoder_layers', 1e9, /encoder_layers should be at most/],
    ['thinker_config.vision_config.depth', 1e9, /depth should be at most/],
    ['talker_config.num_hidden_layers', 1e9, /talker_config.num_hidden_layers should be at most/],
    ['token2wav_config.dit_config.num_hidden_layers', 1e9, /dit_config.num_hidden_layers should be at most/],
  ]
  it.each(faults)('%s = %j is refused with an error that names it', (path, value, message) => {
    expect(() => describeModel(change(real, path, value))).toThrow(message)
    expect(() => describeModel(change(real, path, value))).toThrow(expect.objectContaining({ code: 'bad_checkpoint' }))
  })
})
