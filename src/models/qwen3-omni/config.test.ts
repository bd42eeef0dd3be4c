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

/** Turns `rope_parameters` into `rope_theta` and `rope_scaling`. */
const respell = (part: Record<string, unknown>): void => {
  const { rope_theta: theta, ...scaling } = part['rope_parameters'] as Record<string, unknown>
  delete part['rope_parameters']
  part['rope_theta'] = theta
  if ('mrope_section' in scaling) part['rope_scaling'] = scaling
}

const real = load('qwen3-omni-30b-a3b/config.json')

describe('config.json', () => {
  it('of the published checkpoint is read completely', () => {
    const config = parseConfig(real)
    expect(config.thinker).toMatchObject({ layers: 48, hidden: 2048, heads: 32, keyValueHeads: 4, headSize: 128 })
    expect(config.thinker.rotarySections).toEqual([24, 20, 20])
    expect(config.thinker.sparse).toEqual({ experts: 128, used: 8, width: 768, renormalise: true })
    expect(config.audioEncoder).toMatchObject({ chunkFrames: 100, windowChunks: 8, layers: 32 })
    expect(config.visionEncoder).toMatchObject({ positionGrid: 48, deepstackLayers: [8, 16, 24] })
    expect(config.speech?.talker).toMatchObject({ acceptHiddenLayer: 24, codeGroups: 16 })
    expect(config.speech?.talker.sparse).toMatchObject({ experts: 128, used: 6, shared: 768 })
    expect(config.speech?.code2wav).toMatchObject({ window: 72, upsampleRates: [8, 5, 4, 3] })
  })

  it('has the same meaning in the older spelling', () => {
    const older = structuredClone(real)
    const talker = older['talker_config']!
    respell(older['thinker_config']!['text_config']!)
    respell(talker['text_config']!)
    respell(talker['code_predictor_config']!)
    respell(older['code2wav_config']!)
    delete talker['text_config']!['num_local_experts']
    expect(parseConfig(older)).toEqual(parseConfig(real))
    const newer = change(change(real, 'talker_config.text_config.num_experts', undefined), 'x', 1)
    expect(parseConfig(newer)).toEqual(parseConfig(real))
  })

  it('supports every option of the tiny checkpoints', () => {
    const mixed = parseConfig(load('checkpoints/tiny-mixed/config.json'))
    expect(mixed.thinker.sparseLayers).toEqual([false, true, false, false, false])
    expect(mixed.thinker.tiedEmbeddings).toBe(true)
    expect(mixed.thinker.attentionBias).toBe(true)
    expect(mixed.speech?.talker.sparse?.renormalise).toBe(false)
    const dense = parseConfig(load('checkpoints/tiny-dense/config.json'))
    expect(dense.thinker.sparseLayers).toEqual([false, false])
    expect(dense.visionEncoder.deepstackLayers).toEqual([])
    // Sections of a large head on a small one: what does not fit is cut off.
    expect(dense.thinker.rotarySections).toEqual([6, 5, 5])
    expect(parseConfig(load('checkpoints/tiny-thinker/config.json')).speech).toBeUndefined()
  })

  it('describes a checkpoint that has only the thinker', () => {
    const alone = { ...real['thinker_config']!, architectures: ['Qwen3OmniMoeThinkerForConditionalGeneration'] }
    const description = describeModel(alone)
    expect(description.speaks).toBeUndefined()
    expect(description.naming.canonicalName('model.layers.0.mlp.gate.weight')).toBe(
      'thinker.model.layers.0.mlp.gate.weight',
    )
    expect(description.naming.canonicalName('model.audio_tower.ln_post.bias')).toBe('thinker.audio_tower.ln_post.bias')
  })

  it('accepts a sliding window that has no effect, and patch sizes as lists', () => {
    const listed = change(real, 'thinker_config.vision_config.patch_size', [16, 16])
    expect(parseConfig(listed).visionEncoder.patch).toBe(16)
    const wide = change(real, 'thinker_config.text_config.sliding_window', 65_536)
    expect(parseConfig(wide).thinker).toEqual(parseConfig(real).thinker)
    const short = change(real, 'thinker_config.text_config.sliding_window', 4096)
    // transformers does not read `use_sliding_window` here.
    expect(() => parseConfig(short)).toThrow(/sliding_window is 4096; windows shorter than the context/)
    const unused = change(real, 'talker_config.code_predictor_config.sliding_window', 8)
    expect(parseConfig(unused).speech?.codePredictor).toEqual(parseConfig(real).speech?.codePredictor)
    const felt = change(unused, 'talker_config.code_predictor_config.layer_types', ['sliding_attention'])
    expect(() => parseConfig(felt)).toThrow(/sliding_window is 8; windows shorter than a frame/)
  })

  const faults: [string, unknown, RegExp][] = [
    ['architectures', ['LlamaForCausalLM'], /architectures .*LlamaForCausalLM.*Qwen3OmniMoeForConditionalGeneration/],
    ['architectures', undefined, /architectures/],
    ['thinker_config', undefined, /thinker_config is missing/],
    ['thinker_config.text_config.hidden_size', '2048', /thinker_config\.text_config\.hidden_size should be a whole/],
    ['thinker_config.text_config.num_key_value_heads', 5, /num_key_value_heads is 5/],
    ['thinker_config.text_config.rope_parameters.rope_type', 'yarn', /rope_type is yarn; only default/],
    ['thinker_config.vision_config.patch_size', [16, 14], /patch_size should be a whole number/],
    ['thinker_config.text_config.hidden_act', 'gelu', /hidden_act should be silu/],
    ['thinker_config.text_config.num_experts_per_tok', 129, /num_experts_per_tok is 129 of 128/],
    ['thinker_config.audio_config.n_window', 20, /n_window/],
    ['thinker_config.audio_config.output_dim', 3584, /output_dim is 3584 but the thinker's hidden_size is 2048/],
    ['thinker_config.vision_config.num_position_embeddings', 2300, /square/],
    ['thinker_config.vision_config.hidden_act', 'mish', /hidden_act .*mish is not supported/],
    ['talker_config.accept_hidden_layer', 49, /accept_hidden_layer is 49/],
    ['talker_config.speaker_id', {}, /speaker_id should name/],
    ['talker_config.codec_bos_id', 4000, /codec_bos_id is 4000, outside/],
    ['code2wav_config.num_hidden_layers', 1e9, /code2wav_config.num_hidden_layers should be at most 1000/],
    ['code2wav_config.num_attention_heads', 1e6, /num_attention_heads is 1000000, more than hidden_size/],
    ['talker_config.code_predictor_config.num_code_groups', 1e9, /num_code_groups/],
    ['code2wav_config.num_quantizers', 8, /num_quantizers is 8 but the talker makes 16/],
    ['code2wav_config.decoder_dim', 1500, /decoder_dim is 1500/],
  ]
  it.each(faults)('%s = %j is refused with an error that names it', (path, value, message) => {
    expect(() => describeModel(change(real, path, value))).toThrow(message)
    expect(() => describeModel(change(real, path, value))).toThrow(expect.objectContaining({ code: 'bad_checkpoint' }))
  })
})
