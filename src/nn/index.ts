/** Parts of neural networks, as model code uses them. */

export { Attention, attendBlocks, attendCached, type AttentionOptions, type Rotation } from './attention.ts'
export { Embedding } from './embedding.ts'
export {
  causalMask,
  KvCache,
  KvStep,
  type KvCacheOptions,
  type Segment,
  type StepItem,
  type StepOptions,
} from './kv-cache.ts'
export { Linear, type LinearOptions } from './linear.ts'
export { MixtureOfExperts, type MixtureOptions } from './mixture-of-experts.ts'
export { activate, GatedMlp, PlainMlp, toActivation, type Activation } from './mlp.ts'
export { LayerNorm, LayerScale, RmsNorm } from './norm.ts'
export {
  declareParameters,
  loadedParameters,
  type ParameterDeclaration,
  type ParameterLayout,
  type ParameterPrecision,
  type ParameterRequest,
  type Parameters,
} from './parameters.ts'
export { joinPositions, Rotary, type RotaryConfig } from './rotary.ts'
