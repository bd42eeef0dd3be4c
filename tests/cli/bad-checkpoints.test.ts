/** `omniserve serve` with a bad checkpoint: one line with the fault and the fix. */
import { copyFile, link, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { omniserve, temporaryFolder, tinyCheckpoint } from './run-cli.ts'

const moe = path.join(path.dirname(tinyCheckpoint), 'tiny-moe')

type Config = Record<string, unknown> & { thinker_config: { text_config: Record<string, unknown> } }

async function changeConfig(folder: string, change: (config: Config) => void): Promise<void> {
  const file = path.join(folder, 'config.json')
  const config: Config = JSON.parse(await readFile(file, 'utf8'))
  change(config)
  await writeFile(file, JSON.stringify(config))
}

/** Changes the header of model.safetensors, which keeps its length. */
async function changeHeader(folder: string, from: string, to: string): Promise<void> {
  const file = path.join(folder, 'model.safetensors')
  const bytes = await readFile(file)
  const header = bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE()))
  const changed = header.toString().replace(from, to).padEnd(header.length)
  expect(changed.length).toBe(header.length)
  header.write(changed)
  await writeFile(file, bytes)
}

/** The published configuration with the ids of the tokens that this tokenizer has. */
function withTokenIds(published: Record<string, unknown>, ours: Record<string, unknown>): Record<string, unknown> {
  const entries = Object.entries(published).map(([key, value]) => {
    const own = ours[key]
    if (key.endsWith('_token_id') && own !== undefined) return [key, own]
    const nested = isObject(value) && isObject(own)
    return [key, nested ? withTokenIds(value, own) : value]
  })
  return Object.fromEntries(entries) as Record<string, unknown>
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Weights as long as those of the published 30B-A3B, in a sparse file that takes no space. */
async function largeCheckpoint(folder: string): Promise<void> {
  const published = path.join(path.dirname(path.dirname(moe)), 'qwen3-omni-30b-a3b')
  const config: Record<string, unknown> = JSON.parse(await readFile(path.join(published, 'config.json'), 'utf8'))
  await changeConfig(folder, (ours) => Object.assign(ours, withTokenIds(config, ours)))
  const expand = (pattern: string): string[] => {
    const range = /\{(\d+)-(\d+)\}/.exec(pattern)
    if (!range) return [pattern]
    const numbers = Array.from({ length: Number(range[2]) - Number(range[1]) + 1 }, (_, i) => Number(range[1]) + i)
    return numbers.flatMap((number) => expand(pattern.replace(range[0], String(number))))
  }
  const header: Record<string, object> = {}
  let end = 0
  const [, ...lines] = (await readFile(path.join(published, 'weights.tsv'), 'utf8')).trim().split('\n')
  for (const line of lines) {
    const [pattern = '', extents = ''] = line.split('\t')
    const shape = extents.split('x').map(Number)
    for (const name of expand(pattern)) {
      const start = end
      end += shape.reduce((product, extent) => product * extent, 2)
      header[name] = { dtype: 'BF16', shape, data_offsets: [start, end] }
    }
  }
  const text = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  const file = path.join(folder, 'model.safetensors')
  await writeFile(file, Buffer.concat([length, text]))
  await truncate(file, 8 + text.length + end)
}

/** A copy of a checkpoint whose large files are links, but for model.safetensors. */
async function copyOf(checkpoint: string, folder: string): Promise<void> {
  await mkdir(folder)
  for (const name of await readdir(checkpoint)) {
    const [from, to] = [path.join(checkpoint, name), path.join(folder, name)]
    if (name.includes('-of-')) await link(from, to).catch(() => copyFile(from, to))
    else await copyFile(from, to)
  }
}

const cases: readonly (readonly [string, string, (folder: string) => Promise<unknown>, RegExp])[] = [
  [
    'of an unknown architecture',
    moe,
    (folder) => changeConfig(folder, (config) => (config['architectures'] = ['OtherForCausalLM'])),
    /is a OtherForCausalLM, which is not supported; supported are Qwen3OmniMoeForConditionalGeneration/,
  ],
  [
    'with a missing shard',
    tinyCheckpoint,
    (folder) => rm(path.join(folder, 'model-00003-of-00008.safetensors')),
    /lacks 1 of 8 weight files: model-00003-of-00008\.safetensors; finish the download/,
  ],
  [
    'that was cut short',
    moe,
    (folder) => truncate(path.join(folder, 'model.safetensors'), 3_000_000),
    /model\.safetensors is not a valid safetensors file: it is cut short: .* download it again/,
  ],
  [
    'whose tensors have other shapes than its configuration says',
    moe,
    (folder) => changeConfig(folder, (config) => (config.thinker_config.text_config['moe_intermediate_size'] = 48)),
    /do not match its config\.json: misshapen thinker\.model\.layers\.0\.\S+ expert 0 is \[32, 64\], should be \[48, 64\]/,
  ],
  [
    'of a format that is not read',
    moe,
    (folder) => changeHeader(folder, '"dtype":"BF16","shape":', '"dtype":"I16", "shape":'),
    /misshapen \S+ is stored as i16, should be f32, f16 or bf16/,
  ],
  [
    'quantised by another tool',
    moe,
    (folder) => changeConfig(folder, (config) => (config['quantization_config'] = { quant_method: 'awq', bits: 4 })),
    /is quantised \(awq\), which is not supported; get the bfloat16 checkpoint .* omniserve convert FOLDER --quantize q4_0/,
  ],
  [
    'without a tokenizer',
    moe,
    (folder) => rm(path.join(folder, 'tokenizer.json')),
    /has neither tokenizer\.json nor vocab\.json and merges\.txt; copy them/,
  ],
  [
    'too large for this machine',
    moe,
    largeCheckpoint,
    /needs 7\d\.\d GB of memory .* available: (converted with --quantize \w+ it would fit|no smaller type would fit \(q4_0 needs)/,
  ],
]

/** Readable lines on a terminal; JSON otherwise. */
function saidIn(errors: string): string[] {
  return errors
    .trim()
    .split('\n')
    .filter((line) => !line.startsWith('{'))
}

describe('omniserve serve of a checkpoint', () => {
  it.each(cases)('%s reports it in one line', async (_, checkpoint, spoil, expected) => {
    if (spoil === largeCheckpoint && process.availableMemory() > 65e9) return
    await using temporary = await temporaryFolder()
    const folder = path.join(temporary.path, 'checkpoint')
    await copyOf(checkpoint, folder)
    await spoil(folder)
    const { code, out, errors } = await omniserve(['serve', '--port', '0', '--model', folder])
    expect(errors).toMatch(expected)
    expect([code, out, saidIn(errors).length]).toEqual([3, '', 1])
  })
})

describe('omniserve serve on a device', () => {
  it.each([
    ['metal', /device metal does not exist on linux/],
    ['cuda', /device cuda needs the package @node-llama-cpp\/\S+: npm install @node-llama-cpp\//],
  ])('that is not here (%s) says what to do', async (device, expected) => {
    if (process.platform !== 'linux') return
    const { code, out, errors } = await omniserve(['serve', '--port', '0', '--model', moe, '--device', device])
    expect(errors).toMatch(expected)
    expect([code, out, saidIn(errors).length]).toEqual([2, '', 1])
  })
})
