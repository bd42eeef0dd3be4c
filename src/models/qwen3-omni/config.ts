/**
 * Reads config.json of a Qwen3-Omni checkpoint.
 *
 * In: the parsed file, in the format of transformers 4 (`rope_scaling` and `rope_theta`, `num_experts`) or 5
 * (`rope_parameters`, `num_local_experts`). Out: a {@link Qwen3OmniConfig}. Settings that the graphs do not support,
 * such as other rotary types, are errors.
 *
 * Reference: transformers `configuration_qwen3_omni_moe.py`.
 */

import { ConfigReader } from '../config-reader.ts'
import type { DecoderConfig, ThinkerConfig } from '../decoder/config.ts'
import { readActivation, readHeads, readRope, refuseSlidingWindow } from '../decoder/read-config.ts'
import type { SpeechConfig } from './speech/stages.ts'
import type {
  AudioEncoderConfig,
  Code2WavConfig,
  Qwen3OmniConfig,
  TalkerConfig,
  VisionEncoderConfig,
} from './config-types.ts'

export const ARCHITECTURES = [
  'Qwen3OmniMoeForConditionalGeneration',
  'Qwen3OmniMoeThinkerForConditionalGeneration',
] as const

/** Throws `EngineError('bad_checkpoint')` naming the key. */
export function parseConfig(json: unknown): Qwen3OmniConfig {
  const root = new ConfigReader(json)
  const architecture = architectureOf(json)
  if (architecture === ARCHITECTURES[1]) {
    return { architecture, ...parseThinkerParts(root) }
  }
  const thinkerRoot = root.object('thinker_config')
  const parts = parseThinkerParts(thinkerRoot)
  const base = { architecture, ...parts }
  if (!root.boolean('enable_audio_output', true)) return base
  const talkerRoot = root.object('talker_config')
  const talker = parseTalker(talkerRoot, parts.thinker)
  const codePredictor = parseDecoder(talkerRoot.object('code_predictor_config'), { sparse: 'never', multimodal: false })
  checkCodePredictor(talkerRoot.object('code_predictor_config'), codePredictor, talker)
  const code2wav = parseCode2Wav(root.object('code2wav_config'), talker)
  return { ...base, speech: { talker, codePredictor, code2wav, ids: parseSpeechIds(root, talkerRoot, talker, parts.thinker.vocabulary) } }
}

function architectureOf(json: unknown): string {
  const named = (json as { architectures?: unknown }).architectures
  const first: unknown = Array.isArray(named) ? named[0] : undefined
  if (typeof first === 'string' && (ARCHITECTURES as readonly string[]).includes(first)) return first
  return new ConfigReader(json).fail('architectures', `should name ${ARCHITECTURES.join(' or ')}`)
}

function parseThinkerParts(root: ConfigReader): Pick<Qwen3OmniConfig, 'thinker' | 'audioEncoder' | 'visionEncoder'> {
  const text = root.object('text_config')
  // Like transformers, this uses the thinker's tie_word_embeddings; older files repeat it in text_config.
  const tiedEmbeddings = root.boolean('tie_word_embeddings', text.boolean('tie_word_embeddings', false))
  const thinker = { ...parseDecoder(text, { sparse: 'by-layer', multimodal: true }), tiedEmbeddings }
  const audioEncoder = parseAudioEncoder(root.object('audio_config'))
  const visionEncoder = parseVisionEncoder(root.object('vision_config'))
  const audioRoot = root.object('audio_config')
  if (audioEncoder.outputWidth !== thinker.hidden)
    audioRoot.fail('output_dim', `is ${audioEncoder.outputWidth} but the thinker's hidden_size is ${thinker.hidden}`)
  if (visionEncoder.outputWidth !== thinker.hidden)
    root
      .object('vision_config')
      .fail('out_hidden_size', `is ${visionEncoder.outputWidth} but the thinker's hidden_size is ${thinker.hidden}`)
  if (visionEncoder.deepstackLayers.length > thinker.layers)
    root.object('vision_config').fail('deepstack_visual_indexes', `has more entries than the thinker has layers`)
  return { thinker, audioEncoder, visionEncoder }
}

