/**
 * Sizes and switches of token2wav, from `token2wav_config` of config.json.
 *
 * In: the parsed section. Out: a {@link Token2WavConfig}, or `EngineError('bad_checkpoint')` naming the key. Hub files
 * have `dim`, `depth` and `heads`; files saved by transformers 5 have `hidden_size` and so on, which takes precedence.
 *
 * Reference: transformers `Qwen2_5OmniDiTConfig`, `Qwen2_5OmniBigVGANConfig`.
 */

import type { ConfigReader } from '../../config-reader.ts'

/** ECAPA-TDNN: converts a reference mel spectrogram to a vector. */
export interface SpeakerEncoderConfig {
  readonly mels: number
  /** Channels of the first convolution, the squeeze-excitation blocks, and the joined outputs. */
  readonly channels: readonly number[]
  readonly kernels: readonly number[]
  readonly dilations: readonly number[]
  readonly attentionChannels: number
  readonly squeezeChannels: number
  /** Parts that a block's channels are split into. */
  readonly parts: number
  readonly output: number
}

export interface DitConfig {
  readonly hidden: number
  readonly layers: number
  readonly heads: number
  readonly headSize: number
  readonly feedForward: number
  readonly mels: number
  /** Highest code: the table has one row more, for code 0 of the unguided row. */
  readonly codes: number
  readonly codeWidth: number
  /** Mel frames per code. */
  readonly repeats: number
  /** Size of a voice's `cond` vector. */
  readonly conditionWidth: number
  /** Frames that attend to each other in every layer. */
  readonly block: number
  /** Unit of windows, in frames: the smallest number of whole blocks with a whole number of codes. */
  readonly streamBlock: number
  /** Layers that also attend to the next block, and to the previous one. */
  readonly lookAhead: ReadonlySet<number>
  readonly lookBack: ReadonlySet<number>
  readonly rotaryBase: number
  /** Most mel frames of one run. */
  readonly mostFrames: number
  readonly speaker: SpeakerEncoderConfig
}

export interface BigVganConfig {
  readonly mels: number
  readonly width: number
  readonly rates: readonly number[]
  readonly kernels: readonly number[]
  readonly blockKernels: readonly number[]
  /** Per block kernel: the dilations of its three pairs of convolutions. */
  readonly blockDilations: readonly (readonly number[])[]
  /** Whether the last convolution has a bias. */
  readonly lastBias: boolean
}

export interface Token2WavConfig {
  readonly dit: DitConfig
  readonly vocoder: BigVganConfig
}

/** `root`: the object at `token2wav_config`. */
export function parseToken2WavConfig(root: ConfigReader): Token2WavConfig {
  const dit = parseDit(root.object('dit_config'))
  const vocoderRoot = root.object('bigvgan_config')
  const vocoder = parseVocoder(vocoderRoot)
  if (vocoder.mels !== dit.mels) vocoderRoot.fail('mel_dim', `is ${vocoder.mels} but dit_config.mel_dim is ${dit.mels}`)
  return { dit, vocoder }
}

function parseDit(root: ConfigReader): DitConfig {
  const size = (key: string, other: string, fallback: number): number =>
    root.integer(key, { fallback: root.integer(other, { fallback }) })
  const integer = (key: string, fallback: number): number => root.integer(key, { fallback })
  const hidden = size('hidden_size', 'dim', 1024)
  const headSize = integer('head_dim', 64)
  if (headSize % 2 !== 0) root.fail('head_dim', `should be even, is ${headSize}`)
  const block = integer('block_size', 24)
  const repeats = integer('repeats', 2)
  const mels = integer('mel_dim', 80)
  return {
    hidden,
    layers: root.layers('num_hidden_layers', root.layers('depth', 22)),
    heads: size('num_attention_heads', 'heads', 16),
    headSize,
    feedForward: Math.trunc(hidden * root.number('ff_mult', 2, { above: 0, most: 1000 })),
    mels,
    codes: integer('num_embeds', 8193),
    codeWidth: integer('emb_dim', 512),
    repeats,
    conditionWidth: integer('enc_emb_dim', 192),
    block,
    streamBlock: leastCommonMultiple(block, repeats),
    lookAhead: new Set(root.integers('look_ahead_layers', [10])),
    lookBack: new Set(root.integers('look_backward_layers', [0, 20])),
    rotaryBase: parseRotaryBase(root),
    mostFrames: integer('max_position_embeddings', 32_768),
    speaker: parseSpeakerEncoder(root, mels),
  }
}

