/** The engine contract, with a real (tiny, random) checkpoint in a real process. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { describeEngine } from '../../contract/testing/engine-suite.ts'
import { tinyCheckpoint } from '../../../testing/golden-conversations.ts'
import { createLocalEngine, type LocalEngine } from './local-engine.ts'
import { nativeVoices } from './voices.ts'
import { testDevice } from '../../tensor/test-device.ts'

describeEngine<LocalEngine>('local process with a tiny checkpoint', {
  create: () =>
    createLocalEngine({
      checkpoint: tinyCheckpoint('tiny-mixed'),
      voices: nativeVoices,
      device: testDevice,
      // The vocoder in parallel to the loop, then.
      threads: 2,
      maxConcurrent: 4,
      maxWaiting: 2,
      maxSpeechFrames: 40,
      restartPause: [20, 200],
    }),
  model: 'tiny-mixed',
  voice: 'Ryan',
  long: { text: 'Tell me everything.' },
  slots: 6,
  nativeBytes: async (engine) => (await engine.inspect()).nativeBytes,
  // As an assertion of the library ends it.
  crash: (engine) => process.kill(engine.processId!, 'SIGABRT'),
  samples: true,
})

describe('a checkpoint that cannot be loaded', () => {
  it('is named with what is wrong: nothing there, an unknown architecture', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'omniserve-'))
    try {
      await expect(createLocalEngine({ checkpoint: folder })).rejects.toMatchObject({
        code: 'bad_checkpoint',
        message: expect.stringContaining('config.json'),
      })
      await writeFile(join(folder, 'config.json'), '{"architectures":["OtherForCausalLM"]}')
      await writeFile(join(folder, 'model.safetensors'), Buffer.from('\x02\0\0\0\0\0\0\0{}', 'latin1'))
      await expect(createLocalEngine({ checkpoint: folder })).rejects.toMatchObject({
        code: 'bad_checkpoint',
        message: expect.stringContaining('OtherForCausalLM'),
      })
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('says how much memory it needs before it reads a weight', async () => {
    const refused = createLocalEngine({ checkpoint: tinyCheckpoint('tiny-mixed'), device: 'cpu', keepFree: 1e15 })
    await expect(refused).rejects.toMatchObject({
      code: 'bad_checkpoint',
      message: expect.stringMatching(/needs .* of memory/),
    })
  })
})
