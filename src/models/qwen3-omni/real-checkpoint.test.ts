/**
 * Level 2: the published Qwen3-Omni-30B-A3B's configuration and every tensor name and shape map to our graphs.
 */

import { readFileSync } from 'node:fs'

import { describe, expect, it } from 'vitest'

import { testdataPath } from '../../../testing/golden.ts'
import { Checkpoint, matchParameters, type StoredTensor } from '../../weights/index.ts'
import { describeModel } from '../index.ts'
import { parseConfig } from './config.ts'

const folder = 'qwen3-omni-30b-a3b'
const json = JSON.parse(readFileSync(testdataPath(`${folder}/config.json`), 'utf8')) as Record<string, unknown>

/** `a.{0-2}.b` to `a.0.b`, `a.1.b`, `a.2.b`, for every range in the pattern. */
function expand(pattern: string): string[] {
  const range = /\{(\d+)-(\d+)\}/.exec(pattern)
  if (!range) return [pattern]
  const names: string[] = []
  for (let i = Number(range[1]); i <= Number(range[2]); i++)
    names.push(...expand(pattern.slice(0, range.index) + String(i) + pattern.slice(range.index + range[0].length)))
  return names
}

function publishedTensors(): Map<string, number[]> {
  const lines = readFileSync(testdataPath(`${folder}/weights.tsv`), 'utf8')
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

function checkpointOf(tensors: ReadonlyMap<string, readonly number[]>): Checkpoint {
  const stored = new Map<string, StoredTensor>()
  for (const [name, shape] of tensors) {
    const length = shape.reduce((product, extent) => product * extent, 2)
    stored.set(name, { name, shape, type: 'bf16', file: 'model.safetensors', offset: 0, length })
  }
  return new Checkpoint('published', 'folder', json, stored, {
    text: () => Promise.resolve(undefined),
    bytes: () => Promise.resolve(undefined),
  })
}

const tensors = publishedTensors()
const description = describeModel(json)

/** Matches the published names after one change. */
const attempt = (change: (map: Map<string, number[]>) => void): (() => void) => {
  const changed = new Map(tensors)
  change(changed)
  return () => {
    using checkpoint = checkpointOf(changed)
    matchParameters(checkpoint, description.declarations, description.naming)
  }
}

describe('the published 30B-A3B checkpoint', () => {
  it('has 28,010 tensors and 35,259,818,545 parameters', () => {
    expect(tensors.size).toBe(28_010)
    let parameters = 0
    for (const shape of tensors.values()) parameters += shape.reduce((product, extent) => product * extent, 1)
    expect(parameters).toBe(35_259_818_545)
  })

  it('maps to the graphs: no tensor is missing, and none is left', () => {
    using checkpoint = checkpointOf(tensors)
    const { sources, ignored } = matchParameters(checkpoint, description.declarations, description.naming)
    expect(ignored).toEqual([])
    const used = sources.reduce((count, source) => count + source.segments.length, 0)
    expect(used).toBe(28_010)
    let elements = 0
    for (const { declaration } of sources)
      elements += declaration.shape.reduce((product: number, extent: number) => product * extent, 1)
    expect(elements).toBe(35_259_818_545)
  })

  it('names a tensor that is missing, misshapen or unknown', () => {
    const name = 'thinker.model.layers.7.mlp.experts.90.up_proj.weight'
    expect(attempt((map) => map.delete(name))).toThrow(/layers\.7\.mlp\.experts\.up_proj\.weight/)
    expect(attempt((map) => map.set(name, [768, 2047]))).toThrow(/layers\.7\.mlp\.experts\.up_proj\.weight/)
    expect(attempt((map) => map.set('thinker.model.layers.48.norm.weight', [4]))).toThrow(/layers\.48\.norm\.weight/)
  })

  it('only the thinker and the talker may be stored in less than 8 bits', () => {
    const coarse = description.declarations.filter(({ precision }) => precision === 'coarse')
    const parts = new Set(coarse.map(({ name }) => name.split('.').slice(0, 2).join('.')))
    expect(parts).toEqual(
      new Set(['thinker.model', 'thinker.lm_head', 'talker.model', 'talker.codec_head', 'talker.text_projection', 'talker.hidden_projection']),
    )
  })

  it('has the facts that speech requires', () => {
    expect(description.contextLength).toBe(65_536)
    expect(description.speaks).toMatchObject({ sampleRate: 24_000, frameRate: 12.5 })
    expect(description.speaks?.speakers).toContain('ethan')
    const speech = parseConfig(json).speech?.ids
    expect(speech?.speakers.get('ethan')).toBe(2302)
    expect(speech?.codeGroups).toBe(16)
    expect(speech?.suppressedCodecIds.length).toBe(1023)
    expect(speech?.suppressedCodecIds).not.toContain(2150)
  })
})
