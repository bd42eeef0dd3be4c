/**
 * One step of the encoders: a piece of one medium of one request.
 *
 * In: the live requests. Out: the chosen one is a piece further; after its last medium its prompt's prefill begins.
 */

import type { OmniModel } from '../models/stages.ts'
import type { EncodedMedium } from './encoded-cache.ts'
import { EncoderJob, type Pause } from './encoder-job.ts'
import type { LoadedFeature } from './feature-loader.ts'
import type { RequestTask } from './request-task.ts'
import { longestAudio } from './sequence-pool.ts'
import { stageFailure } from './stage-failure.ts'

/**
 * Returns whether there was anything to encode. The request with the fewest turns comes first, so an image does not
 * wait for a long video. `onEncoded` gets each output.
 */
export async function encodePiece(
  tasks: readonly RequestTask[],
  model: OmniModel,
  onEncoded: (task: RequestTask, loaded: LoadedFeature, medium: EncodedMedium) => void,
): Promise<boolean> {
  const [task] = tasks
    .filter((candidate) => candidate.runnable && candidate.phase === 'encoding' && candidate.canEncode)
    .toSorted((left, right) => left.encoderTurns - right.encoderTurns)
  if (!task) return false
  task.encoderTurns += 1
  try {
    if (!task.encoding) {
      const loaded = task.loader!.take()
      task.encoding = { loaded, job: new EncoderJob((pause) => encode(task, loaded, model, pause)) }
    }
    const { loaded, job } = task.encoding
    const medium = await job.turn()
    if (!medium) return true
    task.encoding = undefined
    onEncoded(task, loaded, medium)
    task.addEncoded({ rows: loaded.feature.rows, ...medium }, model.thinker.hiddenSize)
  } catch (error) {
    task.fail(task.signal.aborted ? task.signal.reason : stageFailure(error))
  }
  return true
}

async function encode(
  task: RequestTask,
  loaded: LoadedFeature,
  { audioEncoder, visionEncoder }: OmniModel,
  pause: Pause,
): Promise<EncodedMedium> {
  const { signal } = task
  switch (loaded.type) {
    case 'audio': {
      const longestFrames = longestAudio(task.prompt!)
      const { input, feature } = loaded
      return { embeddings: await audioEncoder!.encode(input, feature.frames, { signal, pause, longestFrames }) }
    }
    case 'vision':
      return visionEncoder!.encode(loaded.input, loaded.feature.grid, { signal, pause })
    default:
      return loaded satisfies never
  }
}
