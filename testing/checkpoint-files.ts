/** Small checkpoint folders written from numbers, and matching declarations. */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { declareParameters, type ParameterDeclaration, type ParameterRequest } from '../src/nn/index.ts'

export interface TestTensor {
  readonly dtype: 'F32' | 'F16' | 'BF16' | 'I64' | 'F8_E4M3'
  /** PyTorch order. */
  readonly shape: readonly number[]
  readonly data: Uint8Array
}

/** Deterministic values that differ everywhere. */
export function values(count: number, seed: number): Float32Array {
  let state = seed * 2654435761
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return state / 2 ** 31
  })
}

export function f32(shape: readonly number[], seed: number): TestTensor {
  const data = values(
    shape.reduce((a, b) => a * b, 1),
    seed,
  )
  return { dtype: 'F32', shape, data: new Uint8Array(data.buffer) }
}

/** Truncated to bfloat16. */
export function bf16(shape: readonly number[], seed: number): TestTensor {
  const wide = new Uint16Array(
    values(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ).buffer,
  )
  return { dtype: 'BF16', shape, data: new Uint8Array(wide.filter((_, i) => i % 2 === 1).buffer) }
}

export function safetensors(tensors: Readonly<Record<string, TestTensor>>): Buffer {
  let at = 0
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } }
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [at, at + data.length] }
    at += data.length
  }
  return safetensorsOf(header, Buffer.concat(Object.values(tensors).map(({ data }) => data)))
}

export function safetensorsOf(header: object, data: Uint8Array): Buffer {
  const json = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  return Buffer.concat([length, json, data])
}

export const testConfig = { architectures: ['TestModel'], model_type: 'test' }

/** Writes config.json, tokenizer.json and one or more safetensors files. */
export async function writeCheckpoint(
  folder: string,
  shards: readonly Readonly<Record<string, TestTensor>>[],
  config: object = testConfig,
): Promise<string> {
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'config.json'), JSON.stringify(config))
  await writeFile(join(folder, 'tokenizer.json'), '{"tokens": "grüße"}')
  if (shards.length === 1) {
    await writeFile(join(folder, 'model.safetensors'), safetensors(shards[0]!))
    return folder
  }
  const map: Record<string, string> = {}
  for (const [index, tensors] of shards.entries()) {
    const file = `model-0000${index + 1}-of-0000${shards.length}.safetensors`
    for (const name of Object.keys(tensors)) map[name] = file
    await writeFile(join(folder, file), safetensors(tensors))
  }
  await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: map }))
  return folder
}

export function declare(requests: Readonly<Record<string, ParameterRequest>>): ParameterDeclaration[] {
  return declareParameters((parameters) => {
    for (const [name, request] of Object.entries(requests)) parameters.get(name, request)
  })
}
