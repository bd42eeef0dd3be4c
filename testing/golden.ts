/**
 * Reads golden outputs (testdata/golden, made by reference/) and compares with them.
 */

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

import { readSafetensorsHeader } from '../src/weights/index.ts'

/** One file of goldens: tensors and their JSON. */
export interface Golden<Facts = unknown> {
  readonly facts: Facts
  has(name: string): boolean
  /** Values of an f32 tensor. */
  floats(name: string): Float32Array
  /** Values of an i32 tensor. */
  integers(name: string): Int32Array
  /** Samples stored as 16 bits, in [-1, 1]. */
  waveform(name: string): Float32Array
  shape(name: string): readonly number[]
}

export function testdataPath(path: string): string {
  return fileURLToPath(new URL(`../testdata/${path}`, import.meta.url))
}

/** `name`: path below testdata/golden without extension. */
export async function readGolden<Facts>(name: string): Promise<Golden<Facts>> {
  const path = testdataPath(`golden/${name}.safetensors`)
  const { entries } = await readSafetensorsHeader(path)
  const file = readFileSync(path)
  const bytes = (tensor: string, type: string): { start: number; end: number } => {
    const entry = entries.get(tensor)
    if (!entry) throw new Error(`golden ${name} has no ${tensor}`)
    if (entry.type !== type) throw new Error(`golden ${name}: ${tensor} is ${entry.type}, not ${type}`)
    const start = file.byteOffset + entry.offset
    return { start, end: start + entry.length }
  }
  return {
    facts: JSON.parse(readFileSync(testdataPath(`golden/${name}.json`), 'utf8')) as Facts,
    has: (tensor) => entries.has(tensor),
    floats: (tensor) => {
      const { start, end } = bytes(tensor, 'f32')
      return new Float32Array(file.buffer.slice(start, end))
    },
    integers: (tensor) => {
      const { start, end } = bytes(tensor, 'i32')
      return new Int32Array(file.buffer.slice(start, end))
    },
    waveform: (tensor) => {
      const { start, end } = bytes(tensor, 'i16')
      return Float32Array.from(new Int16Array(file.buffer.slice(start, end)), (sample) => sample / 32767)
    },
    shape: (tensor) => entries.get(tensor)?.shape ?? [],
  }
}

/** Largest absolute difference; infinite when the lengths differ or a value is not a number. */
export function largestDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY
  let largest = 0
  for (let i = 0; i < actual.length; i++) {
    const difference = Math.abs((actual[i] ?? Number.NaN) - (expected[i] ?? Number.NaN))
    if (!(difference <= largest)) largest = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference
  }
  return largest
}

/** Signal to noise in decibels. */
export function signalToNoise(actual: Float32Array, expected: Float32Array): number {
  if (actual.length !== expected.length) return Number.NEGATIVE_INFINITY
  let signal = 0
  let noise = 0
  for (const [i, value] of expected.entries()) {
    signal += value * value
    noise += ((actual[i] ?? 0) - value) ** 2
  }
  return noise === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(signal / noise)
}

export function indexOfLargest(values: ArrayLike<number>, start = 0, end = values.length): number {
  let best = start
  for (let i = start + 1; i < end; i++) if ((values[i] ?? 0) > (values[best] ?? 0)) best = i
  return best - start
}
