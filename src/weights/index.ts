/**
 * Checkpoints: opening, validation, loading, conversion, download. The exports for the rest of the project.
 */

export { Checkpoint, type StoredTensor } from './checkpoint.ts'
export { type ConvertOptions, type ConvertProgress, type ConvertResult, convertCheckpoint } from './convert.ts'
export { convertedLayout, type ConvertedLayout, type ConvertedSource } from './converted-layout.ts'
export { GgufWriter, type GgufMetadata, type GgufTensorPlan } from './gguf-write.ts'
export { loadParameters, type LoadParametersOptions } from './load-parameters.ts'
export { type CheckpointNaming, matchParameters } from './match-parameters.ts'
export { checkMemory, checkpointMemory, estimateMemory } from './memory.ts'
export { openCheckpoint } from './open-checkpoint.ts'
export { type Placement, type PlacementFacts, placeWeights } from './placement.ts'
export { placementFacts, type PlacementFactsOptions } from './placement-facts.ts'
export { parseSafetensorsHeader, readSafetensorsHeader } from './safetensors.ts'
export {
  parseWeightStage,
  parseWeightType,
  type WeightStage,
  weightStages,
  type WeightType,
  type WeightTypeChoice,
  weightTypes,
} from './weight-types.ts'
export {
  type HubName,
  parseHubId,
  pullCheckpoint,
  type PullOptions,
  type PullProgress,
  type PullResult,
} from './hub/pull.ts'
export { PullError, type PullErrorCode } from './hub/pull-error.ts'
