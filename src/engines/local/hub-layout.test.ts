/**
 * A folder laid out like the published checkpoint: shards and their index, vocab.json and merges.txt in place of
 * tokenizer.json, chat_template.json, only preprocessor_config.json, and files that no engine reads. Its replies equal
 * those of the folder that transformers writes.
 */

import { link, copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { goldenMessages, loadGoldens, tinyCheckpoint } from '../../../testing/golden-conversations.ts'
import { makeRequest, readReply } from '../../../testing/requests.ts'
import { loadHostedModel } from './load-model.ts'
import { testDevice } from '../../tensor/test-device.ts'

interface TokenizerFile {
  readonly model: { readonly vocab: object; readonly merges: readonly (string | readonly string[])[] }
}

it('answers from a folder as it is on the hub', async () => {
  const from = tinyCheckpoint('tiny-mixed')
  const folder = await mkdtemp(join(tmpdir(), 'omniserve-hub-'))
  try {
    for (const name of await readdir(from)) {
      if (name === 'tokenizer.json') continue
      await link(join(from, name), join(folder, name)).catch(() => copyFile(join(from, name), join(folder, name)))
    }
    const { model }: TokenizerFile = JSON.parse(await readFile(join(from, 'tokenizer.json'), 'utf8'))
    const merges = model.merges.map((merge) => (typeof merge === 'string' ? merge : merge.join(' ')))
    await writeFile(join(folder, 'vocab.json'), JSON.stringify(model.vocab))
    await writeFile(join(folder, 'merges.txt'), `#version: 0.2\n${merges.join('\n')}\n`)
    await writeFile(join(folder, 'README.md'), '# A checkpoint')
    await writeFile(join(folder, '.gitattributes'), '*.safetensors filter=lfs')
    const names = await readdir(folder)
    expect(names).toContain('model.safetensors.index.json')
    expect(names).not.toContain('processor_config.json')
    expect(names).not.toContain('video_preprocessor_config.json')

    const hosted = await loadHostedModel(
      { checkpoint: folder, id: 'hub', device: testDevice, threads: 1, exact: true, maxSpeechFrames: 15 },
      () => undefined,
    )
    try {
      const { cases } = await loadGoldens('tiny-mixed')
      const golden = cases.find(({ name }) => name === 'mixed-video-audio')!
      const reply = await readReply(
        hosted.runtime,
        makeRequest({
          model: 'hub',
          messages: goldenMessages(golden),
          maxTokens: golden.maxTextTokens,
          voice: golden.speaker!,
        }),
      )
      expect([reply.text, reply.usage.prompt!.total]).toEqual([golden.text, golden.promptTokens])
      expect(reply.usage.audioTokens).toBe(golden.codes!.length)
    } finally {
      await hosted.runtime.close()
      hosted.dispose()
    }
  } finally {
    await rm(folder, { recursive: true })
  }
})
