/** Neural network modules: the exports for the rest of the project. */

export { attendCached } from './attend-cached.ts'
export { Attention, attendBlocks, type AttentionOptions, type Rotation } from './attention.ts'
export {
  CausalConv1d,
  CausalConvTranspose1d,
  DepthwiseCausalConv1d,
  prepend,
  type ConvolutionOptions,
} from './convolution.ts'
export { Conv2d } from './conv2d.ts'
export { ConvNeXtBlock } from './convnext.ts'
export { Embedding } from './embedding.ts'
export { KvCache, type KvCacheOptions } from './kv-cache.ts'
export { causalMask, KvStep, type Segment, type StepItem, type StepOptions } from './kv-step.ts'
export { layoutShape, rearrange } from './layouts.ts'
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
export { PreNormLayer } from './pre-norm-layer.ts'
export { sortByExpert, sortedInputs, type SortedTokens } from './sorted-experts.ts'
export { sinusoids } from './sinusoids.ts'
export { SnakeBeta } from './snake.ts'
export { joinPositions, Rotary, type RotaryConfig } from './rotary.ts'
