/**
 * A request's media on their way to an engine process.
 *
 * In: messages whose media are files. Out: the same as plain data, each medium as a {@link MediumCard} that the process
 * asks for by number, and decoded media as slices of bytes, which the receiver writes to their final memory.
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

/** Stands for an array whose bytes follow. */
interface ArrayStub {
  readonly array: 'u8' | 'f32'
  readonly bytes: number
}

const sliceBytes = 1 << 20

/** Replaces every typed array by a stub. `arrays` are views of their bytes, in order. */
export function detachArrays(value: unknown): { value: unknown; arrays: Uint8Array[] } {
  const arrays: Uint8Array[] = []
  const detached = replace(value, (node) => {
    if (!(node instanceof Uint8Array || node instanceof Float32Array)) return undefined
    const stub: ArrayStub = { array: node instanceof Uint8Array ? 'u8' : 'f32', bytes: node.byteLength }
    arrays.push(new Uint8Array(node.buffer, node.byteOffset, node.byteLength))
    return stub
  })
  return { value: detached, arrays }
}

/** Slices of at most a mebibyte, in order. */
export function* slices(arrays: readonly Uint8Array[]): Generator<Uint8Array> {
  for (const array of arrays)
    for (let at = 0; at < array.length; at += sliceBytes) yield array.subarray(at, at + sliceBytes)
}

/** Undoes {@link detachArrays}: every array gets memory of its own, which the slices are written to as they come. */
export class ArrivingArrays {
  /** The original value, its arrays filled as far as slices came. */
  readonly value: unknown
  readonly #unfilled: Uint8Array[] = []
  #filled = 0

  /** @param value with stubs. */
  constructor(value: unknown) {
    this.value = replace(value, (node) => {
      if (!isStub(node)) return undefined
      const memory = new Uint8Array(node.bytes)
      if (memory.length > 0) this.#unfilled.push(memory)
      return node.array === 'u8' ? memory : new Float32Array(memory.buffer)
    })
  }

  /** Whether all arrays are filled. */
  get complete(): boolean {
    return this.#unfilled.length === 0
  }

  /** Takes the next slice. Throws when it is not the missing one: bytes were lost. */
  write(slice: Uint8Array): void {
    const [array] = this.#unfilled
    if (!array || slice.length > array.length - this.#filled)
      throw new Error('Part of a medium was lost on its way to the engine process.')
    array.set(slice, this.#filled)
    this.#filled += slice.length
    if (this.#filled < array.length) return
    this.#unfilled.shift()
    this.#filled = 0
  }
}

/** The same plain data with some of its nodes replaced: those for which `change` returns a value. */
function replace(node: unknown, change: (node: unknown) => unknown): unknown {
  const changed = change(node)
  if (changed !== undefined) return changed
  if (Array.isArray(node)) return node.map((inner) => replace(inner, change))
  if (typeof node === 'object' && node !== null)
    return Object.fromEntries(Object.entries(node).map(([key, inner]) => [key, replace(inner, change)]))
  return node
}

function isStub(node: unknown): node is ArrayStub {
  return typeof node === 'object' && node !== null && 'array' in node && 'bytes' in node
}