function parseAudioEncoder(reader: ConfigReader): AudioEncoderConfig {
  const chunkFrames = 2 * reader.integer('n_window')
  const windowFrames = reader.integer('n_window_infer', { least: chunkFrames })
  const width = reader.integer('d_model', { least: 4 })
  const heads = reader.integer('encoder_attention_heads')
  if (width % heads !== 0) reader.fail('d_model', `is ${width}, which ${heads} heads do not divide`)
  if (width % 2 !== 0) reader.fail('d_model', 'should be even')
  // Token counts assume 13 tokens a chunk (`_get_feat_extract_output_lengths`).
  if (Math.ceil(chunkFrames / 8) !== 13) reader.fail('n_window', 'should make 13 tokens a chunk: 49 to 52')
  return {
    chunkFrames,
    windowChunks: Math.floor(windowFrames / chunkFrames),
    width,
    heads,
    melBins: reader.integer('num_mel_bins'),
    layers: reader.layers('encoder_layers'),
    feedForward: reader.integer('encoder_ffn_dim'),
    activation: readActivation(reader, 'activation_function', 'gelu'),
    convolutionChannels: reader.integer('downsample_hidden_size'),
    outputWidth: reader.integer('output_dim'),
    maxPositions: reader.integer('max_source_positions', { least: 13 }),
  }
}

function parseVisionEncoder(reader: ConfigReader): VisionEncoderConfig {
  const hidden = reader.integer('hidden_size')
  const heads = reader.integer('num_heads')
  const layers = reader.layers('depth')
  if (hidden % heads !== 0 || (hidden / heads) % 4 !== 0)
    reader.fail('hidden_size', `is ${hidden}: each of ${heads} heads should get a multiple of 4`)
  const positions = reader.integer('num_position_embeddings')
  const positionGrid = Math.floor(Math.sqrt(positions))
  if (positionGrid * positionGrid !== positions) reader.fail('num_position_embeddings', 'should be a square number')
  const deepstackLayers = reader.integers('deepstack_visual_indexes', [8, 16, 24])
  if (deepstackLayers.some((layer, i) => layer >= layers || layer <= (deepstackLayers[i - 1] ?? -1)))
    reader.fail('deepstack_visual_indexes', `should name layers below ${layers}, in order`)
  return {
    layers,
    hidden,
    heads,
    positionGrid,
    deepstackLayers,
    feedForward: reader.integer('intermediate_size'),
    activation: readActivation(reader, 'hidden_act', 'gelu_pytorch_tanh'),
    channels: reader.integer('in_channels', { fallback: 3 }),
    patch: reader.side('patch_size'),
    temporalPatch: reader.side('temporal_patch_size'),
    merge: reader.integer('spatial_merge_size'),
    outputWidth: reader.integer('out_hidden_size'),
    rotaryBase: reader.has('rope_parameters')
      ? reader.object('rope_parameters').rotaryBase('rope_theta', 10_000)
      : reader.rotaryBase('rope_theta', 10_000),
  }
}

interface RotaryFacts {
  readonly base: number
  readonly sections?: readonly [number, number, number]
}

function parseRotary(reader: ConfigReader, headSize: number, multimodal: boolean): RotaryFacts {
  const { base, object: rope } = readRope(reader, multimodal ? 1e6 : 1e4)
  if (rope && !rope.boolean('mrope_interleaved', rope.boolean('interleaved', true)))
    rope.fail('mrope_interleaved', 'is false; Qwen3-Omni interleaves')
  if (!multimodal) return { base }
  const [, h = 20, w = 20] = rope?.integers('mrope_section', [24, 20, 20]) ?? []
  // Height has frequencies 1, 4, 7, ... and width 2, 5, 8, ..., limited by its section and the head; time has the
  // others.
  const half = headSize / 2
  const height = Math.min(h, Math.ceil((half - 1) / 3))
  const width = Math.min(w, Math.ceil((half - 2) / 3))
  return { base, sections: [half - height - width, height, width] }
}

