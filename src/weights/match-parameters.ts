/**
 * Matches a checkpoint's tensors with a model's declared parameters. Strict: every parameter has a tensor of the right
 * shape, and every tensor is used or explicitly ignored.
 *
 * In: declarations and an opened checkpoint. Out: for each parameter its {@link ParameterSource}, the byte ranges that
 * contain it and whether they must be rearranged.
 */

import { EngineError } from '../contract/index.ts'
import type { ParameterDeclaration } from '../nn/parameters.ts'
import { layoutShape } from '../nn/layouts.ts'
import { type TensorType, toShape, trimShape } from '../tensor/index.ts'
import { canonicalName } from './canonical-names.ts'
import type { Checkpoint, StoredTensor } from './checkpoint.ts'
import { listOf } from './list-of.ts'
import type { StoredFloat } from './safetensors.ts'

/** Names in the checkpoints of a model family. */
export interface CheckpointNaming {
  /** Stored tensors to ignore, by canonical name, with the reason. */
  readonly ignored?: readonly { readonly pattern: RegExp; readonly reason: string }[]
  /** The name on the hub of a stored tensor. Default: {@link canonicalName}. */
  canonicalName?(name: string): string
}

interface Segment {
  readonly file: string
  readonly offset: number
  readonly length: number
}

export interface ParameterSource {
  readonly declaration: ParameterDeclaration
  readonly type: TensorType
  /** Concatenated in this order, they are the parameter's stored elements. */
  readonly segments: readonly Segment[]
  /** Whether the elements must be reordered by `rearrange` of `nn/layouts.ts`, with the declared layout. */
  readonly rearranged: boolean
  /** PyTorch shape of the stored tensor; for converted files, the shape in ggml order. */
  readonly storedShape: readonly number[]
}

export interface MatchResult {
  readonly sources: readonly ParameterSource[]
  /** Ignored tensors, with the reason. */
  readonly ignored: readonly { readonly name: string; readonly reason: string }[]
}

/**
 * Finds every parameter's bytes.
 *
 * Throws `EngineError('bad_checkpoint')` with all tensors that are missing, unused, or have a wrong shape or type.
 */
export function matchParameters(
  checkpoint: Checkpoint,
  declarations: readonly ParameterDeclaration[],
  naming: CheckpointNaming = {},
): MatchResult {
  const stored = canonicalTensors(checkpoint, naming)
  const used = new Set<string>()
  const missing: string[] = []
  const wrong: string[] = []
  const sources: ParameterSource[] = []
  const find = (name: string): StoredTensor | undefined => {
    const tensor = stored.get(name)
    if (tensor !== undefined) used.add(name)
    return tensor
  }
  for (const declaration of declarations) {
    const result = checkpoint.kind === 'converted' ? matchConverted(declaration, find) : matchStored(declaration, find)
    if (typeof result !== 'string') sources.push(result)
    else if (result === '') {
      if (!declaration.optional) missing.push(declaration.name)
    } else wrong.push(`${declaration.name} ${result}`)
  }
  const ignored: { name: string; reason: string }[] = []
  const extra: string[] = []
  for (const [canonical, { name }] of stored) {
    if (used.has(canonical)) continue
    const rule = naming.ignored?.find(({ pattern }) => pattern.test(canonical))
    if (rule === undefined) extra.push(name)
    else ignored.push({ name, reason: rule.reason })
  }
  const faults = [
    ...(missing.length > 0 ? [`missing ${listOf(missing)}`] : []),
    ...(wrong.length > 0 ? [`misshapen ${listOf(wrong)}`] : []),
    ...(extra.length > 0 ? [`not used by the model ${listOf(extra)}`] : []),
  ]
  if (faults.length > 0) {
    throw new EngineError(
      'bad_checkpoint',
      `the weights in ${checkpoint.location} do not match its config.json: ${faults.join('; ')}`,
    )
  }
  return { sources, ignored }
}

/** Tensors by canonical name. Converted files already have declared names. */
function canonicalTensors(checkpoint: Checkpoint, naming: CheckpointNaming): ReadonlyMap<string, StoredTensor> {
  if (checkpoint.kind === 'converted') return checkpoint.tensors
  const byName = new Map<string, StoredTensor>()
  for (const [name, tensor] of checkpoint.tensors) {
    const canonical = naming.canonicalName?.(name) ?? canonicalName(name)
    const other = byName.get(canonical)
    if (other !== undefined) {
      throw new EngineError(
        'bad_checkpoint',
        `${checkpoint.location} contains ${canonical} twice, as ${other.name} and ${name}`,
      )
    }
    byName.set(canonical, tensor)
  }
  return byName
}

type Find = (name: string) => StoredTensor | undefined

/** Returns the source, an empty string when a tensor is missing, or an error text. */
function matchConverted(declaration: ParameterDeclaration, find: Find): ParameterSource | string {
  const tensor = find(declaration.name)
  if (tensor === undefined) return ''
  if (!sameShape(toShape(tensor.shape), declaration.shape)) {
    return `is [${trimShape(tensor.shape).join(', ')}], should be [${trimShape(declaration.shape).join(', ')}]`
  }
  const { file, offset, length, type } = tensor
  if (type === 'u8') return 'is stored as u8'
  return { declaration, type, segments: [{ file, offset, length }], rearranged: false, storedShape: tensor.shape }
}

