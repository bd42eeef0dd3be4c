/**
 * The alphabet of bytes in byte-level BPE vocabularies: printable Latin-1 characters represent themselves, and all
 * other bytes are represented by characters from U+0100 on.
 *
 * Reference: GPT-2's `bytes_to_unicode`, Hugging Face `tokenizers` ByteLevel.
 */

const byCharacter = new Map<string, number>()
{
  let next = 0x100
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff)
    byCharacter.set(String.fromCharCode(printable ? byte : next++), byte)
  }
}

/** The byte of a vocabulary character, or undefined if it is not in the alphabet. */
export function byteOfCharacter(character: string): number | undefined {
  return byCharacter.get(character)
}
