import { cp, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ParameterRequest } from '../nn/index.ts'
import { type CheckpointNaming, matchParameters } from './match-parameters.ts'
import { openCheckpoint } from './open-checkpoint.ts'
import { readSafetensorsHeader } from './safetensors.ts'
import {
  bf16,
  declare,
  f32,
  safetensors,
  safetensorsOf,
  testConfig,
  type TestTensor,
  writeCheckpoint,
} from '../../testing/checkpoint-files.ts'

let root: string
let count = 0
const newPath = (): string => join(root, `case-${count++}`)
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'omniserve-weights-'))
})
afterAll(() => rm(root, { recursive: true }))

const badCheckpoint = (message: string) => ({
  code: 'bad_checkpoint',
  message: expect.stringContaining(message) as string,
})

describe('a safetensors file', () => {
  async function file(bytes: Uint8Array): Promise<string> {
    const path = `${newPath()}.safetensors`
    await writeFile(path, bytes)
    return path
  }
  const entry = (dtype: string, shape: number[], from: number, to: number) => ({
    dtype,
    shape,
    data_offsets: [from, to],
  })

  it('has a header with names, types, shapes and byte ranges', async () => {
    const path = await file(safetensors({ a: f32([2, 3], 1), b: bf16([4], 2) }))
    const { entries, metadata } = await readSafetensorsHeader(path)
    expect(metadata).toEqual({ format: 'pt' })
    const [a, b] = [entries.get('a')!, entries.get('b')!]
    expect(a).toMatchObject({ type: 'f32', shape: [2, 3], length: 24 })
    expect(b).toMatchObject({ type: 'bf16', shape: [4], length: 8, offset: a.offset + 24 })
    const bytes = await readFile(path)
    expect(new Uint8Array(bytes.subarray(a.offset, a.offset + 24))).toEqual(f32([2, 3], 1).data)
  })

  it.each([
    ['an empty file', Buffer.alloc(3), '3 bytes'],
    ['a header beyond the file', Buffer.from([255, 0, 0, 0, 0, 0, 0, 0, 123]), 'claims 255 bytes'],
    ['a header of impossible length', Buffer.from([255, 255, 255, 255, 255, 255, 255, 127]), 'claims'],
    [
      'a header that is not JSON',
      Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('{{')]),
      'not JSON',
    ],
    [
      'a header that is a list',
      Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('[]')]),
      'not a JSON object',
    ],
    ['truncated data', safetensorsOf({ a: entry('F32', [4], 0, 16) }, Buffer.alloc(10)), 'cut short: tensor a'],
    [
      'a size that does not match the shape',
      safetensorsOf({ a: entry('F32', [5], 0, 16) }, Buffer.alloc(16)),
      'needs 20 bytes but has 16',
    ],
    [
      'overlapping tensors',
      safetensorsOf({ a: entry('F32', [4], 0, 16), b: entry('F32', [4], 8, 24) }, Buffer.alloc(24)),
      'tensors a and b overlap',
    ],
    ['a gap', safetensorsOf({ a: entry('F32', [1], 4, 8) }, Buffer.alloc(8)), '4 bytes before tensor a'],
    ['extra bytes', safetensorsOf({ a: entry('F32', [1], 0, 4) }, Buffer.alloc(8)), '4 bytes at its end'],
    ['negative offsets', safetensorsOf({ a: entry('F32', [1], -4, 0) }, Buffer.alloc(4)), 'data_offsets'],
    ['a negative shape', safetensorsOf({ a: entry('F32', [-1], 0, 4) }, Buffer.alloc(4)), 'invalid shape'],
    [
      '8-bit floats',
      safetensorsOf({ a: entry('F8_E4M3', [4], 0, 4) }, Buffer.alloc(4)),
      'stored as F8_E4M3, which is not supported',
    ],
    ['unknown types', safetensorsOf({ a: entry('constructor', [4], 0, 4) }, Buffer.alloc(4)), 'not supported'],
  ])('with %s is refused', async (_, bytes, message) => {
    await expect(readSafetensorsHeader(await file(bytes))).rejects.toMatchObject(badCheckpoint(message))
  })

  it('that does not exist is refused', async () => {
    await expect(readSafetensorsHeader(join(root, 'none.safetensors'))).rejects.toMatchObject(
      badCheckpoint('cannot open'),
    )
  })
})

