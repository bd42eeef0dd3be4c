/**
 * Voices: every form that torch writes gives the same numbers, the safe form too, and a hostile or broken file is a
 * clear error. Fixtures are written by reference/omniserve_reference/make_token2wav_goldens.py.
 */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'

import { describe, expect, it } from 'vitest'

import { EngineError } from '../../../contract/index.ts'
import { largestDifference, testdataPath } from '../../../../testing/golden.ts'
import { encodeVoices, readVoices, readVoicesFile } from './read-voices.ts'
import { readStoredZip } from './stored-zip.ts'
import { unpickle } from './unpickle.ts'
import type { Voice } from './voice.ts'

const file = (name: string): Uint8Array => readFileSync(testdataPath(`voices/${name}`))
const expected = JSON.parse(readFileSync(testdataPath('voices/expected.json'), 'utf8')) as {
  cond: number[]
  refMel: number[]
  frames: number
  bosToken: number
}

function expectVoice(voice: Voice | undefined, limit = 0): void {
  expect(voice?.name).toBe('Ethan')
  expect(voice?.bosToken).toBe(expected.bosToken)
  expect(voice?.referenceFrames).toBe(expected.frames)
  expect(largestDifference(voice?.condition ?? [], expected.cond)).toBeLessThanOrEqual(limit)
  expect(largestDifference(voice?.referenceMel ?? [], expected.refMel)).toBeLessThanOrEqual(limit)
}

/** The message of the error that reading gives. */
function failure(bytes: Uint8Array, name = 'spk_dict.pt'): string {
  try {
    readVoices(bytes, name)
  } catch (error) {
    expect(error).toBeInstanceOf(EngineError)
    expect((error as EngineError).code).toBe('bad_checkpoint')
    return (error as EngineError).message
  }
  throw new Error('it was read')
}

/** An uncompressed zip as torch writes it, less the alignment. */
function zip(entries: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const parts: Buffer[] = []
  const directory: Buffer[] = []
  let at = 0
  for (const [name, content] of entries) {
    const title = Buffer.from(name)
    const local = Buffer.alloc(30)
    local.writeUInt32LE(0x04034b50, 0)
    local.writeUInt16LE(title.length, 26)
    const entry = Buffer.alloc(46)
    entry.writeUInt32LE(0x02014b50, 0)
    entry.writeUInt32LE(crc32(content), 16)
    entry.writeUInt32LE(content.length, 20)
    entry.writeUInt32LE(content.length, 24)
    entry.writeUInt16LE(title.length, 28)
    entry.writeUInt32LE(at, 42)
    parts.push(local, title, Buffer.from(content))
    directory.push(entry, title)
    at += 30 + title.length + content.length
  }
  const list = Buffer.concat(directory)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(entries.size, 8)
  end.writeUInt16LE(entries.size, 10)
  end.writeUInt32LE(list.length, 12)
  end.writeUInt32LE(at, 16)
  return Buffer.concat([...parts, list, end])
}

const torchFile = file('float32.pt')
const torchEntries = readStoredZip(torchFile)
const pickleName = [...torchEntries.keys()].find((name) => name.endsWith('data.pkl')) ?? ''
const pickle = torchEntries.get(pickleName) ?? new Uint8Array()

/** The same archive with another pickle. */
function withPickle(bytes: Uint8Array): Uint8Array {
  return zip(new Map([...torchEntries, [pickleName, bytes]]))
}

