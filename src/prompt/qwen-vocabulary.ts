/**
 * Builds a tokenizer definition from vocab.json and merges.txt, for checkpoints without tokenizer.json.
 *
 * Out: the equivalent of the family's tokenizer.json. The files do not contain the split pattern, which is the
 * family's.
 *
 * Reference: transformers `Qwen2Tokenizer` (pattern, NFC, byte-level BPE), tokenizer_config.json
 * `added_tokens_decoder`.
 */

import { EngineError } from '../contract/index.ts'
import { type CheckpointFiles, isObject, type JsonObject } from './checkpoint-files.ts'

/** The pattern with which Qwen2 and its successors split text into words. */
const splitPattern =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/** Undefined when vocab.json or merges.txt is missing. Throws `bad_checkpoint` when one is invalid. */
export function readVocabulary(files: CheckpointFiles, config: JsonObject): JsonObject | undefined {
  const vocab = files.json('vocab.json')
  const merges = files.text('merges.txt')
  if (vocab === undefined || merges === undefined) return undefined
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false }
  return {
    version: '1.0',
    added_tokens: addedTokens(files, config),
    normalizer: { type: 'NFC' },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: splitPattern }, behavior: 'Isolated', invert: false },
        byteLevel,
      ],
    },
    post_processor: byteLevel,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      vocab,
      merges: merges
        .split(/\r?\n/)
        .filter((line, number) => line !== '' && !(number === 0 && line.startsWith('#version'))),
    },
  }
}

function addedTokens(files: CheckpointFiles, config: JsonObject): object[] {
  const decoder = config.added_tokens_decoder
  if (!isObject(decoder)) {
    throw new EngineError(
      'bad_checkpoint',
      `tokenizer_config.json in ${files.location} lacks added_tokens_decoder, which is needed where there is no tokenizer.json`,
    )
  }
  return Object.entries(decoder).flatMap(([id, token]) => (isObject(token) ? [{ ...token, id: Number(id) }] : []))
}
