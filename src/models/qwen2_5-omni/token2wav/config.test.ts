import { describe, expect, it } from 'vitest'

import { declareParameters } from '../../../nn/index.ts'
import { ConfigReader } from '../../config-reader.ts'
import { parseToken2WavConfig, type Token2WavConfig } from './config.ts'
import { Token2WavModel } from './token2wav.ts'

function parse(dit: object = {}, vocoder: object = {}): Token2WavConfig {
  return parseToken2WavConfig(new ConfigReader({ dit_config: dit, bigvgan_config: vocoder }, 'token2wav_config'))
}

/** As hub files write it. */
const hub = { dim: 1024, depth: 22, heads: 16, head_dim: 64, ff_mult: 2, emb_dim: 512, mel_dim: 80, num_embeds: 8193 }

describe('token2wav_config', () => {
  it('of the hub has the sizes and the number of tensors of the published checkpoints', () => {
    const config = parse(hub)
    expect(config).toEqual(parse())
    const { dit } = config
    expect([dit.hidden, dit.layers, dit.heads, dit.feedForward, dit.block, dit.repeats]).toEqual([1024, 22, 16, 2048, 24, 2])
    expect([[...dit.lookBack], [...dit.lookAhead]]).toEqual([[0, 20], [10]])
    let model: Token2WavModel | undefined
    const declarations = declareParameters((parameters) => (model = new Token2WavModel(parameters.scope('token2wav'), config)))
    const of = (part: string): number => declarations.filter(({ name }) => name.startsWith(`token2wav.${part}`)).length
    expect([of('code2wav_dit_model.'), of('code2wav_bigvgan_model.')]).toEqual([360, 449])
    const elements = declarations.reduce((sum, { shape }) => sum + shape.reduce((product, extent) => product * extent), 0)
    expect(elements).toBe(333_607_792 + 115_443_504)
    expect(model?.vocoder.hop).toBe(240)
    expect(model?.vocoder.context).toEqual({ before: 26, after: 26 })
  })

  it('prefers the spelling of transformers 5 to the hub’s', () => {
    const { dit } = parse({ ...hub, hidden_size: 64, num_hidden_layers: 3, num_attention_heads: 2, rope_parameters: { rope_theta: 50 } })
    expect([dit.hidden, dit.layers, dit.heads, dit.rotaryBase]).toEqual([64, 3, 2, 50])
  })

  it.each<[string, object, object, RegExp]>([
    ['a rotation of another kind', { rope_parameters: { rope_type: 'yarn' } }, {}, /rope_parameters\.rope_type yarn/],
    ['an odd head', { head_dim: 63 }, {}, /dit_config\.head_dim should be even/],
    ['lists of different lengths', { enc_dilations: [1] }, {}, /enc_dilations should have 5 entries/],
    ['joined channels that do not add up', { enc_channels: [8, 8, 8, 8, 8] }, {}, /enc_channels should end in 24/],
    ['parts that do not divide', { enc_res2net_scale: 3 }, {}, /enc_res2net_scale does not divide 256/],
    ['mels of two kinds', {}, { mel_dim: 100 }, /bigvgan_config\.mel_dim is 100 but dit_config\.mel_dim is 80/],
    ['a kernel that shifts samples', {}, { upsample_kernel_sizes: [11, 7, 4, 4, 4, 5] }, /entry 5 should be the rate 2 plus an even/],
    ['an even block kernel', {}, { resblock_kernel_sizes: [3, 7, 10] }, /resblock_kernel_sizes should be odd/],
    ['two dilations', {}, { resblock_dilation_sizes: [[1, 3]] }, /resblock_dilation_sizes should be 3 lists of three/],
    ['dilations that are no list', {}, { resblock_dilation_sizes: [1, 3, 5] }, /should be a list of lists/],
    ['too few channels', {}, { upsample_initial_channel: 64 }, /64 cannot be halved 6 times/],
  ])('with %s is refused', (_, dit, vocoder, message) => {
    expect(() => parse(dit, vocoder)).toThrow(message)
  })
})
