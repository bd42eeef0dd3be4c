/**
 * Reads config.json of a Qwen2.5-Omni checkpoint.
 *
 * In: the parsed file, in the format of the first release (`rope_scaling` and `rope_theta`) or of transformers 5
 * (`rope_parameters`). Out: a {@link Qwen25OmniConfig}. Settings that the graphs do not support are errors. Missing
 * keys have the defaults of transformers' classes, which are not always the published sizes.
 *
 * Reference: transformers `configuration_qwen2_5_omni.py`.
 */

import { ConfigReader } from '../config-reader.ts'
import type { DecoderConfig, ThinkerConfig } from '../decoder/config.ts'
import { readActivation, readHeads, readRope, refuseSlidingWindow } from '../decoder/read-config.ts'
import type {
  AudioEncoderConfig,
  Qwen25OmniConfig,
  SpeechIds,
  TalkerConfig,
  VisionEncoderConfig,
} from './config-types.ts'
import { parseToken2WavConfig } from './token2wav/config.ts'

/** Names in the first release, in files written by transformers, and in a separately saved thinker. */
export const ARCHITECTURES = [
  'Qwen2_5OmniForConditionalGeneration',
  'Qwen2_5OmniModel',
  'Qwen2_5OmniThinkerForConditionalGeneration',
] as const

/** Throws `EngineError('bad_checkpoint')` naming the key. */
export function parseConfig(json: unknown): Qwen25OmniConfig {
  const root = new ConfigReader(json)
  const architecture = architectureOf(json)
  if (architecture === ARCHITECTURES[2]) return { architecture, ...parseThinkerParts(root) }
  const thinkerRoot = root.object('thinker_config')
  const parts = parseThinkerParts(thinkerRoot)
  // `enable_talker` in the published files has no effect.
  if (!root.boolean('enable_audio_output', true)) return { architecture, ...parts }
  const talkerRoot = root.object('talker_config')
  const talker = parseTalker(talkerRoot, parts.thinker)
  const token2wav = parseToken2WavConfig(root.object('token2wav_config'))
  if (talker.vocabulary <= token2wav.dit.codes)
    talkerRoot.fail('vocab_size', `is ${talker.vocabulary}, but token2wav has codes up to ${token2wav.dit.codes}`)
  return {
    architecture,
    ...parts,
    speech: { talker, token2wav, ids: parseSpeechIds(thinkerRoot, talkerRoot, parts.thinker, talker) },
  }
}

function architectureOf(json: unknown): string {
  const named = (json as { architectures?: unknown }).architectures
  const first: unknown = Array.isArray(named) ? named[0] : undefined
  if (typeof first === 'string' && (ARCHITECTURES as readonly string[]).includes(first)) return first
  return new ConfigReader(json).fail('architectures', `should name ${ARCHITECTURES.join(' or ')}`)
}

function parseThinkerParts(root: ConfigReader): Pick<Qwen25OmniConfig, 'thinker' | 'audioEncoder' | 'visionEncoder'> {
  const text = root.object('text_config')
  // Like transformers, this uses the thinker's tie_word_embeddings and ignores that of text_config.
  const tiedEmbeddings = root.boolean('tie_word_embeddings', false)
  const thinker: ThinkerConfig = { ...parseDecoder(text), tiedEmbeddings }
  const audioRoot = root.object('audio_config')
  const visionRoot = root.object('vision_config')
  const audioEncoder = parseAudioEncoder(audioRoot)
  const visionEncoder = parseVisionEncoder(visionRoot)
  if (audioEncoder.outputWidth !== thinker.hidden)
    audioRoot.fail('output_dim', `is ${audioEncoder.outputWidth} but the thinker's hidden_size is ${thinker.hidden}`)
  if (visionEncoder.outputWidth !== thinker.hidden)
    visionRoot.fail(
      'out_hidden_size',
      `is ${visionEncoder.outputWidth} but the thinker's hidden_size is ${thinker.hidden}`,
    )
  return { thinker, audioEncoder, visionEncoder }
}

function parseAudioEncoder(reader: ConfigReader): AudioEncoderConfig {
  const width = reader.integer('d_model', { least: 4, fallback: 1280 })
  const heads = reader.integer('encoder_attention_heads', { fallback: 20 })
  if (width % heads !== 0) reader.fail('d_model', `is ${width}, which ${heads} heads do not divide`)
  if (width % 2 !== 0) reader.fail('d_model', 'should be even')
  const window = reader.integer('n_window', { fallback: 100 })
  const positions = reader.integer('max_source_positions', { fallback: 1500 })
  if (positions < window)
    reader.fail('max_source_positions', `is ${positions}, fewer than the ${window} of one chunk (n_window)`)
  return {
    width,
    heads,
    chunkFrames: 2 * window,
    melBins: reader.integer('num_mel_bins', { fallback: 128 }),
    layers: reader.layers('encoder_layers', 32),
    feedForward: reader.integer('encoder_ffn_dim', { fallback: 5120 }),
    activation: readActivation(reader, 'activation_function', 'gelu'),
    outputWidth: reader.integer('output_dim', { fallback: 3584 }),
  }
}

