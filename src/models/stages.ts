/**
 * What a model family offers the runtime: its stages, each batched over live sequences, speaking plain typed arrays.
 *
 * The runtime owns order, sampling, overlap and cancellation; a stage owns weights, graphs and caches. All arrays are
 * row-major with the last dimension contiguous. Nothing here knows HTTP or a chat template.
 *
 * Reference: transformers `Qwen3OmniMoeForConditionalGeneration.generate` and the classes it calls.
 */

/** One live sequence's KV cache in a stage. Disposing it returns its memory. */
export interface StageSequence extends Disposable {
  /** Tokens in the cache. */
  readonly length: number
}

/** Encoder outputs that replace the embeddings of placeholder tokens. */
export interface InjectedFeatures {
  /** Row numbers, within this call's tokens, that the features replace; ascending. */
  readonly rows: Int32Array
  /** [rows.length, hidden] */
  readonly embeddings: Float32Array
  /**
   * One [rows.length, hidden] per early layer, added to that layer's output (deepstack, vision only). Rows without
   * deepstack features (audio) hold zeros.
   */
  readonly deepstack?: readonly Float32Array[]
}

export interface ThinkerInput {
  readonly sequence: StageSequence
  readonly tokenIds: Int32Array
  /** Multimodal rotary positions, [3, tokens]: temporal, height, width. Clips may give fractions. */
  readonly positions: Float32Array
  readonly features?: InjectedFeatures
  /** Logits of the last token, of every token (tests), or none (a prefill chunk that is not the last). */
  readonly logits: 'last' | 'all' | 'none'
  /** Whether to return the hidden states that the talker reads (the output of `accept_hidden_layer`). */
  readonly hidden: boolean
}

export interface ThinkerOutput {
  /** [vocab] or [tokens, vocab]. */
  readonly logits?: Float32Array
  /** [tokens, hidden] */
  readonly hidden?: Float32Array
}

export interface ThinkerStage extends Disposable {
  readonly vocabSize: number
  readonly hiddenSize: number
  readonly contextLength: number
  /** `capacity`: the most tokens this sequence may grow to. Throws `EngineError('overloaded')` when memory is short. */
  newSequence(capacity: number): StageSequence
  /** One batched step over several sequences, each with one or more new tokens. Advances their caches. */
  forward(inputs: readonly ThinkerInput[], signal?: AbortSignal): Promise<ThinkerOutput[]>
  /** Token embeddings, [tokens, hidden]. */
  embed(tokenIds: Int32Array): Promise<Float32Array>
}

export interface EncodeOptions {
  readonly signal?: AbortSignal
  /** Awaited between pieces of the work (windows of sound, frames of a clip), so that others get their turn. */
  readonly pause?: () => Promise<void>
}

export interface AudioEncoderStage extends Disposable {
  /**
   * Log-mel [mels, frames] of one audio to [tokens, thinker hidden]. `longestFrames`: frames of the longest audio in the request;
   * transformers pads a shorter one's last chunk to the longest chunk, which shows in its last token. Default: `frames`.
   */
  encode(
    mel: Float32Array,
    frames: number,
    options?: EncodeOptions & { readonly longestFrames?: number },
  ): Promise<Float32Array>
}

export interface VisionEncoderStage extends Disposable {
  /** Flattened patches [t*h*w, channels*temporal*patch*patch] of one image or clip; grid is [t, h, w] in patches. */
  encode(
    patches: Float32Array,
    grid: readonly [number, number, number],
    options?: EncodeOptions,
  ): Promise<{ embeddings: Float32Array; deepstack: Float32Array[] }>
}

export interface TalkerInput {
  readonly sequence: StageSequence
  /** [tokens, talker hidden] */
  readonly embeddings: Float32Array
  /** [3, tokens] */
  readonly positions: Float32Array
}

export interface TalkerOutput {
  /** [codec vocab], of the last token. */
  readonly logits: Float32Array
  /** [talker hidden], of the last token, after the final norm. */
  readonly hidden: Float32Array
}

