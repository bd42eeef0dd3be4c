/** The engine contract, with a real (tiny, random) checkpoint in a real process. */

import { describeEngine } from '../../../testing/engine-contract.ts'
import { tinyCheckpoint } from '../../../testing/golden-conversations.ts'
import { createLocalEngine, type LocalEngine } from './local-engine.ts'
import { nativeVoices } from './voices.ts'

describeEngine<LocalEngine>('local process with a tiny checkpoint', {
  create: () =>
    createLocalEngine({
      checkpoint: tinyCheckpoint('tiny-mixed'),
      voices: nativeVoices,
      device: 'cpu',
      threads: 1,
      maxConcurrent: 4,
      maxWaiting: 2,
      maxSpeechFrames: 40,
      restartPause: [20, 200],
    }),
  model: 'tiny-mixed',
  voice: 'Ryan',
  long: { text: 'Tell me everything.' },
  places: 6,
  nativeBytes: async (engine) => (await engine.inspect()).nativeBytes,
  crash: (engine) => process.kill(engine.processId!, 'SIGKILL'),
  samples: true,
})
