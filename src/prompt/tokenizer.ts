/**
 * Byte-level BPE tokenizer of the Qwen family.
 *
 * In: a checkpoint's tokenizer files. Out: ids. Text of the conversation (`encodeText`) is separate from text of the
 * chat template (`encodeMarkup`): only the latter can contain special tokens.
 *
 * Reference: Hugging Face `tokenizers` (Rust) as driven by transformers `Qwen2TokenizerFast`.
 */

import { Tokenizer as HubTokenizer } from '@huggingface/tokenizers'
import { EngineError } from '../contract/index.ts'
import { byteOfCharacter } from './byte-level.ts'
import { type CheckpointFiles, isObject } from './checkpoint-files.ts'
import { readVocabulary } from './qwen-vocabulary.ts'
import { TokenizerThread } from './tokenizer-thread.ts'

/** Length in UTF-16 units above which a text is tokenized in a thread. Shorter texts are fast, even without spaces. */
const longText = 8192

/** A token outside the BPE vocabulary, such as `<|im_start|>` or `<think>`. */
export interface AddedToken {
  readonly id: number
  readonly content: string
  /** Special tokens are not displayed. `<think>` and `<tool_call>` are added tokens, but not special. */
  readonly special: boolean
}

export interface PromptTokenizer {
  /** One more than the largest id. */
  readonly vocabSize: number
  readonly addedTokens: readonly AddedToken[]
  /** Ids of untrusted text. `<|im_start|>` in it is tokenized as plain characters. */
  encodeText(text: string): number[]
  /**
   * Ids of trusted text with added tokens. Every `marker` character is removed before encoding, so a token that
   * contains a marker is plain text (see `neutralise` in chat-template.ts).
   */
  encodeMarkup(text: string, marker?: string): number[]
  /** As `encodeMarkup`, in a separate thread for a long text. Rejects with the signal's reason once aborted. */
  encodeMarkupLater(text: string, marker?: string, signal?: AbortSignal): Promise<readonly number[] | Int32Array>
  /** A lower bound of the number of ids of `encodeMarkup`, without the time and memory that ids take. */
  fewestTokens(text: string, marker?: string): number
  /** The id of a token by its text in the vocabulary, or undefined. */
  idOf(token: string): number | undefined
  /** The added token with this id, or undefined for an ordinary token. */
  addedToken(id: number): AddedToken | undefined
  /** The bytes of an id. Empty for unknown ids (padding of the embedding table). */
  bytesOf(id: number): Uint8Array
  /** Text of ids. Bytes that are not UTF-8 become U+FFFD. `skipSpecial` removes special tokens. */
  decode(ids: Iterable<number>, options?: { skipSpecial?: boolean }): string
}

/**
 * Loads tokenizer.json (or vocab.json and merges.txt without it) and tokenizer_config.json.
 *
 * Throws `EngineError('bad_checkpoint')` when the file is missing, invalid, or not byte-level BPE.
 */
export function loadTokenizer(files: CheckpointFiles): PromptTokenizer {
  const config = files.json('tokenizer_config.json') ?? {}
  const definition = files.json('tokenizer.json') ?? readVocabulary(files, config)
  if (definition === undefined) {
    throw new EngineError(
      'bad_checkpoint',
      `${files.location} has neither tokenizer.json nor vocab.json and merges.txt; copy them from the checkpoint's hub page`,
    )
  }
  try {
    return createTokenizer(definition, config, files.text('tokenizer.json'))
  } catch (error) {
    if (error instanceof EngineError) throw error
    throw new EngineError(
      'bad_checkpoint',
      `tokenizer.json in ${files.location} cannot be used: ${(error as Error).message}`,
      { cause: error },
    )
  }
}

