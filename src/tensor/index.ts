/** Tensors and graphs over ggml: the exports for the rest of the project. */

export { Backend, type NativeMemory, type SkippedDevice } from './backend.ts'
export { TensorError, TensorLibraryError } from './errors.ts'
export { canMapFiles, FileMapping } from './file-mapping.ts'
export { fromBfloat16Array, fromHalf, fromHalfArray, HALF_NEGATIVE_INFINITY, toHalf, toHalfArray } from './float16.ts'
export { GraphBuilder, type InputType } from './graph-builder.ts'
export { GraphCache, type GraphCacheOptions } from './graph-cache.ts'
export {
  buildGraph,
  Graph,
  type GraphOptions,
  type InputData,
  type Inputs,
  type Outputs,
  type OutputTensors,
  type RunOptions,
} from './graph.ts'
export { buildFor, findPackage, packagesFor, platformWarning, testedBuilds, type DeviceKind } from './library.ts'
export { loadBackend, type BackendOptions } from './load-backend.ts'
export { outputLength } from './operations-convolution.ts'
export type { MultimodalRotaryOptions, RotaryOptions } from './operations-rotary.ts'
export { loadWeights, type LoadWeightsOptions } from './load-weights.ts'
export { precisionEnvironment, type GpuPrecision } from './precision.ts'
export { dequantize, halfToFloat, isFinite, quantize } from './quantize.ts'
export {
  allocateTensors,
  bytesOf,
  readTensor,
  TensorBuffer,
  writeTensor,
  type TensorSpec,
  type TypedArray,
} from './tensor-buffer.ts'
export { describe, elementCount, isContiguous, toShape, trimShape, type Shape, type Tensor } from './tensor.ts'
export {
  isTensorType,
  rowBytes,
  tensorBytes,
  tensorTypes,
  typeFromId,
  typeInfo,
  type FloatType,
  type QuantisedType,
  type TensorType,
} from './types.ts'
export { repackTypeFor } from './repack.ts'
export type { RepackCacheOptions } from './repack-cache.ts'
export { planWeights, type WeightPlan } from './weight-plan.ts'
export { WeightSet, type WeightSource, type WeightSpec, type WeightUse } from './weight-set.ts'
