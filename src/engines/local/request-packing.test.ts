import { expect, it } from 'vitest'
import { attachArrays, detachArrays, slices } from './request-packing.ts'

it('takes arrays out and puts the same ones back, in slices', () => {
  const long = Float32Array.from({ length: 300_001 }, (_, index) => index)
  const value = {
    text: 'a',
    nothing: null,
    parts: [{ data: Uint8Array.of(1, 2, 3) }, { samples: long.subarray(1) }, { empty: new Uint8Array(0) }],
  }
  const detached = detachArrays(value)
  expect(JSON.stringify(detached.value).length).toBeLessThan(300)
  expect(detached.bytes).toBe(3 + 1_200_000)
  const pieces = [...slices(detached.arrays)]
  expect(Math.max(...pieces.map((piece) => piece.length))).toBe(1 << 20)
  const back = attachArrays(detached.value, pieces, detached.bytes)
  // Element by element comparison of long arrays takes minutes; their bytes do not.
  const flat = (data: unknown): string =>
    JSON.stringify(data, (_key, inner: unknown) =>
      ArrayBuffer.isView(inner)
        ? [inner.constructor.name, Buffer.from(inner.buffer, inner.byteOffset, inner.byteLength).toString('base64')]
        : inner,
    )
  expect(flat(back) === flat(value)).toBe(true)
})

it('notices missing bytes', () => {
  const { value, bytes } = detachArrays({ data: Uint8Array.of(1, 2, 3) })
  expect(() => attachArrays(value, [new Uint8Array(2)], bytes)).toThrow('lost on its way')
})
