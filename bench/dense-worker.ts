/**
 * One side of the dense comparison, in its own process: this engine or node-llama-cpp. The parent sends one {@link
 * Command} at a time.
 */

import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

import { loadBackend } from '../src/tensor/index.ts'
import { dense, denseFile } from './dense-file.ts'
import { DenseModel } from './dense-model.ts'

export type Command =
  | {
      readonly do: 'load'
      readonly path: string
      readonly type: 'q4_0' | 'q4_k' | 'q8_0'
      readonly threads: number
      readonly context: number
      readonly cache?: string
      readonly peer?: string
    }
  /** Empties the context and prefills these tokens. Replies with milliseconds. */
  | { readonly do: 'prefill'; readonly tokens: readonly number[] }
  /** Decodes tokens one by one. Replies with milliseconds each. */
  | { readonly do: 'decode'; readonly tokens: readonly number[] }
  /**
   * Takes these tokens as the whole prompt, reuses the longest prefix that the context shares with them, and gives the
   * likeliest next one. Replies with milliseconds.
   */
  | { readonly do: 'turn'; readonly tokens: readonly number[] }
  /** Decodes one token and replies with the logits after it. */
  | { readonly do: 'logits'; readonly token: number }
  /** Longest gap of the event loop while it decodes a token, milliseconds. */
  | { readonly do: 'gap'; readonly token: number }
  | { readonly do: 'end' }

interface Side {
  prefill(tokens: readonly number[]): Promise<void>
  /** Decodes one token and gives the likeliest next one. */
  read(token: number): Promise<number>
  /** The likeliest token after a prompt, reusing the prefix that the context shares with it. */
  turn(tokens: readonly number[]): Promise<number>
  logits(token: number): Promise<readonly number[]>
}

async function ours(command: Command & { do: 'load' }): Promise<Side> {
  const { tensors } = denseFile(command.path, command.type)
  const backend = await loadBackend({ device: 'cpu', threads: command.threads })
  const model = await DenseModel.load(backend, command.path, tensors, {
    ...(command.cache && { repackCache: { directory: command.cache, key: `dense-${dense.layers}-${command.type}` } }),
  })
  let cache = model.newCache(command.context)
  let held: number[] = []
  const forward = (tokens: readonly number[]): Promise<Float32Array> => {
    held.push(...tokens)
    return model.forward(cache, Int32Array.from(tokens))
  }
  return {
    async prefill(tokens) {
      cache[Symbol.dispose]()
      cache = model.newCache(command.context)
      held = []
      for (let at = 0; at < tokens.length; at += 512) await forward(tokens.slice(at, at + 512))
    },
    async read(token) {
      return likeliest(await forward([token]))
    },
    async turn(tokens) {
      let common = 0
      while (common < tokens.length - 1 && tokens[common] === held[common]) common++
      cache.truncate(common)
      held.length = common
      return likeliest(await forward(tokens.slice(common)))
    },
    async logits(token) {
      return Array.from(await forward([token]))
    },
  }
}

function likeliest(logits: Float32Array): number {
  let best = 0
  for (let i = 1; i < logits.length; i++) if ((logits[i] ?? 0) > (logits[best] ?? 0)) best = i
  return best
}

/** The parts of node-llama-cpp that are used here. */
interface PeerSequence {
  readonly nextTokenIndex: number
  adaptStateToTokens(tokens: readonly number[]): Promise<void>
  clearHistory(): Promise<void>
  evaluateWithoutGeneratingNewTokens(tokens: readonly number[]): Promise<void>
  controlledEvaluate(
    input: readonly unknown[],
  ): Promise<readonly ({ next: { token?: number; logits?: Map<number, number> } } | undefined)[]>
}
interface PeerModule {
  getLlama(options: object): Promise<{
    loadModel(options: object): Promise<{ createContext(options: object): Promise<{ getSequence(): PeerSequence }> }>
  }>
}

async function theirs(command: Command & { do: 'load' }): Promise<Side> {
  const entry = createRequire(`${command.peer}/package.json`).resolve('node-llama-cpp')
  const peer = (await import(pathToFileURL(entry).href)) as PeerModule
  const llama = await peer.getLlama({
    build: 'never',
    gpu: false,
    usePrebuiltBinaries: true,
    logLevel: 'error',
    maxThreads: command.threads,
  })
  const model = await llama.loadModel({ modelPath: command.path, useMmap: true })
  const context = await model.createContext({
    contextSize: command.context,
    batchSize: 512,
    threads: command.threads,
    sequences: 1,
    flashAttention: true,
  })
  const sequence = context.getSequence()
  return {
    async prefill(tokens) {
      await sequence.clearHistory()
      await sequence.evaluateWithoutGeneratingNewTokens(tokens)
    },
    async read(token) {
      // With the next token: evaluating alone leaves out the output layer.
      const output = await sequence.controlledEvaluate([
        [token, { generateNext: { token: true, options: { temperature: 0 } } }],
      ])
      return Number(output.at(-1)?.next.token ?? -1)
    },
    async turn(tokens) {
      // The last token is run in any case, for the next ones.
      await sequence.adaptStateToTokens(tokens.slice(0, -1))
      const rest: unknown[] = tokens.slice(sequence.nextTokenIndex)
      rest.push([rest.pop(), { generateNext: { token: true, options: { temperature: 0 } } }])
      const output = await sequence.controlledEvaluate(rest)
      return Number(output.at(-1)?.next.token ?? -1)
    },
    async logits(token) {
      const options = { temperature: 1, topK: dense.vocabulary, topP: 1, minP: 0 }
      const output = await sequence.controlledEvaluate([[token, { generateNext: { logits: true, options } }]])
      const found = output.at(-1)?.next.logits
      return Array.from({ length: dense.vocabulary }, (_, id) => found?.get(id) ?? Number.NaN)
    },
  }
}

let side: Side | undefined

async function handle(command: Command): Promise<unknown> {
  if (command.do === 'load') {
    const begun = performance.now()
    side = await (command.peer === undefined ? ours(command) : theirs(command))
    return performance.now() - begun
  }
  if (command.do === 'end') process.exit(0)
  if (!side) throw new Error('not loaded')
  const begun = performance.now()
  switch (command.do) {
    case 'prefill':
      await side.prefill(command.tokens)
      return performance.now() - begun
    case 'decode': {
      const durations: number[] = []
      for (const token of command.tokens) {
        const from = performance.now()
        await side.read(token)
        durations.push(performance.now() - from)
      }
      return durations
    }
    case 'turn':
      await side.turn(command.tokens)
      return performance.now() - begun
    case 'logits':
      return side.logits(command.token)
    case 'gap': {
      let last = performance.now()
      let longest = 0
      const timer = setInterval(() => {
        const now = performance.now()
        longest = Math.max(longest, now - last)
        last = now
      }, 1)
      await side.read(command.token)
      clearInterval(timer)
      return longest
    }
    default:
      return command satisfies never
  }
}

process.on('message', (command: Command) => {
  handle(command).then(
    (result) => process.send?.({ result }),
    (error: unknown) =>
      process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  )
})