function parseDecoder(
  reader: ConfigReader,
  options: { sparse: 'never' | 'by-layer' | 'always'; multimodal: boolean },
): DecoderConfig {
  const layers = reader.layers('num_hidden_layers')
  const hidden = reader.integer('hidden_size')
  const { heads, keyValueHeads, headSize } = readHeads(reader, hidden)
  const context = reader.integer('max_position_embeddings')
  if (options.sparse !== 'never') refuseSlidingWindow(reader, context)
  if (readActivation(reader, 'hidden_act', 'silu') !== 'silu') reader.fail('hidden_act', 'should be silu')
  const rotary = parseRotary(reader, headSize, options.multimodal)
  const experts = options.sparse === 'never' ? 0 : expertsOf(reader)
  const sparseLayers = Array.from(
    { length: layers },
    (_, layer) => options.sparse === 'always' || (experts > 0 && isSparse(reader, layer)),
  )
  if (options.sparse === 'always' && experts === 0) reader.fail('num_experts', 'should be at least 1')
  return {
    layers,
    hidden,
    heads,
    keyValueHeads,
    headSize,
    feedForward: reader.integer('intermediate_size'),
    vocabulary: reader.integer('vocab_size'),
    context,
    epsilon: reader.epsilon('rms_norm_eps', 1e-6),
    queryKeyNorm: true,
    attentionBias: reader.boolean('attention_bias', false),
    outputBias: reader.boolean('attention_bias', false),
    rotaryBase: rotary.base,
    rotaryInterleaved: true,
    ...(rotary.sections && { rotarySections: rotary.sections }),
    sparseLayers,
    ...(sparseLayers.some(Boolean) && { sparse: parseSparse(reader, experts, options.sparse === 'always') }),
  }
}

function expertsOf(reader: ConfigReader): number {
  return reader.integer(reader.has('num_experts') ? 'num_experts' : 'num_local_experts', { least: 0 })
}

function isSparse(reader: ConfigReader, layer: number): boolean {
  const step = reader.integer('decoder_sparse_step', { fallback: 1 })
  return !reader.integers('mlp_only_layers', []).includes(layer) && (layer + 1) % step === 0
}

function parseSparse(reader: ConfigReader, experts: number, talker: boolean): NonNullable<DecoderConfig['sparse']> {
  const used = reader.integer('num_experts_per_tok')
  if (used > experts) reader.fail('num_experts_per_tok', `is ${used} of ${experts} experts`)
  return {
    experts,
    used,
    width: reader.integer('moe_intermediate_size'),
    renormalise: reader.boolean('norm_topk_prob', !talker),
    ...(talker && { shared: reader.integer('shared_expert_intermediate_size') }),
  }
}

function parseTalker(reader: ConfigReader, thinker: ThinkerConfig): TalkerConfig {
  const thinkerHidden = reader.integer('thinker_hidden_size', { fallback: thinker.hidden })
  if (thinkerHidden !== thinker.hidden)
    reader.fail('thinker_hidden_size', `is ${thinkerHidden} but the thinker's hidden_size is ${thinker.hidden}`)
  const acceptHiddenLayer = reader.integer('accept_hidden_layer', { least: 0 })
  if (acceptHiddenLayer > thinker.layers)
    reader.fail('accept_hidden_layer', `is ${acceptHiddenLayer} but the thinker has ${thinker.layers} layers`)
  return {
    // The talker has no dense layers: transformers ignores its `mlp_only_layers`.
    ...parseDecoder(reader.object('text_config'), { sparse: 'always', multimodal: true }),
    thinkerHidden,
    acceptHiddenLayer,
    codeGroups: reader.integer('num_code_groups', { least: 2, most: MOST_CODE_GROUPS }),
  }
}

function checkCodePredictor(reader: ConfigReader, predictor: DecoderConfig, talker: TalkerConfig): void {
  if (predictor.hidden !== talker.hidden)
    reader.fail('hidden_size', `is ${predictor.hidden} but the talker's is ${talker.hidden}`)
  const groups = reader.integer('num_code_groups', { fallback: talker.codeGroups })
  if (groups !== talker.codeGroups)
    reader.fail('num_code_groups', `is ${groups} but the talker has ${talker.codeGroups}`)
  // The sequence is one frame, so a sliding window matters only if it is shorter than a frame.
  if (!reader.has('sliding_window') || !slides(reader, predictor.layers)) return
  const window = reader.integer('sliding_window')
  if (window < talker.codeGroups)
    reader.fail('sliding_window', `is ${window}; windows shorter than a frame's ${talker.codeGroups} codes are not supported`)
}