function matchStored(declaration: ParameterDeclaration, find: Find): ParameterSource | string {
  if (declaration.layout === 'experts') return matchExperts(declaration, find)
  const tensor = find(declaration.name)
  if (tensor === undefined) return ''
  const { shape } = tensor
  const fault = floatFault(tensor)
  if (fault !== undefined) return fault
  const expected = declaration.shape
  const { layout } = declaration
  const actual = layoutShape(layout, shape)
  if (actual.length > 4 || !sameShape(actual, expected)) {
    return `is [${shape.join(', ')}], should be ${expectedShape(declaration, shape)}`
  }
  return {
    declaration,
    type: tensor.type as StoredFloat,
    segments: [tensor],
    rearranged: layout === 'conv-windows' || layout === 'conv-columns',
    storedShape: shape,
  }
}

/** The declared shape in the order of the checkpoint; `x` joins dimensions that a layout merges. */
function expectedShape({ layout, shape }: ParameterDeclaration, stored: readonly number[]): string {
  const [inner, outer] = shape
  switch (layout) {
    case 'plain':
    case 'experts':
      return `[${padded(trimShape(shape), stored.length).toReversed().join(', ')}]`
    case 'conv-windows':
      return inner % (stored[1] ?? 1) === 0
        ? `[${outer}, ${stored[1] ?? 1}, ${inner / (stored[1] ?? 1)}]`
        : `[${outer}, inputs, kernel] with inputs x kernel = ${inner}`
    case 'conv-columns':
      return outer % (stored[1] ?? 1) === 0
        ? `[${inner}, ${stored[1] ?? 1}, ${outer / (stored[1] ?? 1)}]`
        : `[${inner}, outputs, kernel] with outputs x kernel = ${outer}`
    case 'conv-flat':
      return `[${outer}, ...] with ${inner} elements in each row`
    default:
      return layout satisfies never
  }
}

/** Matches experts that are stored separately, or fused as transformers 5 writes them. */
function matchExperts(declaration: ParameterDeclaration, find: Find): ParameterSource | string {
  const start = declaration.name.lastIndexOf('experts.')
  const prefix = declaration.name.slice(0, start + 'experts.'.length)
  const projection = declaration.name.slice(prefix.length)
  const [inner, outer, count] = declaration.shape
  const single = [outer, inner]
  const segments: Segment[] = []
  let type: StoredFloat | undefined
  for (let expert = 0; expert < count; expert++) {
    const tensor = find(`${prefix}${expert}.${projection}`)
    if (tensor === undefined) {
      if (expert > 0) return `lacks expert ${expert} of ${count}`
      return matchFusedExperts(declaration, prefix, projection, find)
    }
    const fault = floatFault(tensor)
    if (fault !== undefined) return fault
    if (!sameList(tensor.shape, single)) {
      return `expert ${expert} is [${tensor.shape.join(', ')}], should be [${single.join(', ')}]`
    }
    if (type !== undefined && tensor.type !== type) return `has experts of types ${type} and ${tensor.type}`
    type = tensor.type as StoredFloat
    segments.push(tensor)
  }
  return { declaration, type: type!, segments, rearranged: false, storedShape: [count, ...single] }
}

function matchFusedExperts(
  declaration: ParameterDeclaration,
  prefix: string,
  projection: string,
  find: Find,
): ParameterSource | string {
  const [inner, outer, count] = declaration.shape
  const half = projection === 'gate_proj.weight' ? 0 : projection === 'up_proj.weight' ? 1 : undefined
  const tensor = find(half === undefined ? prefix + projection.replace(/\.weight$/, '') : `${prefix}gate_up_proj`)
  if (tensor === undefined) return ''
  const fault = floatFault(tensor)
  if (fault !== undefined) return fault
  const expected = [count, half === undefined ? outer : outer * 2, inner]
  if (!sameList(tensor.shape, expected)) {
    return `is [${tensor.shape.join(', ')}] fused, should be [${expected.join(', ')}]`
  }
  const { file, offset, length } = tensor
  const type = tensor.type as StoredFloat
  if (half === undefined) {
    return { declaration, type, segments: [{ file, offset, length }], rearranged: false, storedShape: tensor.shape }
  }
  // gate_proj and up_proj of each expert follow each other.
  const part = length / count / 2
  const segments = Array.from({ length: count }, (_, expert) => ({
    file,
    offset: offset + (expert * 2 + half) * part,
    length: part,
  }))
  return { declaration, type, segments, rearranged: false, storedShape: [count, outer, inner] }
}

function floatFault(tensor: StoredTensor): string | undefined {
  if (tensor.type === 'f32' || tensor.type === 'f16' || tensor.type === 'bf16') return undefined
  return `is stored as ${tensor.type}, should be f32, f16 or bf16`
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return sameList(trimShape(a), trimShape(b))
}

function sameList(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i])
}

/** Adds trailing ones up to `rank` dimensions. */
function padded(shape: readonly number[], rank: number): readonly number[] {
  return [...shape, ...Array.from({ length: Math.max(0, rank - shape.length) }, () => 1)]
}
