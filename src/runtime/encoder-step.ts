/**
 * One step of the encoders: a piece of one medium of one request.
 *
 * In: the live requests. Out: the one chosen is a piece further; with its last medium it goes on to reading its prompt.
 */

import type { OmniModel } from '../models/stages.ts'
import type { PromptFeature } from '../prompt/prepared-prompt.ts'
import { EncoderJob, type Pause } from './encoder-job.ts'
import { type EncodedFeature, PromptFeatures } from './prompt-features.ts'
import type { RequestTask } from './request-task.ts'
import { stageFailure } from './stage-failure.ts'

/** Returns whether there was anything to encode. Who has had the fewest turns comes first, so a picture does not wait for a long clip. */
export async function encodePiece(tasks: readonly RequestTask[], model: OmniModel): Promise<boolean> {
  const [task] = tasks
    .filter((candidate) => candidate.runnable && candidate.phase === 'encoding')
    .toSorted((left, right) => left.encoderTurns - right.encoderTurns)
  if (!task) return false
  const { features } = task.prompt!
  const feature = features[task.encoded.length]!
  task.encoderTurns += 1
  try {
    task.encoding ??= new EncoderJob((pause) => encode(task, feature, model, pause))
    const encoded = await task.encoding.turn()
    if (!encoded) return true
    task.encoding = undefined
    task.encoded.push(encoded)
    if (task.encoded.length < features.length) return true
    task.features = new PromptFeatures(task.encoded, model.thinker.hiddenSize)
    task.encoded.length = 0
    task.phase = 'prefill'
  } catch (error) {
    task.fail(task.signal.aborted ? task.signal.reason : stageFailure(error))
  }
  return true
}

async function encode(
  task: RequestTask,
  feature: PromptFeature,
  { audioEncoder, visionEncoder }: OmniModel,
  pause: Pause,
): Promise<EncodedFeature> {
  const { signal, prompt } = task
  const { rows } = feature
  switch (feature.type) {
    case 'audio': {
      const sounds = prompt!.features.filter((other) => other.type === 'audio')
      const longestFrames = Math.max(...sounds.map(({ frames }) => frames))
      return {
        rows,
        embeddings: await audioEncoder!.encode(feature.mel, feature.frames, { signal, pause, longestFrames }),
      }
    }
    case 'vision':
      return { rows, ...(await visionEncoder!.encode(feature.patches, feature.grid, { signal, pause })) }
    default:
      return feature satisfies never
  }
}
