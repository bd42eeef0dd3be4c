/**
 * A GGUF file with the geometry of Qwen2.5-Omni-3B's thinker (36 layers, hidden 2048, feed-forward 11008, 16/2 heads)
 * and random weights, in the names and types of llama.cpp's `qwen2`, so that both sides run one file.
 *
 * Reference: the GGUF specification, version 3. Quantised weights are random blocks with scales that keep activations
 * finite.
 */

import { closeSync, existsSync, openSync, renameSync, writeSync } from 'node:fs'
import { randomBytes } from 'node:crypto'

import { tensorBytes, tensorTypes, type TensorType } from '../src/tensor/index.ts'

export const dense = {
  /** `OMNISERVE_BENCH_LAYERS` uses fewer layers, where 8k tokens of the whole would take too long. */
  layers: Number(process.env['OMNISERVE_BENCH_LAYERS'] ?? 36),
  hidden: 2048,
  feedForward: 11008,
  heads: 16,
  keyValueHeads: 2,
  headSize: 128,
  vocabulary: 151_936,
  rotaryBase: 1e6,
  epsilon: 1e-6,
} as const

export interface DenseTensor {
  readonly name: string
  readonly type: TensorType
  readonly shape: readonly number[]
  /** Bytes from the file's start. */
  readonly offset: number
}

type DenseType = 'q4_0' | 'q4_k' | 'q8_0'

const ALIGNMENT = 32

function tensorList(type: DenseType): Omit<DenseTensor, 'offset'>[] {
  const { hidden, feedForward, keyValueHeads, headSize, vocabulary, layers } = dense
  const kv = keyValueHeads * headSize
  const list: Omit<DenseTensor, 'offset'>[] = []
  const add = (name: string, tensorType: TensorType, ...shape: number[]): void => {
    list.push({ name, type: tensorType, shape })
  }
  add('token_embd.weight', type, hidden, vocabulary)
  add('output_norm.weight', 'f32', hidden)
  add('output.weight', type, hidden, vocabulary)
  for (let layer = 0; layer < layers; layer++) {
    const block = `blk.${layer}.`
    add(`${block}attn_norm.weight`, 'f32', hidden)
    add(`${block}ffn_norm.weight`, 'f32', hidden)
    for (const [name, out] of [
      ['attn_q', hidden],
      ['attn_k', kv],
      ['attn_v', kv],
    ] as const) {
      add(`${block}${name}.weight`, type, hidden, out)
      add(`${block}${name}.bias`, 'f32', out)
    }
    add(`${block}attn_output.weight`, type, hidden, hidden)
    add(`${block}ffn_gate.weight`, type, hidden, feedForward)
    add(`${block}ffn_up.weight`, type, hidden, feedForward)
    add(`${block}ffn_down.weight`, type, feedForward, hidden)
  }
  return list
}

