/** The prompt room against transformers' processor, for two tiny checkpoints with different preprocessing. */

import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import type { GenerationMessage, GenerationPart, RgbImage } from '../engines/engine.ts'
import { readSafetensorsHeader } from '../weights/safetensors.ts'
import { logMel } from './log-mel.ts'
import { audioTokens } from './placeholders.ts'
import { createPromptBuilder } from './prompt-builder.ts'
import { visionPatches } from './vision-patches.ts'

interface Sampled {
  tensor: string
  shape: number[]
  step: number
  sum: number
}
type GoldenPart =
  | { type: 'text'; text: string }
  | { type: 'image'; width: number; height: number; seed: number }
  | { type: 'audio'; samples: number; seed: number }
  | { type: 'video'; width: number; height: number; frames: number; fps: number; audioSamples: number; seed: number }
interface Facts {
  images: { width: number; height: number; seed: number; grid: number[]; patches: Sampled }[]
  audio: { samples: number; seed: number; frames: number; tokens: number; mel: Sampled }[]
  videos: { width: number; height: number; frames: number; seed: number; grid: number[]; patches: Sampled }[]
  conversations: {
    name: string
    messages: { role: 'system' | 'user' | 'assistant'; content: GoldenPart[] }[]
    tokens: number
    nextPosition: number
  }[]
}

// The formulas of reference/omniserve_reference/media.py.
function image(width: number, height: number, seed: number): RgbImage {
  const data = new Uint8Array(width * height * 3)
  let i = 0
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) {
        data[i++] = x * (3 + (seed % 5)) + y * 5 + c * 40 + ((x * y) >> 4) * 7 + ((x ^ y) & 15) * (seed % 7) * 2
      }
    }
  }
  return { width, height, data }
}
function sound(samples: number, seed: number): Float32Array {
  return Float32Array.from({ length: samples }, (_, i) => {
    const tone = (((i * (2 + (seed % 5))) % 160) - 80) * 60
    const noise = (((i * 7919 + ((i * i) % 1009) * 31) % 2001) - 1000) * 3
    return ((tone + noise) * (1 + ((i >> 12) % 4))) / 131072
  })
}
function part(golden: GoldenPart): GenerationPart {
  switch (golden.type) {
    case 'text':
      return golden
    case 'image':
      return { type: 'image', image: image(golden.width, golden.height, golden.seed) }
    case 'audio':
      return { type: 'audio', audio: { sampleRate: 16_000, samples: sound(golden.samples, golden.seed) } }
    case 'video': {
      const { width, height, frames, fps, audioSamples, seed } = golden
      return {
        type: 'video',
        video: {
          fps,
          frames: Array.from({ length: frames }, (_, n) => image(width, height, seed + n)),
          timestamps: Array.from({ length: frames }, (_, n) => n / fps),
          ...(audioSamples > 0 ? { audio: { sampleRate: 16_000, samples: sound(audioSamples, seed) } } : {}),
        },
      }
    }
  }
}

const root = new URL('../../testdata/', import.meta.url)

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
  const builder = await createPromptBuilder(new URL(`checkpoints/${name}`, root).pathname)
  return { facts, golden, worst, builder }
}

describe.each(['tiny-moe', 'tiny-mixed'])('%s', async (name) => {
  const { facts, golden, worst, builder } = await load(name)
  const { config } = builder

  it.each(facts.images)('resizes and cuts an image of $width x $height', async (fact) => {
    const { patches, grid } = await visionPatches([image(fact.width, fact.height, fact.seed)], config.image)
    expect(grid).toEqual(fact.grid)
    expect(worst(patches, fact.patches)).toBeLessThan(1e-6)
    expect(Math.abs(patches.reduce((a, b) => a + b, 0) - fact.patches.sum)).toBeLessThan(0.1)
  })

  it.each(facts.videos)('resizes and cuts $frames frames of $width x $height', async (fact) => {
    const frames = Array.from({ length: fact.frames }, (_, n) => image(fact.width, fact.height, fact.seed + n))
    const { patches, grid } = await visionPatches(frames, config.video)
    expect(grid).toEqual(fact.grid)
    expect(worst(patches, fact.patches)).toBeLessThan(1e-6)
    expect(Math.abs(patches.reduce((a, b) => a + b, 0) - fact.patches.sum)).toBeLessThan(0.1)
  })

  it.each(facts.audio)('hears $samples samples', async (fact) => {
    const { mel, frames } = await logMel(sound(fact.samples, fact.seed), config.audio)
    expect(frames).toBe(fact.frames)
    expect(audioTokens(frames, config.audio.window)).toBe(fact.tokens)
    expect(worst(mel, fact.mel)).toBeLessThan(1e-5)
  })

  it.each(facts.conversations)('lays out the conversation "$name"', async (fact) => {
    const messages: GenerationMessage[] = fact.messages.map(({ role, content }) => ({
      role,
      content: content.map(part),
    }))
    const prompt = await builder.prepare(messages)
    expect([...prompt.tokenIds]).toEqual(golden(`conversation.${fact.name}.tokens`))
    const positions = golden(`conversation.${fact.name}.positions`)
    expect(prompt.positions.length).toBe(positions.length)
    // Three frames a second make positions that transformers leaves fractional and we round; all others are exact.
    const tolerance = fact.name === 'video-three-fps' ? 0.5 : 0
    expect(
      positions.reduce((most, value, i) => Math.max(most, Math.abs(value - prompt.positions[i]!)), 0),
    ).toBeLessThanOrEqual(tolerance)
    expect(Math.abs(prompt.nextPosition - fact.nextPosition)).toBeLessThanOrEqual(tolerance)
    expect(builder.count(messages)).toEqual(prompt.usage)
    const { total, text, image: images, audio, video } = prompt.usage
    expect(text + images + audio + video).toBe(total)
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
