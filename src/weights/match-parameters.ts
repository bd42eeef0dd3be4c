/**
 * Strict agreement between a checkpoint and the model built from its config: every declared parameter is there with the
 * right shape, and every stored tensor is used or named as ignored.
 *
 * In: declarations (what the graphs ask for) and an opened checkpoint. Out: a recipe per parameter: which byte ranges,
 * joined, hold it, and how to rearrange them.
 */

import { EngineError } from '../contract/index.ts'
import type { ParameterDeclaration } from '../nn/parameters.ts'
import { layoutShape } from '../nn/layouts.ts'
import { type TensorType, toShape } from '../tensor/index.ts'
import { canonicalName } from './canonical-names.ts'
import { type Checkpoint, listOf, type StoredTensor } from './checkpoint.ts'
import type { StoredFloat } from './safetensors.ts'

/** How a model family's checkpoints name things. */
export interface CheckpointNaming {
  /** Stored tensors that no graph uses, by canonical name, and why. */
  readonly ignored?: readonly { readonly pattern: RegExp; readonly reason: string }[]
  /** Rewrites other spellings of stored names to the hub's. Default: {@link canonicalName}. */
  canonicalName?(name: string): string
}

interface Segment {
  readonly file: string
  readonly offset: number
  readonly length: number
}

export interface Recipe {
  readonly declaration: ParameterDeclaration
  readonly type: TensorType
  /** Joined in this order, the tensor's stored elements. */
  readonly segments: readonly Segment[]
  /** Whether the elements must be put in another order: `rearrange` of `nn/layouts.ts`, with the declared layout. */
  readonly rearranged: boolean
  /** PyTorch shape of the stored tensor; for converted files, their own. */
  readonly storedShape: readonly number[]
}

export interface MatchResult {
  readonly recipes: readonly Recipe[]
  /** Stored tensors left out, with the reason. */
  readonly ignored: readonly { readonly name: string; readonly reason: string }[]
}

/**
 * Finds every parameter's bytes.
 *
 * Throws `EngineError('bad_checkpoint')` listing all missing, misshapen, oddly typed and unused tensors at once.
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
  const recipes: Recipe[] = []
  const find = (name: string): StoredTensor | undefined => {
    const tensor = stored.get(name)
    if (tensor !== undefined) used.add(name)
    return tensor
  }
  for (const declaration of declarations) {
    const result = checkpoint.kind === 'converted' ? matchConverted(declaration, find) : matchStored(declaration, find)
    if (typeof result !== 'string') recipes.push(result)
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
      `the weights in ${checkpoint.location} do not fit its config.json: ${faults.join('; ')}`,
    )
  }
  return { recipes, ignored }
}

/** Converted files hold declared names already. */
function canonicalTensors(checkpoint: Checkpoint, naming: CheckpointNaming): ReadonlyMap<string, StoredTensor> {
  if (checkpoint.kind === 'converted') return checkpoint.tensors
  const byName = new Map<string, StoredTensor>()
  for (const [name, tensor] of checkpoint.tensors) {
    const canonical = naming.canonicalName?.(name) ?? canonicalName(name)
    const other = byName.get(canonical)
    if (other !== undefined) {
      throw new EngineError(
        'bad_checkpoint',
        `${checkpoint.location} holds ${canonical} twice, as ${other.name} and ${name}`,
      )
    }
    byName.set(canonical, tensor)
  }
  return byName
}

type Find = (name: string) => StoredTensor | undefined

/** A recipe, an empty text when a tensor is missing, or an error text. */
function matchConverted(declaration: ParameterDeclaration, find: Find): Recipe | string {
  const tensor = find(declaration.name)
  if (tensor === undefined) return ''
  if (!sameShape(toShape(tensor.shape), declaration.shape)) {
    return `is [${trim(tensor.shape).join(', ')}], should be [${trim(declaration.shape).join(', ')}]`
  }
  const { file, offset, length, type } = tensor
  if (type === 'u8') return 'is stored as u8'
  return { declaration, type, segments: [{ file, offset, length }], rearranged: false, storedShape: tensor.shape }
}

function matchStored(declaration: ParameterDeclaration, find: Find): Recipe | string {
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

/** The declared shape in the order that the checkpoint stores; `x` joins extents that a layout merges. */
function expectedShape({ layout, shape }: ParameterDeclaration, stored: readonly number[]): string {
  const [inner, outer] = shape
  switch (layout) {
    case 'plain':
    case 'experts':
      return `[${padded(trim(shape), stored.length).toReversed().join(', ')}]`
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

/** Stacks experts that are stored one by one, or takes its part of the fused tensors that transformers 5 writes. */
function matchExperts(declaration: ParameterDeclaration, find: Find): Recipe | string {
  const at = declaration.name.lastIndexOf('experts.')
  const prefix = declaration.name.slice(0, at + 'experts.'.length)
  const projection = declaration.name.slice(prefix.length)
  const [inside, outside, count] = declaration.shape
  const single = [outside, inside]
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
): Recipe | string {
  const [inside, outside, count] = declaration.shape
  const half = projection === 'gate_proj.weight' ? 0 : projection === 'up_proj.weight' ? 1 : undefined
  const tensor = find(half === undefined ? prefix + projection.replace(/\.weight$/, '') : `${prefix}gate_up_proj`)
  if (tensor === undefined) return ''
  const fault = floatFault(tensor)
  if (fault !== undefined) return fault
  const expected = [count, half === undefined ? outside : outside * 2, inside]
  if (!sameList(tensor.shape, expected)) {
    return `is [${tensor.shape.join(', ')}] fused, should be [${expected.join(', ')}]`
  }
  const { file, offset, length } = tensor
  const type = tensor.type as StoredFloat
  if (half === undefined) {
    return { declaration, type, segments: [{ file, offset, length }], rearranged: false, storedShape: tensor.shape }
  }
  const part = length / count / 2
  const segments = Array.from({ length: count }, (_, expert) => ({
    file,
    offset: offset + (expert * 2 + half) * part,
    length: part,
  }))
  return { declaration, type, segments, rearranged: false, storedShape: [count, outside, inside] }
}

function floatFault(tensor: StoredTensor): string | undefined {
  if (tensor.type === 'f32' || tensor.type === 'f16' || tensor.type === 'bf16') return undefined
  return `is stored as ${tensor.type}, which no weight may be`
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return sameList(trim(a), trim(b))
}

function sameList(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((extent, i) => extent === b[i])
}

/** With trailing ones up to `rank`. */
function padded(shape: readonly number[], rank: number): readonly number[] {
  return [...shape, ...Array.from({ length: Math.max(0, rank - shape.length) }, () => 1)]
}

/** Without trailing ones. */
function trim(shape: readonly number[]): readonly number[] {
  let rank = shape.length
  while (rank > 1 && shape[rank - 1] === 1) rank--
  return shape.slice(0, rank)
}
