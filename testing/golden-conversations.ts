/**
 * The conversations of the end-to-end goldens, and transformers' results.
 *
 * In: `testdata/golden/NAME.json` and `.safetensors`, made by `reference/omniserve_reference/make_model_goldens.py`.
 * Out: messages with the same media (the formulas of `media.py`), and arrays by name.
 */

import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { decodedAudio, decodedImage, decodedVideo } from './decoded-media.ts'
import type { GenerationMessage, GenerationPart, RgbImage } from '../src/contract/index.ts'
import { readSafetensorsHeader } from '../src/weights/safetensors.ts'

type GoldenPart =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'image'; readonly width: number; readonly height: number; readonly seed: number }
  | { readonly type: 'audio'; readonly samples: number; readonly seed: number }
  | {
      readonly type: 'video'
      readonly width: number
      readonly height: number
      readonly frames: number
      readonly fps: number
      readonly audioSamples: number
      readonly seed: number
    }

export interface GoldenCase {
  readonly name: string
  readonly messages: readonly {
    readonly role: 'system' | 'user' | 'assistant'
    readonly content: readonly GoldenPart[]
  }[]
  readonly speaker: string | null
  readonly eosTokenId: number
  readonly maxTextTokens: number
  readonly maxTalkerTokens: number
  readonly promptTokens: number
  readonly textTokens: readonly number[]
  readonly text: string
  readonly talkerIds?: readonly number[]
  /** [frames][groups] */
  readonly codes?: readonly (readonly number[])[]
  readonly smallestTextGap: number
  readonly smallestCodecGap?: number
  readonly smallestResidualGap?: number
}

export interface Goldens {
  readonly cases: readonly GoldenCase[]
  /** A stored array as numbers, or undefined. */
  readonly array: (name: string) => Float32Array | Int32Array | Int16Array | undefined
}

const testdata = new URL('../testdata/', import.meta.url)

/** Folder of a tiny checkpoint. */
export function tinyCheckpoint(name: string): string {
  return fileURLToPath(new URL(`checkpoints/${name}`, testdata))
}

export async function loadGoldens(name: string): Promise<Goldens> {
  const base = fileURLToPath(new URL(`golden/${name}`, testdata))
  const facts: Pick<Goldens, 'cases'> = JSON.parse(await readFile(`${base}.json`, 'utf8'))
  const { entries } = await readSafetensorsHeader(`${base}.safetensors`)
  const bytes = await readFile(`${base}.safetensors`)
  return {
    cases: facts.cases,
    array(tensor) {
      const entry = entries.get(tensor)
      if (!entry) return undefined
      const start = bytes.byteOffset + entry.offset
      const own = bytes.buffer.slice(start, start + entry.length)
      const type: string = entry.type
      if (type === 'f32') return new Float32Array(own)
      if (type === 'i32') return new Int32Array(own)
      if (type === 'i16') return new Int16Array(own)
      throw new Error(`${tensor} is stored as ${type}.`)
    },
  }
}

/** The messages of a golden case, with their media. */
export function goldenMessages(golden: Pick<GoldenCase, 'messages'>): GenerationMessage[] {
  return golden.messages.map(({ role, content }) => ({ role, content: content.map(goldenPart) }))
}

function goldenPart(part: GoldenPart): GenerationPart {
  switch (part.type) {
    case 'text':
      return part
    case 'image':
      return { type: 'image', image: decodedImage(goldenImage(part.width, part.height, part.seed)) }
    case 'audio':
      return {
        type: 'audio',
        audio: decodedAudio({ sampleRate: 16_000, samples: goldenAudio(part.samples, part.seed) }),
      }
    case 'video': {
      const { width, height, frames, fps, audioSamples, seed } = part
      const numbers = Array.from({ length: frames }, (_, frame) => frame)
      return {
        type: 'video',
        video: decodedVideo({
          fps,
          frames: numbers.map((frame) => goldenImage(width, height, seed + frame)),
          timestamps: numbers.map((frame) => frame / fps),
          ...(audioSamples > 0 && { audio: { sampleRate: 16_000, samples: goldenAudio(audioSamples, seed) } }),
        }),
      }
    }
    default:
      return part satisfies never
  }
}

function goldenImage(width: number, height: number, seed: number): RgbImage {
  const data = new Uint8Array(width * height * 3)
  let at = 0
  for (let y = 0; y < height; y += 1)
    for (let x = 0; x < width; x += 1)
      for (let channel = 0; channel < 3; channel += 1) {
        data[at] = x * (3 + (seed % 5)) + y * 5 + channel * 40 + ((x * y) >> 4) * 7 + ((x ^ y) & 15) * (seed % 7) * 2
        at += 1
      }
  return { width, height, data }
}

function goldenAudio(samples: number, seed: number): Float32Array {
  return Float32Array.from({ length: samples }, (_, index) => {
    const tone = (((index * (2 + (seed % 5))) % 160) - 80) * 60
    const noise = (((index * 7919 + ((index * index) % 1009) * 31) % 2001) - 1000) * 3
    return ((tone + noise) * (1 + ((index >> 12) % 4))) / 131_072
  })
}