/** Header bytes and where each tensor starts. */
function layOut(type: DenseType): { header: Buffer; tensors: DenseTensor[]; end: number } {
  const u32 = (value: number): Buffer => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(value)
    return bytes
  }
  const u64 = (value: number): Buffer => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(BigInt(value))
    return bytes
  }
  const f32 = (value: number): Buffer => {
    const bytes = Buffer.alloc(4)
    bytes.writeFloatLE(value)
    return bytes
  }
  const text = (value: string): Buffer => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)])
  const entries: Buffer[] = []
  const entry = (key: string, kind: number, value: Buffer): void => {
    entries.push(Buffer.concat([text(key), u32(kind), value]))
  }
  const [UINT, FLOAT, STRING, ARRAY] = [4, 6, 8, 9]
  entry('general.architecture', STRING, text('qwen2'))
  entry('general.name', STRING, text('random'))
  const sizes = {
    block_count: dense.layers,
    context_length: 32768,
    embedding_length: dense.hidden,
    feed_forward_length: dense.feedForward,
    'attention.head_count': dense.heads,
    'attention.head_count_kv': dense.keyValueHeads,
    vocab_size: dense.vocabulary,
  }
  for (const [key, value] of Object.entries(sizes)) entry(`qwen2.${key}`, UINT, u32(value))
  entry('qwen2.rope.freq_base', FLOAT, f32(dense.rotaryBase))
  entry('qwen2.attention.layer_norm_rms_epsilon', FLOAT, f32(dense.epsilon))
  entry('tokenizer.ggml.model', STRING, text('gpt2'))
  entry('tokenizer.ggml.pre', STRING, text('qwen2'))
  const words = Array.from({ length: dense.vocabulary }, (_, i) =>
    text(i < 256 ? String.fromCodePoint(i + 256) : `t${i}`),
  )
  entry('tokenizer.ggml.tokens', ARRAY, Buffer.concat([u32(STRING), u64(dense.vocabulary), ...words]))
  const kinds = Buffer.from(new Int32Array(dense.vocabulary).fill(1).buffer)
  entry('tokenizer.ggml.token_type', ARRAY, Buffer.concat([u32(5), u64(dense.vocabulary), kinds]))
  entry('tokenizer.ggml.merges', ARRAY, Buffer.concat([u32(STRING), u64(1), text('t t')]))
  entry('tokenizer.ggml.eos_token_id', UINT, u32(dense.vocabulary - 1))
  entry('tokenizer.ggml.bos_token_id', UINT, u32(dense.vocabulary - 2))
  const list = tensorList(type)
  let at = 0
  const relative = list.map((tensor) => {
    const offset = at
    at += Math.ceil(tensorBytes(tensor.type, tensor.shape) / ALIGNMENT) * ALIGNMENT
    return offset
  })
  const infos = list.map((tensor, i) =>
    Buffer.concat([
      text(tensor.name),
      u32(tensor.shape.length),
      ...tensor.shape.map(u64),
      u32(tensorTypes[tensor.type].id),
      u64(relative[i] ?? 0),
    ]),
  )
  const head = Buffer.concat([Buffer.from('GGUF'), u32(3), u64(list.length), u64(entries.length), ...entries, ...infos])
  const header = Buffer.concat([head, Buffer.alloc((ALIGNMENT - (head.length % ALIGNMENT)) % ALIGNMENT)])
  return {
    header,
    tensors: list.map((tensor, i) => ({ ...tensor, offset: header.length + (relative[i] ?? 0) })),
    end: header.length + at,
  }
}

/** Random blocks of a type whose weights have a standard deviation of a few hundredths. */
function randomBlocks(type: DenseType): Buffer {
  const { blockBytes } = tensorTypes[type]
  const count = 1 << 18
  const pool = randomBytes(count * blockBytes)
  for (let i = 0; i < count; i++) {
    if (type === 'q4_k') {
      // Scale and minimum of the block, f16.
      pool.writeUInt16LE(0x0600, i * blockBytes)
      pool.writeUInt16LE(0x0c00, i * blockBytes + 2)
    } else {
      // f16 scale near 0.004 (4 bits) or 0.0003 (8 bits).
      pool.writeUInt16LE((type === 'q4_0' ? 0x1c00 : 0x0c00) | ((i * 37) & 0xff), i * blockBytes)
    }
  }
  return pool
}

/** Writes the file once; returns where its tensors are, and the bytes of weights that each generated token reads. */
export function denseFile(path: string, type: DenseType): { tensors: DenseTensor[]; bytesPerToken: number } {
  const { header, tensors, end } = layOut(type)
  const bytesPerToken = tensors
    .filter(({ name }) => name !== 'token_embd.weight')
    .reduce((sum, tensor) => sum + tensorBytes(tensor.type, tensor.shape), 0)
  if (existsSync(path)) return { tensors, bytesPerToken }
  const pool = randomBlocks(type)
  const { blockBytes } = tensorTypes[type]
  const ones = Buffer.from(new Float32Array(dense.feedForward).fill(1).buffer)
  const small = Buffer.from(new Float32Array(dense.feedForward).fill(0.01).buffer)
  const fd = openSync(`${path}.tmp`, 'w')
  try {
    writeSync(fd, header, 0, header.length, 0)
    for (const tensor of tensors) {
      const bytes = tensorBytes(tensor.type, tensor.shape)
      if (tensor.type === 'f32') {
        writeSync(fd, tensor.name.endsWith('bias') ? small : ones, 0, bytes, tensor.offset)
        continue
      }
      for (let at = 0; at < bytes;) {
        const from = Math.floor(Math.random() * (pool.length / blockBytes / 2)) * blockBytes
        const length = Math.min(bytes - at, pool.length - from)
        writeSync(fd, pool, from, length, tensor.offset + at)
        at += length
      }
    }
    writeSync(fd, Buffer.alloc(1), 0, 1, end - 1)
  } finally {
    closeSync(fd)
  }
  renameSync(`${path}.tmp`, path)
  return { tensors, bytesPerToken }
}