/**
 * Whether any layer of the code predictor has a sliding window, as `Qwen3OmniMoeTalkerCodePredictorConfig` decides it.
 */
function slides(reader: ConfigReader, layers: number): boolean {
  const types = reader.strings('layer_types')
  return types ? types.includes('sliding_attention') : layers > reader.integer('max_window_layers', { least: 0, fallback: 28 })
}

function parseCode2Wav(reader: ConfigReader, talker: TalkerConfig): Code2WavConfig {
  const hidden = reader.integer('hidden_size')
  const { heads, keyValueHeads, headSize } = readHeads(reader, hidden)
  const codeGroups = reader.integer('num_quantizers')
  if (codeGroups !== talker.codeGroups)
    reader.fail('num_quantizers', `is ${codeGroups} but the talker makes ${talker.codeGroups} codes a frame`)
  if (readActivation(reader, 'hidden_act', 'silu') !== 'silu') reader.fail('hidden_act', 'should be silu')
  const upsampleRates = reader.integers('upsample_rates')
  const upsamplingRatios = reader.integers('upsampling_ratios')
  if ([...upsampleRates, ...upsamplingRatios].some((rate) => rate < 1))
    reader.fail('upsample_rates', 'should be positive')
  const decoderWidth = reader.integer('decoder_dim')
  if (decoderWidth % 2 ** upsampleRates.length !== 0)
    reader.fail('decoder_dim', `is ${decoderWidth}, which ${upsampleRates.length} halvings do not divide`)
  return {
    hidden,
    heads,
    keyValueHeads,
    headSize,
    codeGroups,
    upsampleRates,
    upsamplingRatios,
    decoderWidth,
    layers: reader.layers('num_hidden_layers'),
    feedForward: reader.integer('intermediate_size'),
    epsilon: reader.epsilon('rms_norm_eps', 1e-5),
    attentionBias: reader.boolean('attention_bias', false),
    rotaryBase: parseRotary(reader, headSize, false).base,
    window: reader.integer('sliding_window', { most: LONGEST_WINDOW }),
    codebookSize: reader.integer('codebook_size'),
  }
}

/** Most frames in the vocoder's state of a reply. */
const LONGEST_WINDOW = 8192
/** Each has an embedding and a head of its own. */
const MOST_CODE_GROUPS = 256

function parseSpeechIds(
  root: ConfigReader,
  talkerRoot: ConfigReader,
  talker: TalkerConfig,
  vocabulary: number,
): SpeechConfig {
  const codec = (key: string): number => {
    const value = talkerRoot.integer(key, { least: 0 })
    if (value >= talker.vocabulary) talkerRoot.fail(key, `is ${value}, outside the codec vocabulary`)
    return value
  }
  const codecEosId = codec('codec_eos_token_id')
  const suppressedCodecIds: number[] = []
  for (let i = Math.max(0, talker.vocabulary - 1024); i < talker.vocabulary; i++) {
    if (i !== codecEosId) suppressedCodecIds.push(i)
  }
  const text = (key: string): number => root.integer(key, { least: 0, most: vocabulary - 1 })
  const speakers = new Map<string, number>()
  for (const [name, speaker] of talkerRoot.integerMap('speaker_id')) {
    if (speaker >= talker.vocabulary)
      talkerRoot.fail(`speaker_id.${name}`, `is ${speaker}, outside the codec vocabulary`)
    speakers.set(name.toLowerCase(), speaker)
  }
  if (speakers.size === 0) talkerRoot.fail('speaker_id', 'should name at least one speaker')
  return {
    codecEosId,
    suppressedCodecIds,
    speakers,
    imStartTokenId: text('im_start_token_id'),
    systemTokenId: text('system_token_id'),
    userTokenId: text('user_token_id'),
    assistantTokenId: text('assistant_token_id'),
    ttsBosTokenId: text('tts_bos_token_id'),
    ttsEosTokenId: text('tts_eos_token_id'),
    ttsPadTokenId: text('tts_pad_token_id'),
    codecBosId: codec('codec_bos_id'),
    codecPadId: codec('codec_pad_id'),
    codecNothinkId: codec('codec_nothink_id'),
    codecThinkBosId: codec('codec_think_bos_id'),
    codecThinkEosId: codec('codec_think_eos_id'),
    codeGroups: talker.codeGroups,
  }
}
