/** `toEqual` compares typed arrays by their bytes first: element by element, large ones take seconds. */
import { expect } from 'vitest'

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength)

expect.addEqualityTesters([
  (a: unknown, b: unknown) => {
    if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b) || a.constructor !== b.constructor) return undefined
    // Different bytes may still be equal (NaN), and the element by element comparison names what differs.
    return bytesOf(a).equals(bytesOf(b)) ? true : undefined
  },
])
