/**
 * A request's media on their way to an engine process.
 *
 * In: messages whose media are files. Out: the same as plain data, each medium as a {@link MediumCard} that the process asks for by
 * number, and decoded media as slices of bytes. Pure.
 */

import type { AnyMedium, GenerationMessage, GenerationPart } from '../../contract/index.ts'

/** A medium without its content. */
export type MediumCard = Pick<AnyMedium, 'kind' | 'facts' | 'exact' | 'contentKey'> & { readonly index: number }

type PackedPart =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'medium'; readonly card: MediumCard }

/** {@link GenerationMessage}s with cards for media. */
export type PackedMessage = Omit<GenerationMessage, 'content'> & { readonly content: readonly PackedPart[] }

/** Takes the media out. `media[card.index]` is what a card stands for. */
export function packMessages(messages: readonly GenerationMessage[]): {
  messages: PackedMessage[]
  media: AnyMedium[]
} {
  const media: AnyMedium[] = []
  const card = (medium: AnyMedium): PackedPart => {
    const { kind, facts, exact, contentKey } = medium
    return { type: 'medium', card: { kind, facts, exact, contentKey, index: media.push(medium) - 1 } }
  }
  const pack = (part: GenerationPart): PackedPart => {
    switch (part.type) {
      case 'text':
        return part
      case 'image':
        return card(part.image)
      case 'audio':
        return card(part.audio)
      case 'video':
        return card(part.video)
      default:
        return part satisfies never
    }
  }
  return { messages: messages.map((message) => ({ ...message, content: message.content.map(pack) })), media }
}

/** Undoes {@link packMessages}. */
export function unpackMessages(
  messages: readonly PackedMessage[],
  open: (card: MediumCard) => AnyMedium,
): GenerationMessage[] {
  const unpack = (part: PackedPart): GenerationPart => {
    if (part.type === 'text') return part
    const medium = open(part.card)
    switch (medium.kind) {
      case 'image':
        return { type: 'image', image: medium }
      case 'audio':
        return { type: 'audio', audio: medium }
      case 'video':
        return { type: 'video', video: medium }
      default:
        return medium satisfies never
    }
  }
  // Roles and their fields are as `packMessages` found them.
  return messages.map((message) => ({ ...message, content: message.content.map(unpack) }) as GenerationMessage)
}

/** Stands for an array that went ahead. */
interface ArrayStub {
  readonly array: 'u8' | 'f32'
  /** Where its bytes begin. */
  readonly at: number
  readonly bytes: number
}

const sliceBytes = 1 << 20

/** Replaces every typed array by a stub. `arrays` are its bytes, in order. */
export function detachArrays(value: unknown): { value: unknown; arrays: Uint8Array[]; bytes: number } {
  const arrays: Uint8Array[] = []
  let bytes = 0
  const visit = (node: unknown): unknown => {
    if (node instanceof Uint8Array || node instanceof Float32Array) {
      const stub: ArrayStub = { array: node instanceof Uint8Array ? 'u8' : 'f32', at: bytes, bytes: node.byteLength }
      arrays.push(new Uint8Array(node.buffer, node.byteOffset, node.byteLength))
      bytes += node.byteLength
      return stub
    }
    if (Array.isArray(node)) return node.map(visit)
    if (typeof node === 'object' && node !== null)
      return Object.fromEntries(Object.entries(node).map(([key, inner]) => [key, visit(inner)]))
    return node
  }
  return { value: visit(value), arrays, bytes }
}

/** Slices of at most a mebibyte, in the order the receiver joins them. */
export function* slices(arrays: readonly Uint8Array[]): Generator<Uint8Array> {
  for (const array of arrays)
    for (let at = 0; at < array.length; at += sliceBytes) yield array.subarray(at, at + sliceBytes)
}

/** Undoes {@link detachArrays}. Arrays share one piece of memory. Throws when bytes are missing. */
export function attachArrays(value: unknown, parts: readonly Uint8Array[], bytes: number): unknown {
  const memory = new Uint8Array(bytes)
  let end = 0
  for (const part of parts) {
    if (end + part.length > bytes) break
    memory.set(part, end)
    end += part.length
  }
  if (end !== bytes) throw new Error('Part of the request was lost on its way.')
  const visit = (node: unknown): unknown => {
    if (isStub(node)) {
      switch (node.array) {
        case 'u8':
          return memory.subarray(node.at, node.at + node.bytes)
        case 'f32': {
          if (node.at % 4 === 0) return new Float32Array(memory.buffer, node.at, node.bytes / 4)
          return new Float32Array(memory.slice(node.at, node.at + node.bytes).buffer)
        }
        default:
          return node.array satisfies never
      }
    }
    if (Array.isArray(node)) return node.map(visit)
    if (typeof node === 'object' && node !== null)
      return Object.fromEntries(Object.entries(node).map(([key, inner]) => [key, visit(inner)]))
    return node
  }
  return visit(value)
}

function isStub(node: unknown): node is ArrayStub {
  return typeof node === 'object' && node !== null && 'array' in node && 'at' in node && 'bytes' in node
}
