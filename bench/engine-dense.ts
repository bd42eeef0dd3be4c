/**
 * Decode and prefill of a 3B dense decoder against node-llama-cpp, alternating, on one file; whether the logits agree; how long the event
 * loop waits; and the share of the memory bandwidth that decoding reaches.
 */

import { fork, type ChildProcess } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'

import { dense, denseFile } from './dense-file.ts'
import type { Command } from './dense-worker.ts'
import { median, type Benchmark, type BenchmarkContext, type Row } from './harness.ts'

const type = 'q4_0'

class Worker {
  readonly #process: ChildProcess

  constructor() {
    this.#process = fork(join(import.meta.dirname, 'dense-worker.ts'), { stdio: 'inherit' })
  }

  ask<T>(command: Command): Promise<T> {
    return new Promise((resolve, reject) => {
      const done = (message: { result: T; error?: string }): void => {
        this.#process.off('exit', gone)
        if (message.error === undefined) resolve(message.result)
        else reject(new Error(message.error))
      }
      const gone = (code: number | null): void => {
        this.#process.off('message', done)
        reject(new Error(`a worker ended with ${code}`))
      }
      this.#process.once('message', done)
      this.#process.once('exit', gone)
      this.#process.send(command)
    })
  }

  stop(): void {
    this.#process.kill()
  }
}

/** Bytes per second that all threads together read from memory: the sum over a large array. */
function readBandwidth(): number {
  const words = new Float64Array(1 << 26)
  let best = 0
  for (let round = 0; round < 3; round++) {
    const begun = performance.now()
    let sum = 0
    for (let i = 0; i < words.length; i += 8) sum += words[i] ?? 0
    best = Math.max(best, (words.byteLength / (performance.now() - begun)) * 1000)
    if (Number.isNaN(sum)) throw new Error('unreachable')
  }
  return best
}

async function run(context: BenchmarkContext): Promise<Row[]> {
  const path = join(context.directory, `dense-3b-${type}.gguf`)
  context.log(`writing ${path}`)
  const { bytesPerToken } = denseFile(path, type)
  const threads = availableParallelism()
  const peerFolder = import.meta.dirname
  const peerInstalled = existsSync(join(peerFolder, 'node_modules', 'node-llama-cpp'))
  if (!peerInstalled)
    context.log('node-llama-cpp is not installed in bench/: measuring ours alone (see bench/package.json)')
  const contexts = context.quick ? [512] : [512, 8192]
  const rows: Row[] = []
  for (const size of contexts) {
    const load = { do: 'load', path, type, threads, context: size + 512 } as const
    const our = new Worker()
    const peer = peerInstalled ? new Worker() : undefined
    try {
      const ourLoad = await our.ask<number>({ ...load, cache: context.directory })
      const peerLoad = await peer?.ask<number>({ ...load, peer: peerFolder })
      const sides = [our, ...(peer ? [peer] : [])]
      const prompt = Array.from({ length: size }, (_, i) => 1000 + ((i * 13) % 100_000))
      const prefill: number[][] = sides.map(() => [])
      const rounds = size > 1000 || context.quick ? 1 : 3
      for (let round = 0; round < rounds; round++) {
        for (const [i, side] of sides.entries())
          prefill[i]?.push(await side.ask<number>({ do: 'prefill', tokens: prompt }))
      }
      const decode: number[][] = sides.map(() => [])
      for (let round = 0; round < (context.quick ? 2 : 6); round++) {
        for (const [i, side] of sides.entries()) {
          const tokens = Array.from({ length: 8 }, (_, token) => 2000 + round * 8 + token)
          decode[i]?.push(...(await side.ask<number[]>({ do: 'decode', tokens })))
        }
        context.signal.throwIfAborted()
      }
      const speed = (values: readonly number[][], i: number, tokens: number): number =>
        (tokens / median(values[i] ?? [])) * 1000
      const ratio = (ours: number, theirs: number): Row[string] => (peer ? ours / theirs : '')
      for (const [name, values, tokens] of [
        ['decode', decode, 1],
        ['prefill', prefill, size],
      ] as const) {
        const ours = speed(values, 0, tokens)
        const theirs = peer ? speed(values, 1, tokens) : 0
        rows.push({
          case: `${name} at ${size}`,
          'omniserve tok/s': ours,
          'node-llama-cpp tok/s': peer ? theirs : '',
          ratio: ratio(ours, theirs),
        })
      }
      rows.push({
        case: `load at ${size}, s`,
        'omniserve tok/s': ourLoad / 1000,
        'node-llama-cpp tok/s': (peerLoad ?? 0) / 1000,
      })
      if (size === 512) {
        const gaps: number[] = []
        for (let i = 0; i < 5; i++) gaps.push(await our.ask<number>({ do: 'gap', token: 3000 + i }))
        rows.push({
          case: 'longest event-loop gap while a token is computed, ms',
          'omniserve tok/s': Math.max(...gaps),
        })
        const perSecond = (bytesPerToken / median(decode[0] ?? [])) * 1000
        rows.push({ case: 'weights read while decoding, GB/s', 'omniserve tok/s': perSecond / 1e9 })
        rows.push({ case: 'memory read by one thread, GB/s', 'omniserve tok/s': readBandwidth() / 1e9 })
        if (peer) rows.push(await compareLogits(our, peer, prompt))
      }
    } finally {
      our.stop()
      peer?.stop()
    }
  }
  rows.push({ case: 'file, GB', 'omniserve tok/s': statSync(path).size / 1e9 })
  return rows
}

/** Log-probabilities of a spread of tokens after the same text, on both sides. */
async function compareLogits(our: Worker, peer: Worker, prompt: readonly number[]): Promise<Row> {
  const of = Array.from({ length: dense.vocabulary }, (_, i) => i)
  const tokens = prompt.slice(0, 64)
  const results: number[][] = []
  for (const side of [our, peer]) {
    await side.ask({ do: 'prefill', tokens })
    results.push(await side.ask<number[]>({ do: 'probabilities', token: 42, of }))
  }
  const [ours = [], theirs = []] = results
  const shared = of.filter((i) => (ours[i] ?? 0) > 0 && (theirs[i] ?? 0) > 0)
  const differences = shared.map((i) => Math.abs(Math.log(ours[i] ?? 1) - Math.log(theirs[i] ?? 1)))
  const best = (values: readonly number[]): number => values.indexOf(values.reduce((a, b) => Math.max(a, b)))
  return {
    case: `logits: largest difference over ${shared.length} tokens; same likeliest: ${best(ours) === best(theirs) ? 'yes' : 'no'}`,
    'omniserve tok/s': differences.reduce((a, b) => Math.max(a, b), 0),
  }
}

export const benchmark: Benchmark = {
  name: 'engine-dense',
  title: `decode and prefill of a 3B dense decoder (${type}, random weights) against node-llama-cpp, alternating`,
  run,
}
