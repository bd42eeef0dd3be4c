/**
 * Runs benchmarks: `npm run bench` all short ones, `npm run bench -- NAME...` the named ones, `--quick` with smaller
 * sizes, `--list` lists them. `OMNISERVE_BENCH_DIR` is the folder of large files (default: the system's temporary
 * folder).
 */

import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { formatTable, runBenchmark, type Benchmark, type BenchmarkContext } from './harness.ts'

const folder = import.meta.dirname

/** Benchmarks of the folder: the exports of its files. */
async function findBenchmarks(): Promise<Benchmark[]> {
  const found: Benchmark[] = []
  for (const name of readdirSync(folder).toSorted()) {
    if (
      !/^(cluster|engine|conversation|realtime|wire|web|media|pipeline|full-size|drift)-.*\.ts$/.test(name) ||
      /\.(test|d)\.ts$/.test(name)
    )
      continue
    const module = (await import(join(folder, name))) as Record<string, unknown>
    for (const value of Object.values(module)) if (isBenchmark(value)) found.push(value)
  }
  return found
}

function isBenchmark(value: unknown): value is Benchmark {
  return typeof value === 'object' && value !== null && 'name' in value && 'title' in value && 'run' in value
}

async function main(args: readonly string[]): Promise<number> {
  const names = args.filter((arg) => !arg.startsWith('-'))
  const all = await findBenchmarks()
  if (args.includes('--list')) {
    for (const { name, title, long } of all)
      console.log(`${name.padEnd(24)} ${title}${long ? ' (long: run it by name)' : ''}`)
    return 0
  }
  const unknown = names.filter((name) => !all.some((benchmark) => benchmark.name === name))
  if (unknown.length > 0) {
    console.error(`No benchmark ${unknown.join(', ')}. There are: ${all.map(({ name }) => name).join(', ')}`)
    return 2
  }
  const controller = new AbortController()
  process.once('SIGINT', () => controller.abort(new Error('interrupted')))
  const directory = process.env['OMNISERVE_BENCH_DIR'] ?? join(tmpdir(), 'omniserve-bench')
  const results = join(folder, 'results')
  mkdirSync(directory, { recursive: true })
  mkdirSync(results, { recursive: true })
  const context: BenchmarkContext = {
    quick: args.includes('--quick'),
    directory,
    log: (text) => console.error(text),
    signal: controller.signal,
  }
  let failed = 0
  for (const benchmark of all) {
    if (names.length > 0 ? !names.includes(benchmark.name) : benchmark.long) continue
    console.log(`\n${benchmark.name}: ${benchmark.title}`)
    try {
      const result = await runBenchmark(benchmark, context)
      console.log(formatTable(result.rows))
      writeFileSync(join(results, `${benchmark.name}.json`), `${JSON.stringify(result, null, 2)}\n`)
    } catch (error) {
      failed++
      console.error(`${benchmark.name} failed:`, error)
      if (controller.signal.aborted) break
    }
  }
  return failed > 0 ? 1 : 0
}

process.exitCode = await main(process.argv.slice(2))
