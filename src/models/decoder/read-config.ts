/**
 * Reads the decoder section of a family's config.json, in the format of transformers 4 or 5.
 *
 * In: the object that describes a decoder. Out: values, or `EngineError('bad_checkpoint')` naming the key.
 */

import { toActivation, type Activation } from '../../nn/index.ts'
import { TensorError } from '../../tensor/index.ts'
import type { ConfigReader } from '../config-reader.ts'

export function readActivation(reader: ConfigReader, key: string, fallback: string): Activation {
  try {
    return toActivation(reader.string(key, fallback))
  } catch (error) {
    if (error instanceof TensorError) reader.fail(key, error.message)
    throw error
  }
}

interface Heads {
  readonly heads: number
  readonly keyValueHeads: number
  readonly headSize: number
}

export function readHeads(reader: ConfigReader, hidden: number): Heads {
  const heads = reader.integer('num_attention_heads')
  const keyValueHeads = reader.integer('num_key_value_heads', { fallback: heads })
  if (heads % keyValueHeads !== 0)
    reader.fail('num_key_value_heads', `is ${keyValueHeads}, which does not divide ${heads}`)
  const headSize = reader.integer('head_dim', { fallback: Math.floor(hidden / heads) })
  if (headSize === 0) reader.fail('num_attention_heads', `is ${heads}, more than hidden_size, which is ${hidden}`)
  if (headSize % 2 !== 0) reader.fail('head_dim', 'should be even')
  return { heads, keyValueHeads, headSize }
}

interface Rope {
  readonly base: number
  /** The object with further keys, such as `mrope_section`. Absent when only a base is given. */
  readonly object: ConfigReader | undefined
}

/** Reads `rope_parameters`, or `rope_theta` with `rope_scaling`. Only the default type is supported. */
export function readRope(reader: ConfigReader, fallbackBase: number): Rope {
  const key = ['rope_parameters', 'rope_scaling'].find((name) => reader.has(name))
  const object = key === undefined ? undefined : reader.object(key)
  if (object) {
    for (const name of ['rope_type', 'type']) {
      const type = object.string(name, 'default')
      if (type !== 'default' && type !== 'mrope') object.fail(name, `is ${type}; only default is supported`)
    }
  }
  const base = object?.has('rope_theta') ? object.rotaryBase('rope_theta') : reader.rotaryBase('rope_theta', fallbackBase)
  return { base, object }
}

/**
 * Sliding window attention is not supported. A window at least as long as the context has no effect, so it is accepted.
 */
export function refuseSlidingWindow(
  reader: ConfigReader,
  context: number,
  { switchable = false }: { /** Whether the family reads `use_sliding_window`. */ readonly switchable?: boolean } = {},
): void {
  if (!reader.has('sliding_window')) return
  if (switchable && !reader.boolean('use_sliding_window', false)) return
  const window = reader.integer('sliding_window')
  if (window < context)
    reader.fail(
      'sliding_window',
      `is ${window}; windows shorter than the context of ${context} are not supported`,
    )
}
