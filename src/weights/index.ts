/** Checkpoints: opening, checking, loading, converting, fetching. What `src/models`, `src/engines` and `src/cli` may use. */

export {
  Checkpoint,
  type CheckpointConfig,
  type CheckpointKind,
  openCheckpoint,
  type StoredTensor,
} from './checkpoint.ts'
export { type ConvertOptions, type ConvertProgress, type ConvertResult, convertCheckpoint } from './convert.ts'
export { convertedLayout, type ConvertedLayout, type ConvertedSource } from './converted-layout.ts'
export { GgufWriter, type GgufMetadata, type GgufTensorPlan } from './gguf-write.ts'
export { loadParameters, type LoadParametersOptions } from './load-parameters.ts'
export { type CheckpointNaming, matchParameters, type MatchResult, type Recipe } from './match-parameters.ts'
export { checkMemory, checkpointMemory, estimateMemory, type MemoryEstimate, type MemoryNeed } from './memory.ts'
export { readSafetensorsHeader, type SafetensorsHeader } from './safetensors.ts'
export {
  chooseType,
  parseWeightStage,
  parseWeightType,
  stageOf,
  type WeightStage,
  weightStages,
  type WeightType,
  type WeightTypeChoice,
  weightTypes,
} from './weight-types.ts'
export {
  type HubName,
  isCheckpointFile,
  parseHubId,
  pullCheckpoint,
  type PullOptions,
  type PullProgress,
  type PullResult,
} from './hub/pull.ts'
export { PullError, type PullErrorCode } from './hub/pull-error.ts'
