/** `toEqual` compares typed arrays by their bytes first: element by element, large ones take seconds. */
import { expect } from 'vitest'

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength)

function sameBytes(a: unknown, b: unknown): true | undefined {
  if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b) || a.constructor !== b.constructor) return undefined
  // Different bytes may still be equal (NaN), and the element by element comparison names what differs.
  return bytesOf(a).equals(bytesOf(b)) ? true : undefined
}

// Files that share a process share their testers.
const added = Symbol.for('omniserve.equal-bytes')
if (!Object.hasOwn(globalThis, added)) {
  Object.assign(globalThis, { [added]: true })
  expect.addEqualityTesters([sameBytes])
}