describe('a checkpoint folder', () => {
  it('opens with one file or with shards', async () => {
    using single = await openCheckpoint(await writeCheckpoint(newPath(), [{ a: f32([2], 1), b: bf16([3], 2) }]))
    expect([...single.tensors.keys()]).toEqual(['a', 'b'])
    expect(single).toMatchObject({ kind: 'folder', architecture: 'TestModel', config: testConfig })
    expect(await single.readText('tokenizer.json')).toBe('{"tokens": "grüße"}')
    expect(await single.readText('chat_template.json')).toBeUndefined()
    expect(single.describeTypes()).toBe('f32, bf16')
    using sharded = await openCheckpoint(await writeCheckpoint(newPath(), [{ a: f32([2], 1) }, { b: bf16([3], 2) }]))
    expect([...sharded.tensors.keys()]).toEqual(['a', 'b'])
  })

  it('opens for every naming scheme of the tiny checkpoints', async () => {
    for (const name of ['tiny-moe', 'tiny-mixed', 'tiny-dense', 'tiny-thinker']) {
      using checkpoint = await openCheckpoint(new URL(`../../testdata/checkpoints/${name}`, import.meta.url).pathname)
      expect(checkpoint.tensors.size).toBeGreaterThan(50)
    }
  })

  it('with missing files is refused, naming them', async () => {
    await expect(openCheckpoint(join(root, 'nowhere'))).rejects.toMatchObject(badCheckpoint('no checkpoint at'))
    const folder = await writeCheckpoint(newPath(), [{ a: f32([2], 1) }, { b: f32([2], 2) }, { c: f32([2], 3) }])
    await rm(join(folder, 'model-00002-of-00003.safetensors'))
    await expect(openCheckpoint(folder)).rejects.toMatchObject(
      badCheckpoint('lacks 1 of 3 weight files: model-00002-of-00003.safetensors; finish the download'),
    )
    await rm(join(folder, 'model.safetensors.index.json'))
    await expect(openCheckpoint(folder)).rejects.toMatchObject(badCheckpoint('neither model.safetensors nor'))
    await rm(join(folder, 'config.json'))
    await expect(openCheckpoint(folder)).rejects.toMatchObject(badCheckpoint('no config.json'))
  })

  it('with broken files is refused', async () => {
    const cut = await writeCheckpoint(newPath(), [{ a: f32([64], 1) }])
    await truncate(join(cut, 'model.safetensors'), 200)
    await expect(openCheckpoint(cut)).rejects.toMatchObject(badCheckpoint('cut short'))

    const mismatched = await writeCheckpoint(newPath(), [{ a: f32([2], 1) }, { b: f32([2], 2) }])
    await writeFile(join(mismatched, 'model-00002-of-00002.safetensors'), safetensors({ other: f32([2], 2) }))
    await expect(openCheckpoint(mismatched)).rejects.toMatchObject(
      badCheckpoint('model-00002-of-00002.safetensors lacks b'),
    )
    await writeFile(
      join(mismatched, 'model-00002-of-00002.safetensors'),
      safetensors({ a: f32([2], 2), b: f32([2], 2) }),
    )
    await expect(openCheckpoint(mismatched)).rejects.toMatchObject(badCheckpoint('tensor a is in both'))

    const escaping = await writeCheckpoint(newPath(), [{ a: f32([2], 1) }, { b: f32([2], 2) }])
    await writeFile(join(escaping, 'model.safetensors.index.json'), '{"weight_map":{"a":"../../etc/passwd"}}')
    await expect(openCheckpoint(escaping)).rejects.toMatchObject(badCheckpoint('places a in'))
    await writeFile(join(escaping, 'model.safetensors.index.json'), '{}')
    await expect(openCheckpoint(escaping)).rejects.toMatchObject(badCheckpoint('no weight_map'))
    await writeFile(join(escaping, 'config.json'), '{"architectures": []}')
    await expect(openCheckpoint(escaping)).rejects.toMatchObject(badCheckpoint('names no architecture'))
    await writeFile(join(escaping, 'config.json'), '{')
    await expect(openCheckpoint(escaping)).rejects.toMatchObject(badCheckpoint('config.json'))
  })

  it('of another architecture is refused', async () => {
    const folder = await writeCheckpoint(newPath(), [{ a: f32([2], 1) }])
    await expect(openCheckpoint(folder, { supported: ['OtherModel', 'ThirdModel'] })).rejects.toMatchObject(
      badCheckpoint('is a TestModel, which is not supported; supported are OtherModel, ThirdModel'),
    )
  })
})