export interface TalkerStage extends Disposable {
  readonly vocabSize: number
  readonly hiddenSize: number
  readonly codeGroups: number
  newSequence(capacity: number): StageSequence
  forward(inputs: readonly TalkerInput[], signal?: AbortSignal): Promise<TalkerOutput[]>
  /** `text_projection` of thinker embeddings: [tokens, thinker hidden] to [tokens, talker hidden]. */
  projectText(embeddings: Float32Array): Promise<Float32Array>
  /** `hidden_projection` of thinker hidden states. */
  projectHidden(hidden: Float32Array): Promise<Float32Array>
  /** Codec embedding rows of the talker's own table (special codec ids, first code group). [ids, talker hidden] */
  embedCodec(ids: Int32Array): Promise<Float32Array>
}

/** Picks one id from logits; may change the logits array. */
type Sample = (logits: Float32Array) => number

export interface CodePredictorInput {
  /** [talker hidden]: the talker's hidden state that produced the first code. */
  readonly hidden: Float32Array
  /** The first group's code. */
  readonly firstCode: number
  readonly sample: Sample
}

export interface CodePredictorOutput {
  /** Residual codes, groups 1..codeGroups-1. */
  readonly codes: Int32Array
  /** [talker hidden]: sum of all groups' embeddings, the talker's next input before the text is added. */
  readonly embeddingSum: Float32Array
}

export interface CodePredictorStage extends Disposable {
  /** One frame for each of several sequences. */
  predict(inputs: readonly CodePredictorInput[], signal?: AbortSignal): Promise<CodePredictorOutput[]>
}

export interface DecodeOptions {
  readonly signal?: AbortSignal
  /** Nothing else computes meanwhile, so all threads may be taken; what is asked of other stages waits. */
  readonly alone?: boolean
}

/** One reply's vocoder state. What it returns, joined, equals decoding all codes at once. */
export interface Code2WavStream extends Disposable {
  /** `codes`: [frames, groups]. Returns the samples these frames complete, 24 kHz in [-1, 1]. */
  push(codes: Int32Array, options?: DecodeOptions): Promise<Float32Array>
  /** The samples still owed after the last frame (Qwen3-Omni: none, a whole decode cuts them off). */
  finish(signal?: AbortSignal): Promise<Float32Array>
}

export interface Code2WavStage extends Disposable {
  readonly samplesPerFrame: number
  readonly sampleRate: number
  newStream(): Code2WavStream
}

/** A loaded checkpoint. `talker`, `codePredictor` and `code2wav` are absent when it has no speech. */
export interface OmniModel extends Disposable {
  readonly architecture: string
  readonly thinker: ThinkerStage
  readonly audioEncoder?: AudioEncoderStage
  readonly visionEncoder?: VisionEncoderStage
  readonly talker?: TalkerStage
  readonly codePredictor?: CodePredictorStage
  readonly code2wav?: Code2WavStage
  /** Special ids and settings that the speech pipeline needs, from config.json. */
  readonly speech?: SpeechConfig
}

/** From config.json and talker_config: see transformers `Qwen3OmniMoeForConditionalGeneration._get_talker_*`. */
export interface SpeechConfig {
  readonly imStartTokenId: number
  readonly systemTokenId: number
  readonly userTokenId: number
  readonly assistantTokenId: number
  readonly ttsBosTokenId: number
  readonly ttsEosTokenId: number
  readonly ttsPadTokenId: number
  readonly codecBosId: number
  readonly codecEosId: number
  readonly codecPadId: number
  readonly codecNothinkId: number
  readonly codecThinkBosId: number
  readonly codecThinkEosId: number
  readonly codeGroups: number
  /** Lower-case speaker name to codec id. */
  readonly speakers: ReadonlyMap<string, number>
  /** Codec ids never sampled by the talker (the last 1,024 except the end token). */
  readonly suppressedCodecIds: readonly number[]
}