function parseRotaryBase(root: ConfigReader): number {
  if (!root.has('rope_parameters')) return root.rotaryBase('rope_theta', 10_000)
  const rope = root.object('rope_parameters')
  const type = rope.string('rope_type', 'default')
  if (type !== 'default') rope.fail('rope_type', `${type} is not supported (default is)`)
  return rope.rotaryBase('rope_theta', 10_000)
}

/** Frames or samples between a kernel's values. */
const LARGEST_DILATION = 1000
const isNoDilation = (value: number): boolean => value < 1 || value > LARGEST_DILATION

/** Least frames of a voice's reference, so that each convolution can mirror its ends. */
export function shortestReference({ kernels, dilations }: SpeakerEncoderConfig): number {
  return Math.max(...kernels.map((kernel, i) => Math.ceil((dilations[i]! * (kernel - 1)) / 2) + 1))
}

function parseSpeakerEncoder(root: ConfigReader, mels: number): SpeakerEncoderConfig {
  const channels = root.integers('enc_channels', [256, 256, 256, 256, 768])
  const kernels = root.integers('enc_kernel_sizes', [5, 3, 3, 3, 1])
  const dilations = root.integers('enc_dilations', [1, 2, 3, 4, 1])
  if (channels.length < 3) root.fail('enc_channels', 'should have three entries at least')
  if (kernels.length !== channels.length) root.fail('enc_kernel_sizes', `should have ${channels.length} entries`)
  if (dilations.length !== channels.length) root.fail('enc_dilations', `should have ${channels.length} entries`)
  if (dilations.some(isNoDilation)) root.fail('enc_dilations', `should have values from 1 to ${LARGEST_DILATION}`)
  const blocks = channels.slice(0, -1)
  if (blocks.some((width) => width !== blocks[0]))
    root.fail('enc_channels', 'should be the same up to the last: blocks add what they read')
  const joined = blocks.slice(1).reduce((sum, width) => sum + width, 0)
  if (channels.at(-1) !== joined) root.fail('enc_channels', `should end in ${joined}, the blocks' joined channels`)
  const parts = root.integer('enc_res2net_scale', { fallback: 2 })
  if ((blocks[0] ?? 0) % parts !== 0) root.fail('enc_res2net_scale', `does not divide ${blocks[0]} channels`)
  return {
    mels,
    channels,
    kernels,
    dilations,
    attentionChannels: root.integer('enc_attention_channels', { fallback: 64 }),
    squeezeChannels: root.integer('enc_se_channels', { fallback: 64 }),
    parts,
    output: root.integer('enc_dim', { fallback: 128 }),
  }
}

function parseVocoder(root: ConfigReader): BigVganConfig {
  const width = root.integer('upsample_initial_channel', { fallback: 1536 })
  const rates = root.integers('upsample_rates', [5, 3, 2, 2, 2, 2])
  const kernels = root.integers('upsample_kernel_sizes', [11, 7, 4, 4, 4, 4])
  const blockKernels = root.integers('resblock_kernel_sizes', [3, 7, 11])
  const blockDilations = root.integerLists('resblock_dilation_sizes', [
    [1, 3, 5],
    [1, 3, 5],
    [1, 3, 5],
  ])
  if (kernels.length !== rates.length) root.fail('upsample_kernel_sizes', `should have ${rates.length} entries`)
  for (const [i, rate] of rates.entries()) {
    const kernel = kernels[i] ?? 0
    if (rate < 1 || kernel < rate || (kernel - rate) % 2 !== 0)
      root.fail('upsample_kernel_sizes', `entry ${i} should be the rate ${rate} plus an even number, is ${kernel}`)
  }
  if (width % 2 ** rates.length !== 0 || width / 2 ** rates.length < 3)
    root.fail('upsample_initial_channel', `${width} cannot be halved ${rates.length} times to three channels at least`)
  if (blockKernels.length === 0 || blockKernels.some((kernel) => kernel % 2 === 0))
    root.fail('resblock_kernel_sizes', 'should be odd numbers')
  if (blockDilations.length !== blockKernels.length || blockDilations.some((list) => list.length !== 3))
    root.fail('resblock_dilation_sizes', `should be ${blockKernels.length} lists of three`)
  if (blockDilations.flat().some(isNoDilation))
    root.fail('resblock_dilation_sizes', `should have values from 1 to ${LARGEST_DILATION}`)
  return {
    mels: root.integer('mel_dim', { fallback: 80 }),
    width,
    rates,
    kernels,
    blockKernels,
    blockDilations,
    lastBias: root.boolean('use_bias_at_final', false),
  }
}

function leastCommonMultiple(a: number, b: number): number {
  let [divisor, rest] = [a, b]
  while (rest > 0) [divisor, rest] = [rest, divisor % rest]
  return (a / divisor) * b
}
