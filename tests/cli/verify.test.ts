/**
 * `omniserve verify`: nano passes; nano with rows of a few matrices exchanged fails, by the checks that depend on them.
 */
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import type { Finding, Report } from '../../src/cli/verify/report.ts'
import { omniserve, temporaryFolder, tinyCheckpoint } from './run-cli.ts'

// Speech is generated and transcribed several times, which takes long on a busy machine.
vi.setConfig({ testTimeout: 600_000 })

const nano = fileURLToPath(new URL('../../models/nano', import.meta.url))

let folder: Awaited<ReturnType<typeof temporaryFolder>>
beforeAll(async () => {
  folder = await temporaryFolder()
})
afterAll(() => folder[Symbol.asyncDispose]())

const run = (...args: string[]) =>
  omniserve(args, { folder: folder.path, environment: { OMNISERVE_HOME: path.join(folder.path, 'home') } })

async function readReport(file: string): Promise<Report> {
  return JSON.parse(await readFile(path.join(folder.path, file), 'utf8')) as Report
}

const states = (report: Report): Record<string, Finding['state']> =>
  Object.fromEntries(report.findings.map(({ name, state }) => [name, state]))

/** A copy of nano in which each of the named matrices has its rows in reverse order. */
async function shuffledNano(target: string, matrices: RegExp): Promise<void> {
  await mkdir(target, { recursive: true })
  await cp(nano, target, { recursive: true })
  const file = path.join(target, 'model.safetensors')
  const bytes = await readFile(file)
  const start = 8 + Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<
    string,
    { readonly shape: readonly number[]; readonly data_offsets: readonly [number, number] }
  >
  let changed = 0
  for (const [name, { shape, data_offsets: offsets }] of Object.entries(header)) {
    if (!matrices.test(name)) continue
    const data = bytes.subarray(start + offsets[0], start + offsets[1])
    const before = Buffer.from(data)
    const rows = shape[0] ?? 1
    const width = data.length / rows
    for (let row = 0; row < rows; row += 1)
      before.copy(data, row * width, (rows - 1 - row) * width, (rows - row) * width)
    changed += 1
  }
  expect(changed).toBe(3)
  await writeFile(file, bytes)
}

it('passes nano, agrees with its 8-bit weights, and writes a report without private data', async () => {
  expect((await run('convert', nano, '--quantize', 'q8_0', '--output', 'q8_0.gguf')).code).toBe(0)
  const args = ['--against', 'q8_0.gguf', '--level', 'demo', '--device', 'cpu', '--json', 'report.json']
  const { code, out, errors } = await run('verify', ...args)
  expect({ code, out, errors }).toMatchObject({ code: 0, out: expect.stringContaining('All checks passed.') })
  const text = await readFile(path.join(folder.path, 'report.json'), 'utf8')
  for (const secret of [folder.path, hostname(), process.cwd(), nano]) expect(text).not.toContain(secret)
  const report = await readReport('report.json')
  expect(report).toMatchObject({
    complete: true,
    passed: true,
    checkpoint: { name: 'nano', architecture: 'Qwen3OmniMoeForConditionalGeneration', speakers: 49 },
    level: 'demo',
    seed: 1,
    device: expect.stringMatching(/^cpu/),
    versions: { node: process.versions.node, library: expect.stringContaining('ggml') },
  })
  expect(Object.keys(states(report))).toEqual([
    'sums',
    'numbers',
    'words',
    'speech, English',
    'speech, Chinese',
    'determinism',
    'streaming',
    'agreement',
  ])
  expect(report.against?.weights).toContain('q8_0')
  const [streaming, agreement] = report.findings.slice(-2)
  expect(report.findings.every(({ details }) => details.length > 0 && details.every(({ got }) => got !== ''))).toBe(
    true,
  )
  // Streamed and whole differ by rounding to 16 bits, and in the last bits of floats.
  expect(streaming?.measured).toBeGreaterThan(60)
  expect(streaming?.measured).toBeLessThan(120)
  expect(agreement?.unit).toBe('share')
  // Eight bits hardly change nano's text; a wrong row or position changes nearly all of it.
  expect(agreement?.measured).toBeGreaterThan(0.9)
  expect(agreement?.measured).toBeLessThanOrEqual(1)
})

it('fails a checkpoint with shuffled vision and speech matrices, and passes its text', async () => {
  const target = path.join(folder.path, 'shuffled')
  await shuffledNano(
    target,
    /^(thinker\.visual\.merger\.mlp\.2|code2wav\.decoder\.0\.conv|talker\.code_predictor\.lm_head\.0)\.weight$/,
  )
  const { code, out } = await run('verify', target, '--level', 'demo', '--device', 'cpu', '--json', 'bad.json')
  expect({ code, out }).toMatchObject({ code: 1, out: expect.stringContaining('FAIL') })
  const report = await readReport('bad.json')
  expect(report).toMatchObject({ complete: true, passed: false, checkpoint: { name: 'shuffled' } })
  expect(states(report)).toMatchObject({
    sums: 'passed',
    numbers: 'failed',
    words: 'failed',
    'speech, English': 'failed',
    'speech, Chinese': 'failed',
    determinism: 'passed',
    streaming: 'passed',
  })
})

it('lists speech as not checked for a checkpoint without it, and fails random weights', async () => {
  const thinker = path.join(path.dirname(tinyCheckpoint), 'tiny-thinker')
  const { code, out } = await run('verify', thinker, '--device', 'cpu')
  expect(code).toBe(1)
  expect(out).toMatch(/^none +speech, English .*not checked: no speech$/m)
  expect(out).toMatch(/^FAIL +sums/m)
})

it('refuses to compare different models or missing checkpoints', async () => {
  const other = path.join(path.dirname(tinyCheckpoint), 'tiny25-thinker')
  const thinker = path.join(path.dirname(tinyCheckpoint), 'tiny-thinker')
  expect(await run('verify', thinker, '--against', other, '--device', 'cpu')).toMatchObject({
    code: 2,
    errors: expect.stringContaining('give the same model with other weight types'),
  })
  expect(await run('verify', thinker, '--against', 'nowhere/nothing')).toMatchObject({ code: 3, out: '' })
})
