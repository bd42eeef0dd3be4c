/** Prompts against transformers' processor, for two tiny checkpoints with different preprocessing. */

import { readFile } from 'node:fs/promises'

import { describe, expect, it } from 'vitest'

import { formulaAudio, formulaImage } from '../../../../testing/formula-media.ts'
import { type GoldenCase, goldenMessages } from '../../../../testing/golden-conversations.ts'
import { readGolden, testdataPath } from '../../../../testing/golden.ts'
import type { RgbImage } from '../../../contract/index.ts'
import { readCheckpointFiles } from '../../../prompt/checkpoint-files.ts'
import { logMel } from '../../../prompt/log-mel.ts'
import { visionPatches } from '../../../prompt/vision-patches.ts'
import { createQwen25Prompt } from './prompt-builder.ts'

interface Sampled {
  readonly tensor: string
  readonly shape: readonly number[]
  readonly step: number
  readonly sum: number
}

interface Conversation {
  readonly name: string
  readonly messages: GoldenCase['messages']
  readonly text: string
  readonly nextPosition: number
  readonly mels: readonly (Sampled & { readonly frames: number })[]
}

interface Facts {
  readonly images: readonly { width: number; height: number; seed: number; grid: number[]; patches: Sampled }[]
  readonly audio: readonly { samples: number; seed: number; frames: number; tokens: number; mel: Sampled }[]
  readonly videos: readonly {
    width: number
    height: number
    frames: number
    seed: number
    grid: number[]
    patches: Sampled
  }[]
  readonly conversations: readonly Conversation[]
  readonly spoken: readonly (Conversation & { readonly asked: GoldenCase['messages'] })[]
}

const image = (width: number, height: number, seed: number): RgbImage => ({
  width,
  height,
  data: formulaImage(width, height, seed),
})

describe.each(['tiny25-grouped', 'tiny25-even'])('%s', async (name) => {
  const golden = await readGolden<Facts>(`processor/${name}`)
  const { facts } = golden
  const folder = testdataPath(`checkpoints/${name}`)
  const builder = createQwen25Prompt(await readCheckpointFiles(folder))
  const { config } = builder
  const worst = (actual: Float32Array, { tensor, shape, step, sum }: Sampled): number => {
    expect(actual.length).toBe(shape.reduce((a, b) => a * b, 1))
    expect(Math.abs(actual.reduce((a, b) => a + b, 0) - sum)).toBeLessThan(0.2)
    return golden.floats(tensor).reduce((most, value, i) => Math.max(most, Math.abs(value - actual[i * step]!)), 0)
  }

  it.each(facts.images)('resizes and patches an image of $width x $height', async (fact) => {
    const { patches, grid } = await visionPatches([image(fact.width, fact.height, fact.seed)], config.image)
    expect(grid).toEqual(fact.grid)
    const values = patches.slice(0, patches.length)
    expect(worst(values, fact.patches)).toBeLessThan(2e-6)
  })

  it.each(facts.videos)('resizes and patches $frames frames of $width x $height', async (fact) => {
    const frames = Array.from({ length: fact.frames }, (_, n) => image(fact.width, fact.height, fact.seed + n))
    const { patches, grid } = await visionPatches(frames, config.video)
    expect(grid).toEqual(fact.grid)
    const values = patches.slice(0, patches.length)
    expect(worst(values, fact.patches)).toBeLessThan(2e-6)
  })

  it.each(facts.audio)('computes the log-mel of $samples samples', async (fact) => {
    const padded = fact.samples + 2 * config.audio.fftLength
    const { mel, frames } = await logMel(formulaAudio(fact.samples, fact.seed), config.audio, padded)
    expect(frames).toBe(fact.frames)
    expect(Math.floor(Math.ceil(frames / 2) / 2)).toBe(fact.tokens)
    expect(worst(mel, fact.mel)).toBeLessThan(1e-5)
  })

  it.each(facts.conversations)('lays out the conversation "$name"', async (fact) => {
    const messages = goldenMessages(fact)
    const prompt = await builder.prepare(messages)
    expect([...prompt.tokenIds]).toEqual([...golden.integers(`conversation.${fact.name}.tokens`)])
    expect([...prompt.positions]).toEqual([...golden.integers(`conversation.${fact.name}.positions`)])
    expect(prompt.nextPosition).toBe(fact.nextPosition)
    expect(await builder.count(messages)).toEqual(prompt.usage)
    const { total, text = 0, image: images = 0, audio = 0, video = 0 } = prompt.usage
    expect(text + images + audio + video).toBe(total)
    const mels = prompt.features.filter((feature) => feature.type === 'audio')
    expect(mels.length).toBe(fact.mels.length)
    for (const [i, sampled] of fact.mels.entries()) {
      expect(mels[i]?.frames).toBe(sampled.frames)
      expect(worst(await mels[i]!.load(), sampled)).toBeLessThan(1e-5)
    }
    for (const feature of prompt.features) {
      const ids = new Set(Array.from(feature.rows, (row) => prompt.tokenIds[row]!))
      expect(ids.size).toBe(1)
      const wanted = feature.type === 'audio' ? [config.tokens.audio] : [config.tokens.image, config.tokens.video]
      expect(wanted).toContain([...ids][0])
      expect([...feature.rows]).toEqual([...feature.rows].toSorted((a, b) => a - b))
    }
  })

  it.each(facts.spoken)('lays out "$name" with the system message that speech requires', async (fact) => {
    const messages = goldenMessages({ messages: fact.asked })
    const prompt = await builder.prepare(messages, { speech: true })
    expect([...prompt.tokenIds]).toEqual([...golden.integers(`conversation.${fact.name}.tokens`)])
    expect([...prompt.positions]).toEqual([...golden.integers(`conversation.${fact.name}.positions`)])
    expect(await builder.count(messages, { speech: true })).toEqual(prompt.usage)
  })

  it('gives the same prompt without a template in the checkpoint', async () => {
    const files = await readCheckpointFiles({
      location: folder,
      readText: (file) =>
        file.startsWith('chat_template') ? Promise.resolve(undefined) : readFile(`${folder}/${file}`, 'utf8').catch(() => undefined),
    })
    const bare = createQwen25Prompt(files)
    for (const fact of facts.conversations.filter((conversation) => conversation.mels.length < 2)) {
      const messages = goldenMessages(fact)
      expect(await bare.count(messages)).toEqual(await builder.count(messages))
      const [own, wanted] = await Promise.all([bare.prepare(messages), builder.prepare(messages)])
      expect(own.tokenIds).toEqual(wanted.tokenIds)
    }
  })
})
