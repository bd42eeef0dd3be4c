/**
 * Decode and prefill of a 3B dense decoder against node-llama-cpp, alternating, on one file; whether the logits agree;
 * the event loop's longest gap; and the share of the memory bandwidth that decoding reaches.
 */

import { fork, type ChildProcess } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Worker as Thread } from 'node:worker_threads'

import { dense, denseFile } from './dense-file.ts'
import type { Command } from './dense-worker.ts'
import { median, type Benchmark, type BenchmarkContext, type Row } from './harness.ts'

const type = 'q4_0'

/** A process that runs one side. */
class Side {
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

/** Bytes per second that all cores together read from memory: each compares two large equal arrays. */
async function readBandwidth(cores: number): Promise<number> {
  const code = `
    const { parentPort } = require('node:worker_threads')
    const [a, b] = [Buffer.alloc(1 << 28, 1), Buffer.alloc(1 << 28, 1)]
    parentPort.once('message', () => {
      let best = 0
      let equal = true
      for (let round = 0; round < 10; round++) {
        const begun = performance.now()
        equal = equal && a.equals(b)
        best = Math.max(best, ((a.length + b.length) / (performance.now() - begun)) * 1000)
      }
      parentPort.postMessage({ best, equal })
    })
    parentPort.postMessage('ready')`
  const threads = Array.from({ length: cores }, () => new Thread(code, { eval: true }))
  const next = (thread: Thread): Promise<{ best: number }> =>
    new Promise((resolve, reject) => {
      thread.once('message', resolve)
      thread.once('error', reject)
    })
  await Promise.all(threads.map(next))
  const results = threads.map(next)
  for (const thread of threads) thread.postMessage('go')
  const measured = await Promise.all(results)
  await Promise.all(threads.map((thread) => thread.terminate()))
  return measured.reduce((sum, { best }) => sum + best, 0)
}

async function run(context: BenchmarkContext, size: number): Promise<Row[]> {
  const path = join(context.directory, `dense-${dense.layers}-${type}.gguf`)
  context.log(`writing ${path}`)
  const { bytesPerToken } = denseFile(path, type)
  const threads = availableParallelism()
  const peerInstalled = existsSync(join(import.meta.dirname, 'node_modules', 'node-llama-cpp'))
  if (!peerInstalled)
    context.log('node-llama-cpp is not installed in bench/: measuring ours alone (see bench/package.json)')
  const rows: Row[] = []
  const add = (name: string, unit: string, ours: number, theirs?: number, ratio?: number): void => {
    rows.push({
      case: name,
      omniserve: ours,
      'node-llama-cpp': theirs ?? '',
      unit,
      ratio: ratio ?? '',
    })
  }
  const load = { do: 'load', path, type, threads, context: size + 512 } as const
  const our = new Side()
  const peer = peerInstalled ? new Side() : undefined
  const sides = peer ? [our, peer] : [our]
  try {
    const ourLoad = await our.ask<number>({ ...load, cache: context.directory })
    const peerLoad = await peer?.ask<number>({ ...load, peer: import.meta.dirname })
    add(`load of ${dense.layers} layers`, 's', ourLoad / 1000, peerLoad === undefined ? undefined : peerLoad / 1000)
    const prompt = Array.from({ length: size }, (_, i) => 1000 + ((i * 13) % 100_000))
    const prefill: number[][] = sides.map(() => [])
    for (let round = 0; round < (size > 1000 || context.quick ? 1 : 3); round++) {
      for (const [i, side] of sides.entries()) {
        prefill[i]?.push(await side.ask<number>({ do: 'prefill', tokens: prompt }))
        context.log(`prefill of ${size}: ${Math.round((prefill[i]?.at(-1) ?? 0) / 100) / 10} s`)
      }
    }
    const decode: number[][] = sides.map(() => [])
    for (let round = 0; round < (context.quick ? 4 : 8); round++) {
      for (const [i, side] of sides.entries()) {
        const tokens = Array.from({ length: 6 }, (_, token) => 2000 + round * 8 + token)
        decode[i]?.push(...(await side.ask<number[]>({ do: 'decode', tokens })))
      }
      context.signal.throwIfAborted()
    }
    const compare = (name: string, durations: readonly number[][], tokens: number): void => {
      const [ours = 0, theirs] = durations.map((values) => (tokens / median(values)) * 1000)
      add(name, 'tokens/s, median', ours, theirs, theirs === undefined ? undefined : ours / theirs)
      const [best = 0, theirBest] = durations.map((values) => (tokens / Math.min(...values)) * 1000)
      add(name, 'tokens/s, best', best, theirBest, theirBest === undefined ? undefined : best / theirBest)
    }
    const turns: number[][] = sides.map(() => [])
    for (let round = 0; round < (context.quick ? 2 : 6); round++) {
      const said = Array.from({ length: 24 }, (_, token) => 4000 + round * 64 + token)
      const asked = Array.from({ length: 24 }, (_, token) => 5000 + round * 64 + token)
      for (const [i, side] of (round % 2 === 0 ? [0, 1] : [1, 0]).flatMap((at) =>
        sides[at] ? [[at, sides[at]] as const] : [],
      )) {
        await side.ask<number>({ do: 'turn', tokens: prompt })
        await side.ask<number[]>({ do: 'decode', tokens: said })
        turns[i]?.push(await side.ask<number>({ do: 'turn', tokens: [...prompt, ...said, ...asked] }))
      }
      context.signal.throwIfAborted()
    }
    const [ourTurn = 0, theirTurn] = turns.map((values) => (values.length > 0 ? median(values) : undefined))
    add(
      `first token of a second turn, ${size} tokens reused`,
      'ms, median',
      ourTurn,
      theirTurn,
      theirTurn === undefined ? undefined : theirTurn / ourTurn,
    )
    compare(`decode at ${size}`, decode, 1)
    compare(`prefill of ${size}`, prefill, size)
    const gaps: number[] = []
    for (let i = 0; i < 5; i++) gaps.push(await our.ask<number>({ do: 'gap', token: 3000 + i }))
    add('longest event-loop gap while a token is computed', 'ms, median of 5', median(gaps))
    const perSecond = bytesPerToken / (Math.min(...(decode[0] ?? [])) / 1000)
    const bandwidth = await readBandwidth(threads)
    add('weights read while decoding', 'GB/s, best', perSecond / 1e9)
    add('memory read by all cores', 'GB/s', bandwidth / 1e9)
    add('share of the memory bandwidth', '', perSecond / bandwidth)
    if (peer && size <= 512) {
      const { difference, same } = await compareLogits(our, peer, prompt)
      add(
        `logits against node-llama-cpp (likeliest token ${same ? 'equal' : 'differs'})`,
        'relative difference',
        difference,
      )
    }
  } finally {
    for (const side of sides) side.stop()
  }
  return rows
}

/** The logits of both sides after the same text. */
async function compareLogits(
  our: Side,
  peer: Side,
  prompt: readonly number[],
): Promise<{ difference: number; same: boolean }> {
  const results: number[][] = []
  for (const side of [our, peer]) {
    await side.ask({ do: 'prefill', tokens: prompt.slice(0, 64) })
    results.push(await side.ask<number[]>({ do: 'logits', token: 42 }))
  }
  const [ours = [], theirs = []] = results
  let difference = 0
  let size = 0
  for (const [i, theirLogit] of theirs.entries()) {
    difference += ((ours[i] ?? 0) - theirLogit) ** 2
    size += theirLogit ** 2
  }
  const best = (values: readonly number[]): number => values.indexOf(values.reduce((a, b) => Math.max(a, b)))
  return { difference: Math.sqrt(difference / size), same: best(ours) === best(theirs) }
}

export const benchmark: Benchmark = {
  name: 'engine-dense',
  title: `decode and prefill of a 3B dense decoder (${type}, random weights) at 512 tokens, against node-llama-cpp, alternating`,
  run: (context) => run(context, 512),
}

export const longBenchmark: Benchmark = {
  name: 'engine-dense-8k',
  title: 'the same at 8,192 tokens',
  long: true,
  run: (context) => run(context, 8192),
}