/** Builds a tokenizer from the parsed tokenizer.json and tokenizer_config.json. @param text tokenizer.json as text. */
export function createTokenizer(definition: object, config: object = {}, text?: string): PromptTokenizer {
  const decoder = (definition as { decoder?: unknown }).decoder
  if (!isObject(decoder) || decoder.type !== 'ByteLevel') {
    throw new EngineError(
      'bad_checkpoint',
      'tokenizer.json: decoder.type must be ByteLevel; other tokenizer kinds are not supported',
    )
  }
  const inner = new HubTokenizer(definition, config)
  const model = inner.model
  if (model === null) throw new Error('it has no model')
  const added: AddedToken[] = [...inner.get_added_tokens_decoder().values()].map(({ id, content, special }) => ({
    id,
    content,
    special,
  }))
  const addedById = new Map(added.map((token) => [token.id, token]))
  const addedByContent = new Map(added.map((token) => [token.content, token]))
  // Leftmost, longest match, as the Rust library does.
  const splitter =
    added.length === 0
      ? undefined
      : new RegExp(
          `(${[...addedByContent.keys()]
            .toSorted((a, b) => b.length - a.length)
            .map(escapeRegExp)
            .join('|')})`,
          'u',
        )
  const utf8 = new TextEncoder()
  const vocabSize = Math.max(model.vocab.length, ...added.map((token) => token.id + 1))

  function encodeText(text: string): number[] {
    if (text === '') return []
    const normal = inner.normalizer === null ? text : inner.normalizer(text)
    if (normal === '') return []
    const words = inner.pre_tokenizer === null ? [normal] : inner.pre_tokenizer(normal, { section_index: 0 })
    return model!(words).map((token: string) => {
      const id = model!.tokens_to_ids.get(token) ?? model!.unk_token_id
      if (id === undefined) throw new Error(`tokenizer.json has no token for ${JSON.stringify(token)}`)
      return id
    })
  }

  function encodeMarkup(text: string, marker?: string): number[] {
    const pieces = splitter === undefined ? [text] : text.split(splitter)
    const ids: number[] = []
    for (const piece of pieces) {
      const token = addedByContent.get(piece)
      if (token !== undefined) ids.push(token.id)
      else for (const id of encodeText(marker === undefined ? piece : piece.replaceAll(marker, ''))) ids.push(id)
    }
    return ids
  }

  /** No token stands for more UTF-16 units: a vocabulary entry has a character for each byte. */
  const longestToken = added.reduce(
    (most, { content }) => Math.max(most, content.length),
    model.vocab.reduce((most: number, spelling: string) => Math.max(most, spelling?.length ?? 0), 1),
  )

  function fewestTokens(text: string, marker?: string): number {
    const plain = marker === undefined ? text : text.replaceAll(marker, '')
    const normal = inner.normalizer === null ? plain : inner.normalizer(plain)
    return Math.ceil(normal.length / longestToken)
  }

  function bytesOf(id: number): Uint8Array {
    const token = addedById.get(id)
    if (token !== undefined) return utf8.encode(token.content)
    const spelling = model!.vocab[id]
    if (spelling === undefined) return new Uint8Array(0)
    const bytes = new Uint8Array(spelling.length)
    for (let i = 0; i < spelling.length; i++) {
      const byte = byteOfCharacter(spelling.charAt(i))
      // A vocabulary entry that is not in the byte alphabet is plain text.
      if (byte === undefined) return utf8.encode(spelling)
      bytes[i] = byte
    }
    return bytes
  }

  function decode(ids: Iterable<number>, options: { skipSpecial?: boolean } = {}): string {
    const text = new TextDecoder('utf-8', { ignoreBOM: true })
    let out = ''
    for (const id of ids) {
      if (options.skipSpecial === true && addedById.get(id)?.special === true) continue
      out += text.decode(bytesOf(id), { stream: true })
    }
    return out + text.decode()
  }

  const thread = new TokenizerThread(() => ({
    definition: text ?? JSON.stringify(definition),
    config: JSON.stringify(config),
  }))

  return {
    vocabSize,
    encodeMarkupLater: async (given, marker, signal) =>
      given.length > longText ? thread.encodeMarkup(given, marker, signal) : encodeMarkup(given, marker),
    addedTokens: added,
    encodeText,
    encodeMarkup,
    fewestTokens,
    idOf: (token) => addedByContent.get(token)?.id ?? model.tokens_to_ids.get(token),
    addedToken: (id) => addedById.get(id),
    bytesOf,
    decode,
  }
}

function escapeRegExp(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`)
}
