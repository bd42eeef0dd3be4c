/**
 * Token ids to text, one at a time: a character comes out once all its bytes are in, never in part.
 *
 * Out, joined: the same text as decoding all ids at once.
 */

import type { PromptTokenizer } from './tokenizer.ts'

export interface Detokenizer {
  /** Text completed by this id; empty while a character is still unfinished and for special tokens. */
  push(id: number): string
  /** The bytes of an unfinished character (U+FFFD), or an empty text. The detokenizer starts afresh. */
  finish(): string
}

/** `skipSpecial` (default true) hides special tokens such as `<|im_end|>`; added but not special ones stay. */
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