function parseVisionEncoder(reader: ConfigReader): VisionEncoderConfig {
  const layers = reader.layers('depth', 32)
  const hidden = reader.integer('hidden_size', { fallback: 3584 })
  const heads = reader.integer('num_heads', { fallback: 16 })
  if (hidden % heads !== 0 || (hidden / heads) % 4 !== 0)
    reader.fail('hidden_size', `is ${hidden}: each of ${heads} heads should get a multiple of 4`)
  if (readActivation(reader, 'hidden_act', 'silu') !== 'silu') reader.fail('hidden_act', 'should be silu')
  const side = (key: string, fallback: number): number => (reader.has(key) ? reader.side(key) : fallback)
  const patch = side('patch_size', 14)
  const merge = reader.integer('spatial_merge_size', { fallback: 2 })
  const windowSize = reader.integer('window_size', { fallback: 112 })
  const window = Math.floor(Math.floor(windowSize / merge) / patch)
  if (window < 1) reader.fail('window_size', `is ${windowSize}, less than one token of ${patch * merge} pixels`)
  const fullLayers = reader.integers('fullatt_block_indexes', [7, 15, 23, 31])
  if (fullLayers.some((layer) => layer >= layers))
    reader.fail('fullatt_block_indexes', `should name layers below ${layers}`)
  const rope = reader.has('rope_parameters') ? reader.object('rope_parameters') : reader
  const type = rope === reader ? 'axial' : rope.string('rope_type', 'axial')
  if (type !== 'axial' && type !== 'default') rope.fail('rope_type', `is ${type}; only axial is supported`)
  return {
    layers,
    hidden,
    heads,
    patch,
    merge,
    window,
    fullLayers: new Set(fullLayers),
    feedForward: reader.integer('intermediate_size', { fallback: 3420 }),
    channels: reader.integer('in_channels', { fallback: 3 }),
    temporalPatch: side('temporal_patch_size', 2),
    outputWidth: reader.integer('out_hidden_size', { fallback: 3584 }),
    rotaryBase: rope.rotaryBase('rope_theta', 10_000),
  }
}

function parseDecoder(reader: ConfigReader): DecoderConfig {
  const layers = reader.layers('num_hidden_layers')
  const hidden = reader.integer('hidden_size')
  const { heads, keyValueHeads, headSize } = readHeads(reader, hidden)
  const context = reader.integer('max_position_embeddings')
  refuseSlidingWindow(reader, context, { switchable: true })
  if (readActivation(reader, 'hidden_act', 'silu') !== 'silu') reader.fail('hidden_act', 'should be silu')
  const { base, object: rope } = readRope(reader, 1e6)
  const [time = 16, height = 24, width = 24, ...more] = rope?.integers('mrope_section', [16, 24, 24]) ?? []
  if (more.length > 0 || time + height + width !== headSize / 2)
    (rope ?? reader).fail(
      'mrope_section',
      `should be three numbers that sum to half of each head (${headSize / 2}), is ${JSON.stringify([time, height, width, ...more])}`,
    )
  if (rope?.boolean('mrope_interleaved', rope.boolean('interleaved', false)))
    rope.fail('mrope_interleaved', 'is true; Qwen2.5-Omni does not interleave')
  return {
    layers,
    hidden,
    heads,
    keyValueHeads,
    headSize,
    feedForward: reader.integer('intermediate_size'),
    vocabulary: reader.integer('vocab_size'),
    context: reader.integer('max_position_embeddings', { fallback: 32_768 }),
    epsilon: reader.epsilon('rms_norm_eps', 1e-6),
    queryKeyNorm: false,
    attentionBias: true,
    outputBias: false,
    rotaryBase: base,
    rotarySections: [time, height, width],
    rotaryInterleaved: false,
    sparseLayers: Array.from({ length: layers }, () => false),
  }
}

function parseTalker(reader: ConfigReader, thinker: ThinkerConfig): TalkerConfig {
  const inputWidth = reader.integer('embedding_size', { fallback: 3584 })
  if (inputWidth !== thinker.hidden)
    reader.fail('embedding_size', `is ${inputWidth} but the thinker's hidden_size is ${thinker.hidden}`)
  return { ...parseDecoder(reader), inputWidth }
}

function parseSpeechIds(
  thinkerRoot: ConfigReader,
  talkerRoot: ConfigReader,
  thinker: ThinkerConfig,
  talker: TalkerConfig,
): SpeechIds {
  const id = (reader: ConfigReader, key: string, fallback: number, count: number): number => {
    const value = reader.integer(key, { least: 0, fallback })
    if (value >= count) reader.fail(key, `is ${value}, outside the ${count} ids there are`)
    return value
  }
  const text = (key: string, fallback: number): number => id(talkerRoot, key, fallback, thinker.vocabulary)
  const codec = (key: string, fallback: number): number => id(talkerRoot, key, fallback, talker.vocabulary)
  const medium = (key: string, fallback: number): number => id(thinkerRoot, key, fallback, thinker.vocabulary)
  return {
    media: [
      medium('audio_token_index', 151_646),
      medium('image_token_index', 151_655),
      medium('video_token_index', 151_656),
    ],
    textEnd: text('tts_text_end_token_id', 151_861),
    textPad: text('tts_text_pad_token_id', 151_859),
    codecPad: codec('tts_codec_pad_token_id', 8292),
    codecBegin: codec('tts_codec_start_token_id', 8293),
    codecEnd: codec('tts_codec_end_token_id', 8294),
    codecMask: codec('tts_codec_mask_token_id', 8296),
  }
}