describe('voices', () => {
  it.each([
    ['float32.pt', 0],
    ['float64.pt', 0],
    ['float16.pt', 1e-3],
    ['bfloat16.pt', 0],
    ['ordered.pt', 0],
    ['strided.pt', 0],
  ])('of %s', async (name, limit) => {
    const voices = await readVoicesFile(testdataPath(`voices/${name}`))
    expect([...voices.keys()]).toEqual(['Ethan'])
    expectVoice(voices.get('Ethan'), limit)
  })

  it('are the same after conversion to safetensors', () => {
    const first = readVoices(torchFile, 'spk_dict.pt')
    const bytes = encodeVoices(first.values())
    expectVoice(readVoices(bytes, 'voices.safetensors').get('Ethan'))
    expect(failure(bytes.subarray(0, -4), 'voices.safetensors')).toMatch(/^voices\.safetensors is not a valid safetensors file/)
  })

  it.each([
    ['legacy.pt', /PyTorch older than 1\.6.*not supported/],
    ['deflated.pt', /is compressed/],
  ])('of %s are refused with the reason', (name, reason) => {
    expect(failure(file(name))).toMatch(reason)
  })

  it('cause an error that names a missing file', async () => {
    await expect(readVoicesFile(testdataPath('voices/none.pt'))).rejects.toThrow(/cannot read the voices of .*none\.pt/)
  })

  it('with NaN, truncated storages or lists in place of tensors are refused', () => {
    const key = [...torchEntries.keys()].find((name) => name.endsWith('data/0')) ?? ''
    const storage = torchEntries.get(key) ?? new Uint8Array()
    const broken = new Uint8Array(storage)
    broken.fill(0xff, 0, 4)
    expect(failure(zip(new Map([...torchEntries, [key, broken]])))).toMatch(/cond has a value that is not a number/)
    expect(failure(zip(new Map([...torchEntries, [key, storage.subarray(4)]])))).toMatch(/has 4 bytes for 2 numbers/)
    const without = new Map(torchEntries)
    without.delete(key)
    expect(failure(zip(without))).toMatch(/storage 0 is missing/)
    expect(failure(withPickle(Uint8Array.from([0x80, 2, 0x7d, 0x2e])))).toMatch(/holds no voice/)
    expect(failure(withPickle(Uint8Array.from([0x80, 2, 0x4b, 1, 0x2e])))).toMatch(/no dictionary of voices/)
  })
})

