/**
 * Streaming detokenizer: a character is returned once all of its bytes are known.
 *
 * In: token ids, one at a time. Out: pieces whose concatenation equals decoding all ids at once.
 */

import type { PromptTokenizer } from './tokenizer.ts'

export interface Detokenizer {
  /** The text that this id completes. Empty while a character is incomplete, and for special tokens. */
  push(id: number): string
  /** The bytes of an incomplete character (as U+FFFD), or an empty text. Resets the detokenizer. */
  finish(): string
}

/** `skipSpecial` (default true) removes special tokens such as `<|im_end|>`, but not other added tokens. */
export function createDetokenizer(tokenizer: PromptTokenizer, options: { skipSpecial?: boolean } = {}): Detokenizer {
  const skipSpecial = options.skipSpecial ?? true
  const text = new TextDecoder('utf-8', { ignoreBOM: true })
  return {
    push(id) {
      if (skipSpecial && tokenizer.addedToken(id)?.special === true) return ''
      return text.decode(tokenizer.bytesOf(id), { stream: true })
    },
    finish: () => text.decode(),
  }
}
