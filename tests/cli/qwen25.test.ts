/** The commands that inspect a checkpoint without running it, on a Qwen2.5-Omni one. */
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, it } from 'vitest'
import { tokensCountSchema } from '../../src/protocol/index.ts'
import { png, wav } from '../support/media.ts'
import { omniserve, temporaryFolder, testMedia, tinyCheckpoint } from './run-cli.ts'

const checkpoint = path.join(path.dirname(tinyCheckpoint), 'tiny25-grouped')

it('tokens counts for qwen-omni-turbo and for the checkpoint', async () => {
  await using folder = await temporaryFolder()
  const [image, audio, long] = ['a.png', 'b.wav', 'c.wav'].map((name) => path.join(folder.path, name)) as [
    string,
    string,
    string,
  ]
  await writeFile(image, await png(280, 140))
  await writeFile(audio, wav(4))
  await writeFile(long, wav(301, 8000))
  const { code, out } = await omniserve([
    'tokens',
    image,
    audio,
    testMedia('clip.mp4'),
    '--text',
    'What is it?',
    '--model',
    'qwen-omni-turbo',
    '--checkpoint',
    checkpoint,
    '--json',
  ])
  expect(code).toBe(0)
  const { data } = JSON.parse(out) as { data: unknown[] }
  const [ofImage, ofAudio, ofVideo] = data.map((row) => tokensCountSchema.loose().parse(row))
  expect(ofImage?.usage.prompt_tokens_details).toMatchObject({ image_tokens: 52 })
  expect(ofAudio?.usage.prompt_tokens_details).toMatchObject({ audio_tokens: 100 })
  expect(ofVideo?.usage.prompt_tokens_details).toMatchObject({
    video_tokens: expect.any(Number),
    audio_tokens: expect.any(Number),
  })
  for (const row of [ofImage, ofAudio, ofVideo]) {
    expect(row?.limits).toMatchObject({ checkpoint: 'tiny25-grouped', checkpoint_context: 4096 })
    expect(row?.limits.checkpoint_prompt_tokens).toBeGreaterThan(50)
  }

  // Flash itself accepts 20 minutes: counted and priced, with a warning that the checkpoint here does not.
  const args = ['tokens', long, '--model', 'qwen3-omni-flash', '--checkpoint', checkpoint]
  const warned = await omniserve(args)
  expect(warned).toMatchObject({ code: 0, errors: expect.stringMatching(/^warning: .*at most 300 s/) })
})

it('doctor checks a Qwen2.5-Omni checkpoint', async () => {
  await using home = await temporaryFolder()
  const { code, out } = await omniserve(['doctor', '--model', checkpoint, '--port', '0'], {
    environment: { OMNISERVE_HOME: home.path },
  })
  expect(out).toMatch(/^ok +checkpoint .*Qwen2_5Omni.*voices: chelsie, ethan/m)
  expect(code).toBe(0)
})
