/**
 * Level 2: the published Qwen2.5-Omni-7B's and 3B's configurations and every tensor name and shape map to our graphs.
 */

import { readFileSync } from 'node:fs'

import { describe, expect, it } from 'vitest'

import { testdataPath } from '../../../testing/golden.ts'
import { Checkpoint, matchParameters, type StoredTensor } from '../../weights/index.ts'
import { describeModel, type ModelDescription } from '../index.ts'
import { parseConfig } from './config.ts'

const folder = 'qwen2.5-omni'

/** `a.{0-2}.b` to `a.0.b`, `a.1.b`, `a.2.b`, for every range in the pattern. */
function expand(pattern: string): string[] {
  const range = /\{(\d+)-(\d+)\}/.exec(pattern)
  if (!range) return [pattern]
  const names: string[] = []
  for (let i = Number(range[1]); i <= Number(range[2]); i++)
    names.push(...expand(pattern.slice(0, range.index) + String(i) + pattern.slice(range.index + range[0].length)))
  return names
}

function publishedTensors(size: string): Map<string, number[]> {
  const lines = readFileSync(testdataPath(`${folder}/weights-${size}.tsv`), 'utf8')
    .trim()
    .split('\n')
    .slice(1)
  const tensors = new Map<string, number[]>()
  for (const line of lines) {
    const [pattern = '', shape = ''] = line.split('\t')
    for (const name of expand(pattern)) tensors.set(name, shape.split('x').map(Number))
  }
  return tensors
}

const elementsOf = (shape: readonly number[]): number => shape.reduce((product, extent) => product * extent, 1)

interface Published {
  readonly size: string
  readonly tensors: number
  readonly elements: number
  /** Of `audio_bos_eos_token`, the one tensor that no graph reads. */
  readonly unused: number
}

const published: readonly Published[] = [
  { size: '7b', tensors: 2448, elements: 10_732_225_440, unused: 2 * 3584 },
  { size: '3b', tensors: 2544, elements: 5_537_120_672, unused: 2 * 2048 },
]

describe.each(published)('the published $size checkpoint', ({ size, tensors: count, elements, unused }) => {
  const json = JSON.parse(readFileSync(testdataPath(`${folder}/config-${size}.json`), 'utf8')) as Record<string, unknown>
  const tensors = publishedTensors(size)
  const description: ModelDescription = describeModel(json)

  /** Matches the published names after one change. */
  function match(change: (map: Map<string, number[]>) => void = () => undefined): ReturnType<typeof matchParameters> {
    const changed = new Map(tensors)
    change(changed)
    const stored = new Map<string, StoredTensor>()
    for (const [name, shape] of changed)
      stored.set(name, { name, shape, type: 'bf16', file: 'model.safetensors', offset: 0, length: 2 * elementsOf(shape) })
    using checkpoint = new Checkpoint('published', 'folder', json, stored, {
      text: () => Promise.resolve(undefined),
      bytes: () => Promise.resolve(undefined),
    })
    return matchParameters(checkpoint, description.declarations, description.naming)
  }

  it('has the same number of tensors and elements as its files', () => {
    expect(tensors.size).toBe(count)
    let sum = 0
    for (const shape of tensors.values()) sum += elementsOf(shape)
    expect(sum).toBe(elements)
  })

  it('maps to the graphs: no tensor is missing, and only the unused one is left', () => {
    const { sources, ignored } = match()
    expect(ignored.map(({ name }) => name)).toEqual(['thinker.audio_tower.audio_bos_eos_token.weight'])
    expect(sources.reduce((sum, source) => sum + source.segments.length, 0)).toBe(count - 1)
    let sum = 0
    for (const { declaration } of sources) sum += elementsOf(declaration.shape)
    expect(sum).toBe(elements - unused)
  })

  it('names a tensor that is missing, misshapen or unknown', () => {
    const name = 'thinker.visual.blocks.7.attn.q.bias'
    expect(() => match((map) => map.delete(name))).toThrow(/visual\.blocks\.7\.attn\.q\.bias/)
    expect(() => match((map) => map.set(name, [1281]))).toThrow(/visual\.blocks\.7\.attn\.q\.bias/)
    expect(() => match((map) => map.set('thinker.audio_tower.layers.3.self_attn.k_proj.bias', [1280]))).toThrow(
      /layers\.3\.self_attn\.k_proj\.bias/,
    )
    expect(() => match((map) => map.delete('talker.thinker_to_talker_proj.bias'))).toThrow(/thinker_to_talker_proj\.bias/)
  })

  it('only the thinker and the talker may be stored in less than 8 bits', () => {
    const coarse = description.declarations.filter(({ precision }) => precision === 'coarse')
    const parts = new Set(coarse.map(({ name }) => name.split('.').slice(0, 2).join('.')))
    expect(parts).toEqual(
      new Set(['thinker.model', 'thinker.lm_head', 'talker.model', 'talker.codec_head', 'talker.thinker_to_talker_proj']),
    )
  })

  it('has the facts that prompts and speech require', () => {
    expect(description.contextLength).toBe(32_768)
    expect(description.speaks).toMatchObject({ sampleRate: 24_000, frameRate: 50 })
    const { thinker, audioEncoder, visionEncoder, speech } = parseConfig(json)
    expect(thinker).toMatchObject({ tiedEmbeddings: false, headSize: 128, attentionBias: true, queryKeyNorm: false })
    expect(audioEncoder.chunkFrames).toBe(200)
    expect(visionEncoder).toMatchObject({ window: 4, hidden: 1280 })
    expect([...visionEncoder.fullLayers]).toEqual([7, 15, 23, 31])
    const small = size === '3b'
    expect(speech?.talker).toMatchObject({
      headSize: small ? 64 : 128,
      heads: small ? 14 : 12,
      rotarySections: small ? [16, 16, 0] : [16, 24, 24],
      inputWidth: small ? 2048 : 3584,
    })
    expect(speech?.ids).toMatchObject({ textEnd: 151_861, textPad: 151_859, codecPad: 8292, codecMask: 8296 })
  })
})
