/**
 * Serializes a request and its media for an engine process.
 *
 * In: messages with media. Out: messages as plain data, with a {@link MediumHandle} for each medium, whose content the
 * process requests by index; and decoded media as slices of bytes, which the receiver writes to their final memory.
 */

import type { AnyMedium, GenerationMessage, GenerationPart } from '../../contract/index.ts'

/** A medium without its content. */
export type MediumHandle = Pick<AnyMedium, 'kind' | 'facts' | 'exact' | 'contentKey'> & { readonly index: number }

type PackedPart =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'medium'; readonly handle: MediumHandle }

/** {@link GenerationMessage}s with handles for media. */
export type PackedMessage = Omit<GenerationMessage, 'content'> & { readonly content: readonly PackedPart[] }

/** Replaces media by handles. `media[handle.index]` is the medium of a handle. */
export function packMessages(messages: readonly GenerationMessage[]): {
  messages: PackedMessage[]
  media: AnyMedium[]
} {
  const media: AnyMedium[] = []
  const handle = (medium: AnyMedium): PackedPart => {
    const { kind, facts, exact, contentKey } = medium
    return { type: 'medium', handle: { kind, facts, exact, contentKey, index: media.push(medium) - 1 } }
  }
  const pack = (part: GenerationPart): PackedPart => {
    switch (part.type) {
      case 'text':
        return part
      case 'image':
        return handle(part.image)
      case 'audio':
        return handle(part.audio)
      case 'video':
        return handle(part.video)
      default:
        return part satisfies never
    }
  }
  return { messages: messages.map((message) => ({ ...message, content: message.content.map(pack) })), media }
}

/** Restores the messages of {@link packMessages}. `open` returns the medium of a handle. */
export function unpackMessages(
  messages: readonly PackedMessage[],
  open: (handle: MediumHandle) => AnyMedium,
): GenerationMessage[] {
  const unpack = (part: PackedPart): GenerationPart => {
    if (part.type === 'text') return part
    const medium = open(part.handle)
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
  // `packMessages` does not change roles and their fields.
  return messages.map((message) => ({ ...message, content: message.content.map(unpack) }) as GenerationMessage)
}

/** Placeholder for an array whose bytes follow. */
interface ArrayStub {
  readonly array: 'u8' | 'f32'
  readonly bytes: number
}

const sliceBytes = 1 << 20

/** Replaces every typed array by a stub. `arrays`: views of their bytes, in order. */
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

/** Slices of at most one mebibyte, in order. */
export function* slices(arrays: readonly Uint8Array[]): Generator<Uint8Array> {
  for (const array of arrays)
    for (let at = 0; at < array.length; at += sliceBytes) yield array.subarray(at, at + sliceBytes)
}

/** Restores a value of {@link detachArrays}: allocates its arrays, and writes the slices to them. */
export class ArrivingArrays {
  /** The original value. Its arrays are filled as far as slices have arrived. */
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

  /** Writes the next slice. Throws if it does not fit, because bytes were lost. */
  write(slice: Uint8Array): void {
    const [array] = this.#unfilled
    if (!array || slice.length > array.length - this.#filled)
      throw new Error('Part of a medium was lost between the server and the engine process.')
    array.set(slice, this.#filled)
    this.#filled += slice.length
    if (this.#filled < array.length) return
    this.#unfilled.shift()
    this.#filled = 0
  }
}

/** Copies plain data. Nodes for which `change` returns a value are replaced by it. */
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
