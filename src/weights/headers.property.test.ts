import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { fc, runs } from '../../testing/property.ts'
import { safetensorsOf } from '../../testing/checkpoint-files.ts'
import { EngineError } from '../contract/index.ts'
import { tensorBytes } from '../tensor/index.ts'
import { readGgufHeader } from './gguf-read.ts'
import { GgufWriter } from './gguf-write.ts'
import { parseSafetensorsHeader } from './safetensors.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'headers-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const names = fc.uniqueArray(
  fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
    .filter((name) => name !== '__metadata__' && name !== '__proto__'),
  { minLength: 1, maxLength: 5 },
)
const shapes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 })

/** Checks that an error is of the only kind that may be thrown. */
function expectBadCheckpoint(error: unknown): void {
  expect(error).toBeInstanceOf(EngineError)
  expect((error as EngineError).code).toBe('bad_checkpoint')
}

/** Some bytes changed, and the end cut off. */
const damages = fc.record({
  changes: fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
  keep: fc.double({ min: 0, max: 1, noNaN: true }),
})
function damaged(file: Uint8Array, { changes, keep }: { changes: [number, number][]; keep: number }): Uint8Array {
  const copy = Uint8Array.from(file)
  for (const [at, value] of changes) copy[at % copy.length] = value
  return copy.slice(0, Math.round(copy.length * keep))
}

const safetensorsFiles = fc
  .tuple(
    names,
    fc.array(fc.tuple(shapes, fc.constantFrom('F32', 'F16', 'BF16', 'I64', 'U8')), { minLength: 5, maxLength: 5 }),
  )
  .map(([tensorNames, kinds]) => {
    const size = { F32: 4, F16: 2, BF16: 2, I64: 8, U8: 1 }
    let at = 0
    const entries = tensorNames.map((name, i) => {
      const [shape, dtype] = kinds[i]!
      const begin = at
      at += shape.reduce((a, b) => a * b, 1) * size[dtype]
      return [name, { dtype, shape, data_offsets: [begin, at] }] as const
    })
    return { entries, file: safetensorsOf(Object.fromEntries(entries), new Uint8Array(at)) }
  })

it('a safetensors header is read as written', () => {
  fc.assert(
    fc.property(safetensorsFiles, ({ entries, file }) => {
      const header = parseSafetensorsHeader(file, 'x.safetensors')
      const start = 8 + Number(file.readBigUInt64LE(0))
      expect(header.entries.size).toBe(entries.length)
      for (const [name, { dtype, shape, data_offsets }] of entries) {
        const [begin, end] = data_offsets
        const read = header.entries.get(name)
        expect(read).toMatchObject({ type: dtype.toLowerCase(), shape, offset: start + begin, length: end - begin })
      }
    }),
  )
})

it('a damaged safetensors file is refused, or read within its bounds', () => {
  fc.assert(
    fc.property(safetensorsFiles, damages, ({ file }, damage) => {
      const bytes = damaged(file, damage)
      try {
        const { entries } = parseSafetensorsHeader(bytes, 'x.safetensors')
        for (const { offset, length } of entries.values()) expect(offset + length).toBeLessThanOrEqual(bytes.length)
      } catch (error) {
        expectBadCheckpoint(error)
      }
    }),
    runs(500),
  )
})

const ggufPlans = fc.record({
  tensors: fc
    .tuple(
      names,
      fc.array(fc.tuple(shapes, fc.constantFrom('f32' as const, 'f16' as const, 'bf16' as const)), {
        minLength: 5,
        maxLength: 5,
      }),
    )
    .map(([tensorNames, kinds]) => tensorNames.map((name, i) => ({ name, shape: kinds[i]![0], type: kinds[i]![1] })))
    .filter((tensors) => tensors.every(({ name }) => Buffer.byteLength(name) < 64)),
  metadata: fc.dictionary(
    fc.stringMatching(/^[a-z.]{1,10}$/).filter((key) => key !== 'general.alignment'),
    fc.oneof(fc.string(), fc.boolean(), fc.nat(), fc.array(fc.string(), { maxLength: 3 })),
    { maxKeys: 4, noNullPrototype: true },
  ),
})

async function writeGguf(
  path: string,
  { tensors, metadata }: typeof ggufPlans extends fc.Arbitrary<infer T> ? T : never,
) {
  await using writer = await GgufWriter.create(path, metadata, tensors)
  for (const { type, shape } of tensors) await writer.append(new Uint8Array(tensorBytes(type, shape)))
  await writer.finish()
  return writer.position
}

it('a GGUF header is read as written, and a damaged one is refused or read within its bounds', async () => {
  const path = join(folder, 'x.gguf')
  await fc.assert(
    fc.asyncProperty(ggufPlans, damages, async (plan, damage) => {
      const size = await writeGguf(path, plan)
      expect(size).toBe(GgufWriter.size(plan.metadata, plan.tensors))
      const header = await readGgufHeader(path)
      expect(header.tensors.map(({ name, shape, type }) => ({ name, shape, type }))).toEqual(plan.tensors)
      for (const [key, value] of Object.entries(plan.metadata)) expect(header.metadata.get(key)).toEqual(value)
      const bytes = damaged(await readFile(path), damage)
      await writeFile(path, bytes)
      try {
        const { tensors } = await readGgufHeader(path)
        for (const { offset, length } of tensors) expect(offset + length).toBeLessThanOrEqual(bytes.length)
      } catch (error) {
        expectBadCheckpoint(error)
      }
    }),
    runs(150),
  )
})
