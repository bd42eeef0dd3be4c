/** An engine process around the fake model, for tests of everything between the server and the process. */

import { hostEngine } from '../src/engines/local/process-host.ts'
import { Runtime } from '../src/runtime/runtime.ts'
import { loadLibrary } from '../src/tensor/library.ts'
import { tensorTypes } from '../src/tensor/types.ts'
import { createFakeModel, fakeIds, fakePrepare, fakeTokenizer, replyStart } from './fake-model.ts'
import { EngineError } from '../src/contract/index.ts'

hostEngine(async (options, onMetrics) => {
  if (options.checkpoint.includes('missing'))
    throw new EngineError('bad_checkpoint', `There is no checkpoint in ${options.checkpoint}.`)
  if (options.checkpoint.includes('dies')) failInLibrary()
  const model = createFakeModel({
    contextLength: options.contextLength ?? 4096,
    thinkerDelay: () => 1,
    // Ends after as many letters as the request has, times 20; noise is close enough for sampling to matter.
    script: (ids) => {
      const start = replyStart(ids)
      const turn = start - ids.slice(0, start).lastIndexOf(fakeIds.user)
      return ids.length - start > 20 * turn ? fakeIds.imEnd : 97 + ((ids.length * 7 + start) % 26)
    },
    sharpness: 4,
    sampledSpeech: true,
  })
  const runtime = new Runtime({
    model,
    tokenizer: fakeTokenizer,
    prepare: fakePrepare,
    endTokenIds: [fakeIds.imEnd],
    thinking: true,
    onMetrics,
    ...(options.maxConcurrent !== undefined && { maxConcurrent: options.maxConcurrent }),
    ...(options.maxWaiting !== undefined && { maxWaiting: options.maxWaiting }),
  })
  return {
    model: {
      id: options.id,
      architecture: model.architecture,
      input: model.reads,
      output: ['text', 'audio'],
      thinking: true,
      capabilities: { tools: false, seed: true, voiceChoice: true, promptByModality: true, countsPrompt: true },
      contextLength: runtime.contextLength,
      maxOutputTokens: 1024,
      weights: 'none',
      device: 'cpu',
    },
    speakers: model.speech!.speakers,
    runtime,
    // The fake has no native memory; live caches and streams stand for it.
    nativeBytes: () => 1000 + model.alive().sequences + model.alive().streams,
    dispose: () => model[Symbol.dispose](),
  }
})

/** The effect of a mistake in a graph without the checks of `src/tensor`: the library ends the process. */
function failInLibrary(): void {
  const { native } = loadLibrary('cpu')
  const context = native.init(1 << 16, true)!
  const [a, b] = [3, 4].map((extent) => native.new_tensor_4d(context, tensorTypes.f32.id, extent, 1, 1, 1)!)
  native.mul_mat(context, a!, b!)
}