describe('matching parameters with tensors', () => {
  const requests: Record<string, ParameterRequest> = {
    'norm.weight': { shape: [64] },
    'linear.weight': { shape: [64, 32], use: 'matmul' },
    'gate.weight': { shape: [64, 1], use: 'matmul' },
    'conv.weight': { shape: [24, 16], use: 'matmul', layout: 'conv-windows' },
    'patch.weight': { shape: [96, 16], use: 'matmul', layout: 'conv-flat' },
    'mlp.experts.gate_proj.weight': { shape: [64, 32, 3], use: 'experts', layout: 'experts' },
    'mlp.experts.up_proj.weight': { shape: [64, 32, 3], use: 'experts', layout: 'experts' },
    'mlp.experts.down_proj.weight': { shape: [32, 64, 3], use: 'experts', layout: 'experts' },
  }
  const experts = (numbers: readonly number[]): Record<string, TestTensor> =>
    Object.fromEntries(
      numbers.flatMap((e) => [
        [`mlp.experts.${e}.gate_proj.weight`, f32([32, 64], 20 + e)],
        [`mlp.experts.${e}.up_proj.weight`, f32([32, 64], 30 + e)],
        [`mlp.experts.${e}.down_proj.weight`, f32([64, 32], 40 + e)],
      ]),
    )
  const plain: Record<string, TestTensor> = {
    'norm.weight': f32([64], 1),
    'linear.weight': f32([32, 64], 2),
    'gate.weight': f32([1, 64], 3),
    'conv.weight': f32([16, 8, 3], 4),
    'patch.weight': f32([16, 3, 2, 4, 4], 5),
  }
  const match = async (tensors: Record<string, TestTensor>, naming?: CheckpointNaming) => {
    using checkpoint = await openCheckpoint(await writeCheckpoint(newPath(), [tensors]))
    return matchParameters(checkpoint, declare(requests), naming)
  }

  it('accepts separate and fused experts', async () => {
    const single = await match({ ...plain, ...experts([0, 1, 2]) })
    expect(single.sources.map((parameter) => parameter.declaration.name)).toEqual(Object.keys(requests))
    expect(single.sources.find((parameter) => parameter.declaration.name.includes('up_proj'))!.segments).toHaveLength(3)
    const fused = await match({
      ...plain,
      'mlp.experts.gate_up_proj': f32([3, 64, 64], 6),
      'mlp.experts.down_proj': f32([3, 64, 32], 7),
    })
    const up = fused.sources.find((parameter) => parameter.declaration.name.includes('up_proj'))!
    expect(up.segments.map(({ length }) => length)).toEqual([8192, 8192, 8192])
    expect(up.segments[1]!.offset - up.segments[0]!.offset).toBe(16384)
  })

  it('lists all missing, misshapen and unused tensors in one error', async () => {
    const { 'norm.weight': _, ...rest } = plain
    await expect(
      match({
        ...rest,
        ...experts([0, 2]),
        'linear.weight': f32([64, 32], 2),
        'new.weight': f32([1], 9),
        'new.bias': f32([1], 9),
      }),
    ).rejects.toMatchObject({
      code: 'bad_checkpoint',
      message: expect.stringMatching(
        /missing norm\.weight; misshapen linear\.weight is \[64, 32\].*gate_proj\.weight lacks expert 1 of 3.*not used by the model .*new\.weight, new\.bias/,
      ) as string,
    })
  })

  it.each<[string, TestTensor, string]>([
    ['linear.weight', f32([64, 32], 1), 'is [64, 32], should be [32, 64]'],
    ['norm.weight', f32([2, 32], 1), 'is [2, 32], should be [1, 64]'],
    ['conv.weight', f32([24, 16], 1), 'is [24, 16], should be [16, inputs, kernel] with inputs x kernel = 24'],
    ['conv.weight', f32([16, 8, 5], 1), 'is [16, 8, 5], should be [16, 8, 3]'],
    ['patch.weight', f32([16, 3, 2, 4, 2], 1), 'is [16, 3, 2, 4, 2], should be [16, ...] with 96 elements in each row'],
  ])('reports the expected shape of %s in PyTorch order', async (name, tensor, message) => {
    await expect(match({ ...plain, ...experts([0, 1, 2]), [name]: tensor })).rejects.toMatchObject(
      badCheckpoint(`misshapen ${name} ${message}`),
    )
  })

  it.each<[string, Record<string, TestTensor>, string]>([
    ['too many experts', experts([0, 1, 2, 3]), 'not used by the model mlp.experts.3'],
    [
      'a misshapen expert',
      { ...experts([0, 1, 2]), 'mlp.experts.1.up_proj.weight': f32([32, 32], 1) },
      'expert 1 is [32, 32]',
    ],
    [
      'experts of different types',
      { ...experts([0, 1, 2]), 'mlp.experts.1.up_proj.weight': bf16([32, 64], 1) },
      'types f32 and bf16',
    ],
    [
      'a different number of fused experts',
      { 'mlp.experts.gate_up_proj': f32([4, 64, 64], 6), 'mlp.experts.down_proj': f32([3, 64, 32], 7) },
      'is [4, 64, 64] fused, should be [3, 64, 64]',
    ],
    [
      'an integer weight',
      { ...experts([0, 1, 2]), 'norm.weight': { dtype: 'I64', shape: [64], data: new Uint8Array(512) } },
      'norm.weight is stored as i64',
    ],
    [
      'a convolution with another kernel',
      { ...experts([0, 1, 2]), 'conv.weight': f32([16, 8, 5], 1) },
      'conv.weight is [16, 8, 5]',
    ],
  ])('refuses %s', async (_, change, message) => {
    await expect(match({ ...plain, ...change })).rejects.toMatchObject(badCheckpoint(message))
  })

  it('uses the canonical names and ignored tensors of the family', async () => {
    const { 'norm.weight': norm, ...rest } = plain
    const { ignored } = await match(
      { ...rest, ...experts([0, 1, 2]), 'model.norm.weight': norm!, 'rotary.inv_freq': f32([2], 1) },
      {
        canonicalName: (name) => name.replace(/^model\./, ''),
        ignored: [{ pattern: /inv_freq$/, reason: 'computed from the config' }],
      },
    )
    expect(ignored).toEqual([{ name: 'rotary.inv_freq', reason: 'computed from the config' }])
    await expect(
      match(
        { ...plain, ...experts([0, 1, 2]), 'model.norm.weight': norm! },
        { canonicalName: (name) => name.replace(/^model\./, '') },
      ),
    ).rejects.toMatchObject(badCheckpoint('contains norm.weight twice'))
  })

  it('accepts missing optional parameters, but not with a wrong shape', async () => {
    const match = async (tensors: Record<string, TestTensor>) => {
      using checkpoint = await openCheckpoint(await writeCheckpoint(newPath(), [tensors]))
      return matchParameters(checkpoint, declare({ a: { shape: [2] }, b: { shape: [3], optional: true } }))
    }
    const names = async (tensors: Record<string, TestTensor>): Promise<string[]> =>
      (await match(tensors)).sources.map(({ declaration }) => declaration.name)
    expect(await names({ a: f32([2], 1) })).toEqual(['a'])
    expect(await names({ a: f32([2], 1), b: f32([3], 2) })).toEqual(['a', 'b'])
    await expect(match({ a: f32([2], 1), b: f32([4], 2) })).rejects.toMatchObject(badCheckpoint('misshapen b is [4]'))
    await expect(match({ b: f32([3], 2) })).rejects.toMatchObject(badCheckpoint('missing a'))
  })

  it('accepts names of the hub and of transformers 5', async () => {
    const copy = newPath()
    await cp(new URL('../../testdata/checkpoints/tiny-dense', import.meta.url).pathname, copy, { recursive: true })
    using checkpoint = await openCheckpoint(copy)
    const { sources } = matchParameters(
      checkpoint,
      declare({ 'thinker.model.norm.weight': { shape: [64] }, 'thinker.audio_tower.ln_post.bias': { shape: [32] } }),
      { ignored: [{ pattern: /./, reason: 'not part of this test' }] },
    )
    expect(sources).toHaveLength(2)
  })
})
