/**
 * A benchmark, and its results.
 *
 * A file `bench/<area>-<what>.ts` exports one or more {@link Benchmark}s; `node bench/run.ts [name...]` runs them in
 * sequence, prints a table for each and saves the results with the machine's description as JSON under
 * `bench/results/`.
 */

import { cpus, loadavg, totalmem } from 'node:os'

/** One line of a table: what was measured, and numbers or short texts by column. Columns name their unit. */
export interface Row {
  readonly case: string
  readonly [column: string]: number | string
}

export interface BenchmarkContext {
  /** Fewer repetitions and smaller sizes, to check that it works. */
  readonly quick: boolean
  /** Folder for large files, kept between runs. */
  readonly directory: string
  /** Progress, on stderr. */
  log(text: string): void
  readonly signal: AbortSignal
}

export interface Benchmark {
  readonly name: string
  /** What it compares, in a sentence. */
  readonly title: string
  /** Skipped by `npm run bench` without names when true: it takes many minutes or much memory. */
  readonly long?: boolean
  run(context: BenchmarkContext): Promise<readonly Row[]>
}

export interface BenchmarkResult {
  readonly name: string
  readonly title: string
  readonly date: string
  readonly seconds: number
  readonly machine: { readonly cpu: string; readonly cores: number; readonly memoryGb: number; readonly node: string }
  /** Load averages before and after: how noisy the run was. */
  readonly load: { readonly before: number; readonly after: number }
  readonly quick: boolean
  readonly rows: readonly Row[]
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

/** The value that the share `part` of all is below; the largest for 1. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
}

/** Three significant digits, for tables. */
export function round(value: number): number {
  return value === 0 || !Number.isFinite(value) ? value : Number(value.toPrecision(3))
}

/** Milliseconds that `work` takes, `times` times, after one run that is not counted. */
export async function measure(times: number, work: () => unknown): Promise<number[]> {
  await work()
  const durations: number[] = []
  for (let i = 0; i < times; i++) {
    const begun = performance.now()
    await work()
    durations.push(performance.now() - begun)
  }
  return durations
}

/** Runs one benchmark and describes the machine. */
export async function runBenchmark(benchmark: Benchmark, context: BenchmarkContext): Promise<BenchmarkResult> {
  const before = loadavg()[0] ?? 0
  const begun = performance.now()
  const rows = await benchmark.run(context)
  return {
    name: benchmark.name,
    title: benchmark.title,
    date: new Date().toISOString(),
    seconds: round((performance.now() - begun) / 1000),
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown',
      cores: cpus().length,
      memoryGb: round(totalmem() / 2 ** 30),
      node: process.version,
    },
    load: { before: round(before), after: round(loadavg()[0] ?? 0) },
    quick: context.quick,
    rows,
  }
}

/** Rows as a table of aligned columns. */
export function formatTable(rows: readonly Row[]): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  const cell = (value: number | string | undefined): string =>
    value === undefined ? '' : typeof value === 'number' ? String(round(value)) : value
  const lines = [columns, ...rows.map((row) => columns.map((column) => cell(row[column])))]
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => (line[i] ?? '').length)))
  const format = (line: readonly string[]): string =>
    line.map((text, i) => (i === 0 ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0))).join('  ')
  const [head = [], ...rest] = lines
  return [format(head), widths.map((width) => '-'.repeat(width)).join('  '), ...rest.map(format)].join('\n')
}
