import { expect, it } from 'vitest'
import { ArrivingArrays, detachArrays, slices } from './request-packing.ts'

it('takes arrays out and puts the same ones back, in slices', () => {
  const long = Float32Array.from({ length: 300_001 }, (_, index) => index)
  const value = {
    text: 'a',
    nothing: null,
    parts: [{ data: Uint8Array.of(1, 2, 3) }, { samples: long.subarray(1) }, { empty: new Uint8Array(0) }],
  }
  const detached = detachArrays(value)
  expect(JSON.stringify(detached.value).length).toBeLessThan(300)
  const pieces = [...slices(detached.arrays)]
  expect(Math.max(...pieces.map((piece) => piece.length))).toBe(1 << 20)
  expect(pieces.reduce((sum, piece) => sum + piece.length, 0)).toBe(3 + 1_200_000)
  const arriving = new ArrivingArrays(detached.value)
  const back = arriving.value
  for (const piece of pieces) {
    expect(arriving.complete).toBe(false)
    arriving.write(piece)
  }
  expect(arriving.complete).toBe(true)
  // Comparing long arrays element by element takes minutes; comparing their bytes does not.
  const flat = (data: unknown): string =>
    JSON.stringify(data, (_key, inner: unknown) =>
      ArrayBuffer.isView(inner)
        ? [inner.constructor.name, Buffer.from(inner.buffer, inner.byteOffset, inner.byteLength).toString('base64')]
        : inner,
    )
  expect(flat(back) === flat(value)).toBe(true)
})

it('gives every array memory of its own, complete without bytes where all are empty', () => {
  const arriving = new ArrivingArrays(detachArrays({ frames: [new Uint8Array(2), new Uint8Array(3)] }).value)
  const { frames } = arriving.value as { frames: Uint8Array[] }
  expect(frames.map(({ length, buffer }) => [length, buffer.byteLength])).toEqual([
    [2, 2],
    [3, 3],
  ])
  expect(new ArrivingArrays(detachArrays({ empty: new Float32Array(0) }).value).complete).toBe(true)
})

it('notices bytes that do not fit', () => {
  const { value } = detachArrays({ data: Uint8Array.of(1, 2, 3), more: Uint8Array.of(4, 5, 6) })
  const arriving = new ArrivingArrays(value)
  arriving.write(new Uint8Array(2))
  expect(() => arriving.write(new Uint8Array(3))).toThrow('lost between')
})