describe('hostile pickles', () => {
  const marker = join(import.meta.dirname, 'executed')
  const text = (value: string): number[] => [0x58, value.length, 0, 0, 0, ...Buffer.from(value)]
  const ascii = (value: string): number[] => [...Buffer.from(value)]

  it.each([
    ['os.system', [...ascii('cos\nsystem\n'), ...text(`touch ${marker}`), 0x85, 0x52]],
    ['builtins.eval', [...ascii('cbuiltins\neval\n'), ...text('1'), 0x85, 0x52]],
    ['torch.load', [...ascii('ctorch\nload\n'), ...text('x'), 0x85, 0x52]],
    ['a name by its parts', [...text('os'), ...text('system'), 0x93]],
    ['an object that is built', [...ascii('ccollections\nOrderedDict\n'), 0x29, 0x52, 0x7d, 0x62]],
    ['a class that is called', [...ascii('(ios\nsystem\n')]],
    ['a new object', [...ascii('ccollections\nOrderedDict\n'), 0x29, 0x81]],
    ['an extension', [0x82, 1]],
    ['a storage that is called', [...ascii('ctorch\nFloatStorage\n'), 0x29, 0x52]],
    ['a prototype', [0x7d, ...text('__proto__'), ...text('x'), 0x73]],
    ['a list', [0x5d]],
    ['a text of 4 GB', [0x58, 0xff, 0xff, 0xff, 0xff]],
    ['a value of nowhere', [0x68, 9]],
    ['a mark of nowhere', [0x74]],
    ['a value below the mark', [0x4b, 1, 0x28, 0x85]],
    ['a persistent id of another kind', [...text('module'), 0x85, 0x51]],
    ['hooks with content', [0x4a, 0xff, 0xff, 0xff, 0xff, 0x85]],
  ])('%s is refused without side effects', (_, instructions) => {
    const message = failure(withPickle(Uint8Array.from([0x80, 2, ...instructions, 0x2e])))
    expect(message).toMatch(/^spk_dict\.pt cannot be read as voices: (it|voice).*; download it again/)
    expect(existsSync(marker)).toBe(false)
    expect(({} as Record<string, unknown>)['x']).toBeUndefined()
  })

  it('terminate: a million instructions, an endless stack, a dictionary that contains itself', () => {
    expect(() => unpickle(Uint8Array.from([0x80, 2, ...Array.from({ length: 9000 }, () => 0x29), 0x2e]))).toThrow(/too deeply/)
    const busy = Array.from({ length: 60_000 }, () => [0x29, 0x85, 0x71, 0]).flat()
    expect(() => unpickle(Uint8Array.from([0x80, 2, ...busy, 0x2e]))).toThrow(/too deeply|too many/)
    const within = [0x7d, 0x71, 0, ...text('a'), 0x68, 0, 0x73]
    expect(failure(withPickle(Uint8Array.from([0x80, 2, ...within, 0x2e])))).toMatch(/voice a has an unknown part "a"/)
  })

  it('find no code that they could run', () => {
    for (const name of ['unpickle.ts', 'stored-zip.ts', 'read-voices.ts']) {
      const source = readFileSync(join(import.meta.dirname, name), 'utf8')
      expect(source).not.toMatch(/\beval\b|\bFunction\(|\bimport\(|\brequire\(|child_process|node:vm|globalThis/)
    }
  })
})

/** Reproducible whole numbers below `limit`. */
function createDice(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
}

function mutate(original: Uint8Array, dice: (limit: number) => number): Uint8Array {
  let bytes = [...original]
  const opcodes = [0x28, 0x29, 0x2e, 0x4a, 0x4b, 0x4d, 0x51, 0x52, 0x58, 0x63, 0x68, 0x71, 0x73, 0x74, 0x75, 0x7d, 0x81, 0x86, 0x93]
  for (let count = 1 + dice(3); count > 0; count--) {
    const at = dice(bytes.length)
    const length = 1 + dice(12)
    switch (dice(6)) {
      case 0:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << dice(8))
        break
      case 1:
        bytes[at] = opcodes[dice(opcodes.length)] ?? 0
        break
      case 2:
        bytes.splice(at, length)
        break
      case 3:
        bytes.splice(at, 0, ...bytes.slice(dice(bytes.length)).slice(0, length))
        break
      case 4:
        bytes = bytes.slice(0, Math.max(1, at))
        break
      default:
        bytes.splice(at, 0, opcodes[dice(opcodes.length)] ?? 0)
    }
  }
  return Uint8Array.from(bytes)
}

describe('mutated files', () => {
  /**
   * Reads, and gives the error's message, or nothing when the change did no harm. Any other kind of error ends the
   * test.
   */
  function outcome(bytes: Uint8Array): string | undefined {
    try {
      const voices = readVoices(bytes, 'spk_dict.pt')
      for (const { referenceMel, condition } of voices.values())
        expect([...referenceMel, ...condition].every((value) => Number.isFinite(value))).toBe(true)
      return undefined
    } catch (error) {
      if (!(error instanceof EngineError)) throw error
      return error.message
    }
  }

  it('are read or refused with a clear error: 2,000 pickles', () => {
    const dice = createDice(20260101)
    let refused = 0
    for (let i = 0; i < 2000; i++) {
      const message = outcome(withPickle(mutate(pickle, dice)))
      if (message === undefined) continue
      refused++
      expect(message).toMatch(/^spk_dict\.pt cannot be read as voices: .{10,}; download it again/s)
    }
    expect(refused).toBeGreaterThan(1500)
  })

  it('are read or refused with a clear error: 500 archives', () => {
    const dice = createDice(7)
    let refused = 0
    for (let i = 0; i < 500; i++) {
      const message = outcome(mutate(torchFile, dice))
      if (message === undefined) continue
      refused++
      expect(message).toMatch(/^spk_dict\.pt (cannot be read as voices: .{10,}|is not a valid safetensors file: .+)/s)
    }
    expect(refused).toBeGreaterThan(300)
  })
})
