/**
 * The stages of Qwen3-Omni's speech: talker, code predictor, vocoder (code2wav), each batched over live replies.
 *
 * Reference: transformers `Qwen3OmniMoeForConditionalGeneration.generate` and the classes it calls.
 */

import type { Sampler } from '../../../sampling/sampler.ts'
import type { VocoderStream } from '../../speech.ts'
import type { StageSequence } from '../../stages.ts'

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

/**
 * Samples one id from logits, and may modify them. With a {@link Sampler}, codes can be predicted, which is faster.
 */
type Sample = ((logits: Float32Array) => number) & Partial<Pick<Sampler, 'plain' | 'ahead'>>

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

export interface Code2WavStage extends Disposable {
  readonly samplesPerFrame: number
  readonly sampleRate: number
  newStream(): VocoderStream
}

export interface SpeechStages {
  readonly talker: TalkerStage
  readonly codePredictor: CodePredictorStage
  readonly code2wav: Code2WavStage
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
