/** Prompts against transformers' processor, for two tiny checkpoints with different preprocessing. */

import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import type { RgbImage } from '../../../contract/index.ts'
import { readSafetensorsHeader } from '../../../weights/safetensors.ts'
import { formulaAudio, formulaImage } from '../../../../testing/formula-media.ts'
import { type GoldenCase, goldenMessages } from '../../../../testing/golden-conversations.ts'
import { logMel } from '../../../prompt/log-mel.ts'
import { audioTokens } from './placeholders.ts'
import { readCheckpointFiles } from '../../../prompt/checkpoint-files.ts'
import { createQwen3Prompt } from './prompt-builder.ts'
import { visionPatches } from '../../../prompt/vision-patches.ts'

interface Sampled {
  tensor: string
  shape: number[]
  step: number
  sum: number
}
interface Facts {
  images: { width: number; height: number; seed: number; grid: number[]; patches: Sampled }[]
  audio: { samples: number; seed: number; frames: number; tokens: number; mel: Sampled }[]
  videos: { width: number; height: number; frames: number; seed: number; grid: number[]; patches: Sampled }[]
  conversations: {
    name: string
    messages: GoldenCase['messages']
    tokens: number
    nextPosition: number
  }[]
}

const image = (width: number, height: number, seed: number): RgbImage => ({
  width,
  height,
  data: formulaImage(width, height, seed),
})

const root = new URL('../../../../testdata/', import.meta.url)

async function load(name: string) {
  const base = new URL(`golden/processor/${name}`, root).pathname
  const facts = JSON.parse(await readFile(`${base}.json`, 'utf8')) as Facts
  const header = await readSafetensorsHeader(`${base}.safetensors`)
  const bytes = await readFile(`${base}.safetensors`)
  const golden = (tensor: string): number[] => {
    const entry = header.entries.get(tensor)!
    const own = bytes.buffer.slice(bytes.byteOffset + entry.offset, bytes.byteOffset + entry.offset + entry.length)
    return Array.from(entry.type === 'i32' ? new Int32Array(own) : new Float32Array(own))
  }
  const worst = (actual: Float32Array, { tensor, shape, step }: Sampled): number => {
    expect(actual.length).toBe(shape.reduce((a, b) => a * b, 1))
    return golden(tensor).reduce((most, value, i) => Math.max(most, Math.abs(value - actual[i * step]!)), 0)
  }
  const builder = createQwen3Prompt(await readCheckpointFiles(new URL(`checkpoints/${name}`, root).pathname))
  return { facts, golden, worst, builder }
}

describe.each(['tiny-moe', 'tiny-mixed'])('%s', async (name) => {
  const { facts, golden, worst, builder } = await load(name)
  const { config } = builder

  it.each(facts.images)('resizes and patches an image of $width x $height', async (fact) => {
    const { patches, grid } = await visionPatches([image(fact.width, fact.height, fact.seed)], config.image)
    expect(grid).toEqual(fact.grid)
    const values = patches.slice(0, patches.length)
    expect(worst(values, fact.patches)).toBeLessThan(1e-6)
    expect(Math.abs(values.reduce((a, b) => a + b, 0) - fact.patches.sum)).toBeLessThan(0.1)
  })

  it.each(facts.videos)('resizes and patches $frames frames of $width x $height', async (fact) => {
    const frames = Array.from({ length: fact.frames }, (_, n) => image(fact.width, fact.height, fact.seed + n))
    const { patches, grid } = await visionPatches(frames, config.video)
    expect(grid).toEqual(fact.grid)
    const values = patches.slice(0, patches.length)
    expect(worst(values, fact.patches)).toBeLessThan(1e-6)
    expect(Math.abs(values.reduce((a, b) => a + b, 0) - fact.patches.sum)).toBeLessThan(0.1)
  })

  it.each(facts.audio)('computes the log-mel of $samples samples', async (fact) => {
    const { mel, frames } = await logMel(formulaAudio(fact.samples, fact.seed), config.audio)
    expect(frames).toBe(fact.frames)
    expect(audioTokens(frames, config.audio.window)).toBe(fact.tokens)
    expect(worst(mel, fact.mel)).toBeLessThan(1e-5)
  })

  it.each(facts.conversations)('lays out the conversation "$name"', async (fact) => {
    const messages = goldenMessages(fact)
    const prompt = await builder.prepare(messages)
    expect([...prompt.tokenIds]).toEqual(golden(`conversation.${fact.name}.tokens`))
    const positions = golden(`conversation.${fact.name}.positions`)
    expect(prompt.positions.length).toBe(positions.length)
    // At three frames a second positions are fractions, in single precision there; all others are exact.
    const tolerance = fact.name === 'video-three-fps' ? 1e-4 : 0
    expect(
      positions.reduce((most, value, i) => Math.max(most, Math.abs(value - prompt.positions[i]!)), 0),
    ).toBeLessThanOrEqual(tolerance)
    expect(Math.abs(prompt.nextPosition - fact.nextPosition)).toBeLessThanOrEqual(tolerance)
    expect(await builder.count(messages)).toEqual(prompt.usage)
    const { total, text, image: images, audio, video } = prompt.usage
    expect(text! + images! + audio! + video!).toBe(total)
    checkRows(prompt)
  })

  function checkRows(prompt: Awaited<ReturnType<typeof builder.prepare>>): void {
    for (const feature of prompt.features) {
      const ids = new Set(Array.from(feature.rows, (row) => prompt.tokenIds[row]!))
      if (feature.type === 'audio') {
        expect(feature.rows.length).toBe(audioTokens(feature.frames, config.audio.window))
        expect([...ids]).toEqual([config.tokens.audio])
      } else {
        expect(feature.rows.length).toBe((feature.grid[0] * feature.grid[1] * feature.grid[2]) / 4)
        expect(ids.size).toBe(1)
        expect([config.tokens.image, config.tokens.video]).toContain([...ids][0])
      }
      expect([...feature.rows]).toEqual([...feature.rows].toSorted((a, b) => a - b))
    }
  }
})
