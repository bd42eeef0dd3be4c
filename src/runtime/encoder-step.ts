/**
 * One step of the encoders: one piece of one medium of one request.
 *
 * In: the live requests. Out: the chosen request has advanced by a piece. Prefill begins after its last medium.
 */

import type { EncodeOptions, OmniModel } from '../models/stages.ts'
import type { EncodedMedium } from './encoded-cache.ts'
import { EncoderJob } from './encoder-job.ts'
import type { LoadedFeature } from './feature-loader.ts'
import type { RequestTask } from './request-task.ts'
import { longestAudio } from './sequence-pool.ts'
import { stageFailure } from './stage-failure.ts'

/**
 * Encodes one piece. Returns whether there was one. The request with the fewest encoder steps comes first, so that an
 * image does not wait for a long video. `onEncoded` gets each complete output.
 */
export async function encodePiece(
  tasks: readonly RequestTask[],
  model: OmniModel,
  onEncoded: (task: RequestTask, loaded: LoadedFeature, medium: EncodedMedium) => void,
): Promise<boolean> {
  const [task] = tasks
    .filter((candidate) => candidate.runnable && candidate.phase === 'encoding' && candidate.canEncode)
    .toSorted((left, right) => left.encoderSteps - right.encoderSteps)
  if (!task) return false
  task.encoderSteps += 1
  try {
    if (!task.encoding) {
      const loaded = task.loader!.take()
      const longestFrames = longestAudio(task.prompt!)
      const { signal } = task
      task.encoding = {
        loaded,
        job: new EncoderJob((pause) => encodeFeature(loaded, longestFrames, model, { signal, pause })),
      }
    }
    const { loaded, job } = task.encoding
    const medium = await job.step()
    if (!medium) return true
    task.encoding = undefined
    onEncoded(task, loaded, medium)
    task.addEncoded({ rows: loaded.feature.rows, ...medium }, model.thinker.hiddenSize)
  } catch (error) {
    task.fail(task.signal.aborted ? task.signal.reason : stageFailure(error))
  }
  return true
}

/** Encodes one medium. `longestFrames`: mel frames of the longest audio of the prompt. */
export async function encodeFeature(
  loaded: LoadedFeature,
  longestFrames: number,
  { audioEncoder, visionEncoder }: OmniModel,
  options: EncodeOptions,
): Promise<EncodedMedium> {
  switch (loaded.type) {
    case 'audio': {
      const { frames, ahead } = loaded.feature
      return { embeddings: await audioEncoder!.encode(loaded.input, frames, { ...options, longestFrames, ahead }) }
    }
    case 'vision':
      return visionEncoder!.encode(loaded.input, loaded.feature.grid, options)
    default:
      return loaded satisfies never
  }
}
