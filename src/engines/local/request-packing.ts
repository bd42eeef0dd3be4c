/**
 * Takes the large arrays out of a request and puts them back on the other side.
 *
 * In: any plain data with `Uint8Array` and `Float32Array` in it. Out: the same with stubs, and slices of bytes to send ahead. Pure.
 */

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

/** Undoes {@link detachArrays}; every array gets memory of its own. Throws when bytes are missing. */
export function attachArrays(value: unknown, bytes: Uint8Array): unknown {
  const visit = (node: unknown): unknown => {
    if (isStub(node)) {
      if (node.at + node.bytes > bytes.length) throw new Error('Part of the request was lost on its way.')
      // Not `slice`: a Buffer's shares its memory.
      const own = Uint8Array.from(bytes.subarray(node.at, node.at + node.bytes))
      switch (node.array) {
        case 'u8':
          return own
        case 'f32':
          return new Float32Array(own.buffer, 0, own.length / 4)
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
