import { describe, expect, it } from 'vitest'
import { orient, orientationOf } from './display-matrix.ts'

const matrix = (a: number, b: number, c: number, d: number) => {
  const bytes = Buffer.alloc(36)
  for (const [i, value] of [a, b, 0, c, d].entries()) bytes.writeInt32LE(Math.round(value * 65_536), i * 4)
  return bytes
}

/** One letter per pixel; rows are separated by commas. */
const image = (text: string) => {
  const rows = text.split(',')
  const data = Uint8Array.from(Array.from(rows.join('')).flatMap((letter) => [letter.charCodeAt(0), 0, 0]))
  return { data, width: rows[0]!.length, height: rows.length }
}
const toText = ({ data, width, height }: { data: Uint8Array; width: number; height: number }) =>
  Array.from({ length: height }, (_, y) =>
    String.fromCharCode(...Array.from({ length: width }, (_unused, x) => data[(y * width + x) * 3]!)),
  ).join(',')

describe('a display matrix', () => {
  it.each([
    ['upright', matrix(1, 0, 0, 1), 'ab,cd,ef'],
    ['a quarter clockwise', matrix(0, 1, -1, 0), 'eca,fdb'],
    ['a half turn', matrix(-1, 0, 0, -1), 'fe,dc,ba'],
    ['a quarter counterclockwise', matrix(0, -1, 1, 0), 'bdf,ace'],
    ['mirrored left to right', matrix(-1, 0, 0, 1), 'ba,dc,fe'],
    ['mirrored top to bottom', matrix(1, 0, 0, -1), 'ef,cd,ab'],
    ['absent', null, 'ab,cd,ef'],
    ['degenerate', matrix(0, 0, 0, 0), 'ab,cd,ef'],
  ])('that is %s is applied', (_name, bytes, expected) => {
    const { data, width, height } = image('ab,cd,ef')
    expect(toText(orient(data, width, height, orientationOf(bytes)))).toBe(expected)
  })
})
