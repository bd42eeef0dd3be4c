/**
 * One stage of Qwen3-Omni-30B-A3B at its published size with random weights, and its baseline: reading as many bytes.
 *
 * Weights are normal with the spread that keeps activations near 1; the same ones in every type, up to rounding.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'

import { parseConfig } from '../src/models/qwen3-omni/config.ts'
import type { ParameterDeclaration, Parameters } from '../src/nn/index.ts'
import { tensorTypes, type Backend, type TensorType } from '../src/tensor/index.ts'
import { normal, randomModel, type RandomModel } from './random-weights.ts'

const path = join(import.meta.dirname, '..', 'testdata', 'qwen3-omni-30b-a3b', 'config.json')

/** The published config.json. */
export function publishedConfig(): Record<string, unknown> {
  return JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
}

/** What the published config.json says of speech. */
export function realSpeech(): NonNullable<ReturnType<typeof parseConfig>['speech']> {
  const { speech } = parseConfig(publishedConfig())
  if (!speech) throw new Error('the published configuration speaks')
  return speech
}

/** `type`: of all weights that need not be exact. */
export function randomStage<T>(
  backend: Backend,
  type: TensorType,
  construct: (parameters: Parameters) => T,
): Promise<RandomModel<T>> {
  return randomModel(backend, construct, (declaration) => typeOf(declaration, type), valuesOf)
}

function typeOf({ shape, precision }: ParameterDeclaration, type: TensorType): TensorType {
  if (precision === 'exact') return 'f32'
  return shape[0] % tensorTypes[type].blockSize === 0 ? type : 'f16'
}

function valuesOf({ name, shape }: ParameterDeclaration, seed: number): Float32Array {
  const count = shape.reduce((product, extent) => product * extent, 1)
  if (/(norm\d?|layernorm|_norm)\.weight$/.test(name)) return normal(count, 0.1, 1, seed)
  if (/embedding/.test(name)) return normal(count, 1, 0, seed)
  if (/\.(alpha|beta)$/.test(name)) return normal(count, 0.4, 0, seed)
  if (/(scale|gamma)$/.test(name)) return normal(count, 0.05, 0.1, seed)
  return normal(count, shape[1] > 1 ? 1 / Math.sqrt(shape[0]) : 0.05, 0, seed)
}

export interface Spent {
  /** Milliseconds. */
  readonly wall: number
  /** Milliseconds of all threads of the process together. */
  readonly processor: number
}

export async function spend(work: () => unknown): Promise<Spent> {
  const before = process.cpuUsage()
  const begun = performance.now()
  await work()
  const wall = performance.now() - begun
  const { user, system } = process.cpuUsage(before)
  return { wall, processor: (user + system) / 1000 }
}

/** Reads memory as the C library compares it: `threads` at once, each its share of `bytes`. */
export class Reader implements AsyncDisposable {
  readonly #workers: Worker[] = []
  readonly #here: [Buffer, Buffer]

  constructor(bytes: number, threads: number) {
    const share = Math.floor(bytes / 2 / threads)
    this.#here = [Buffer.alloc(share, 1), Buffer.alloc(share, 1)]
    const code = `
      const { parentPort, workerData } = require('node:worker_threads')
      const [a, b] = [Buffer.alloc(workerData, 1), Buffer.alloc(workerData, 1)]
      parentPort.on('message', (times) => {
        for (let i = 0; i < times; i++) if (!a.equals(b)) throw new Error('memory differs')
        parentPort.postMessage('done')
      })`
    for (let i = 1; i < threads; i++) this.#workers.push(new Worker(code, { eval: true, workerData: share }))
  }

  async read(times: number): Promise<void> {
    const others = this.#workers.map(
      (worker) =>
        new Promise((resolve) => {
          worker.once('message', resolve)
          worker.postMessage(times)
        }),
    )
    for (let i = 0; i < times; i++) if (!this.#here[0].equals(this.#here[1])) throw new Error('memory differs')
    await Promise.all(others)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()))
  }
}
