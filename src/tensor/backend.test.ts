import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import {
  buildGraph,
  GraphCache,
  loadBackend,
  TensorError,
  TensorLibraryError,
  type Backend,
  type GraphBuilder,
  type Tensor,
} from './index.ts'
import { checkVersion, loadLibrary, packagesFor } from './library.ts'

let backend: Backend
beforeAll(async () => {
  backend = await loadBackend({ device: 'cpu', threads: 2 })
})
afterAll(() => {
  expect(backend.memory).toEqual({ buffers: 0, contexts: 0, objects: 0 })
  backend[Symbol.dispose]()
})

/** A chain of matrix products, each of several milliseconds. */
const productChain =
  (layers: number) =>
  (g: GraphBuilder): { y: Tensor<'f32'> } => {
    const w = g.input('w', 'f32', [768, 768])
    let y: Tensor<'f32'> = g.input('x', 'f32', [768, 512])
    for (let i = 0; i < layers; i++) y = g.mulMat(w, y)
    return { y }
  }
/** Microseconds of CPU time of this process since then; unlike elapsed time, not longer on a busy machine. */
function cpuTime(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since)
  return user + system
}

const chainInputs = { w: new Float32Array(768 * 768), x: new Float32Array(768 * 512) }

describe('the library', () => {
  it('is refused when its version is untested, with the fix in the message', () => {
    expect(() => checkVersion('0.26.0', 'abcdef1', '@node-llama-cpp/linux-x64')).toThrow(TensorLibraryError)
    expect(() => checkVersion('0.26.0', 'abcdef1', '@node-llama-cpp/linux-x64')).toThrow(
      /contains ggml 0\.26\.0 \(abcdef1\), which omniserve was not tested with; tested: 0\.25\.1 \(0ad4a86\)/,
    )
    expect(() => checkVersion('0.25.1', 'fffffff', 'x')).toThrow(/not tested/)
    expect(() => checkVersion('0.26.0', 'abcdef1', 'x', true)).not.toThrow()
    expect(() => checkVersion('0.25.1', '0ad4a8612', 'x')).not.toThrow()
  })

  it('names the package to install for a device', () => {
    expect(packagesFor('cpu', 'linux', 'x64')).toEqual(['@node-llama-cpp/linux-x64'])
    expect(packagesFor('metal', 'darwin', 'arm64')).toEqual(['@node-llama-cpp/mac-arm64-metal'])
    expect(packagesFor('cuda', 'darwin', 'arm64')).toEqual([])
    expect(packagesFor('vulkan', 'win32', 'x64')).toEqual(['@node-llama-cpp/win-x64-vulkan'])
  })

  it.runIf(process.platform === 'linux')('reports a missing GPU package and an impossible device', () => {
    expect(() => loadLibrary('cuda')).toThrow(/needs the package @node-llama-cpp\/linux-x64-cuda|loaded already/)
    expect(() => loadLibrary('metal')).toThrow(/device metal does not exist on linux/)
  })

  it('selects the CPU for auto when there is no GPU', async () => {
    using automatic = await loadBackend({ threads: 1 })
    expect(automatic.threads).toBe(1)
    expect(automatic.kind).toBe('cpu')
  })

  it('refuses thread counts that are out of range', async () => {
    await expect(loadBackend({ threads: 0 })).rejects.toThrow(/threads must be an integer from 1 to 512, got 0/)
  })
})

describe('computing', () => {
  it('leaves the event loop free', async () => {
    const layers = 40
    using graph = buildGraph(backend, productChain(layers))
    let done = false
    const run = graph.run(chainInputs).then(() => (done = true))
    let turns = 0
    while (!done) {
      await nextTurn()
      turns += 1
    }
    await run
    // A blocked loop would turn about once per product. `bench/` measures the gaps.
    expect(turns).toBeGreaterThan(layers * 10)
  })

  it('stops when the signal aborts, and runs the next job', async () => {
    using graph = buildGraph(backend, productChain(400))
    const controller = new AbortController()
    using tenth = buildGraph(backend, productChain(40))
    const beforeTenth = process.cpuUsage()
    await tenth.run(chainInputs)
    const tenthTime = cpuTime(beforeTenth)
    const beforeRun = process.cpuUsage()
    const run = graph.run(chainInputs, { signal: controller.signal })
    setTimeout(() => controller.abort(new Error('enough')), 50)
    await expect(run).rejects.toThrow('enough')
    expect(cpuTime(beforeRun)).toBeLessThan(tenthTime * 5)
    using small = buildGraph(backend, (g) => ({ y: g.sqr(g.input('x', 'f32', [1])) }))
    expect([...(await small.run({ x: Float32Array.of(3) })).y]).toEqual([9])
  })

  it('does not start when the signal is already aborted', async () => {
    using graph = buildGraph(backend, (g) => ({ y: g.sqr(g.input('x', 'f32', [1])) }))
    await expect(
      graph.run({ x: Float32Array.of(3) }, { signal: AbortSignal.abort(new Error('aborted')) }),
    ).rejects.toThrow('aborted')
  })

  it('does not mix concurrent runs', async () => {
    using graphs = new GraphCache(backend)
    const results = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        graphs.run(`n${i % 3}`, (g) => ({ y: g.scale(g.input('x', 'f32', [1 + (i % 3)]), 2) }), {
          x: new Float32Array(1 + (i % 3)).fill(i),
        }),
      ),
    )
    for (const [i, { y }] of results.entries()) expect([...y]).toEqual(Array.from({ length: 1 + (i % 3) }, () => 2 * i))
    expect(graphs.built).toBe(3)
  })

  it('rebuilds graphs whose working memory moved, and evicts the least recently used', async () => {
    using graphs = new GraphCache(backend, { capacity: 2 })
    const run = async (n: number): Promise<number> =>
      (
        await graphs.run(`${n}`, (g) => ({ y: g.sumRows(g.sqr(g.input('x', 'f32', [n]))) }), {
          x: new Float32Array(n).fill(1),
        })
      ).y[0] ?? 0
    for (const n of [10, 100_000, 10, 1_000_000, 10, 20, 30]) expect(await run(n)).toBe(n)
    expect(graphs.size).toBe(2)
    expect(graphs.scratchBytes).toBeGreaterThan(4_000_000)
    graphs.evict((key) => key === '30')
    expect(graphs.size).toBe(1)
  })

  it('computes a brief graph in the calling thread, a long one on a worker thread', async () => {
    using singleThreaded = await loadBackend({ device: 'cpu', threads: 1 })
    using brief = buildGraph(singleThreaded, (g) => ({ y: g.sqr(g.input('x', 'f32', [100])) }))
    using long = buildGraph(singleThreaded, productChain(3))
    const inputs = { x: new Float32Array(100).fill(3) }
    /** Whether the event loop turned before the result was there. */
    const usesWorker = async (run: () => Promise<unknown>): Promise<boolean> => {
      let turn = false
      setImmediate(() => (turn = true))
      await run()
      return turn
    }
    expect(await usesWorker(() => brief.run(inputs))).toBe(true)
    // On a busy machine many runs are not brief.
    let onWorker = true
    for (let i = 0; i < 1000 && onWorker; i++) onWorker = await usesWorker(() => brief.run(inputs))
    expect(onWorker).toBe(false)
    expect((await brief.run(inputs)).y[99]).toBe(9)
    for (let i = 0; i < 3; i++) expect(await usesWorker(() => long.run(chainInputs))).toBe(true)
  })

  it('refuses a disposed graph', async () => {
    const graph = buildGraph(backend, (g) => ({ y: g.sqr(g.input('x', 'f32', [1])) }))
    graph[Symbol.dispose]()
    await expect(graph.run({ x: new Float32Array(1) })).rejects.toThrow(TensorError)
  })

  it('frees all native memory, also of graphs that are disposed while they run', async () => {
    const before = backend.memory
    for (let i = 0; i < 5; i++) {
      const graph = buildGraph(backend, productChain(2))
      const run = graph.run(chainInputs)
      await new Promise((resolve) => setImmediate(resolve))
      graph[Symbol.dispose]()
      expect((await run).y).toHaveLength(768 * 512)
    }
    await backend.enqueue(() => undefined)
    await new Promise((resolve) => setImmediate(resolve))
    expect(backend.memory).toEqual(before)
  })

  it('frees what was disposed during a job when the job ends, so that the backend can be disposed next', async () => {
    const disposable = await loadBackend({ device: 'cpu', threads: 1 })
    const graphs = Array.from({ length: 30 }, () => buildGraph(disposable, productChain(1)))
    const run = graphs[0]!.run(chainInputs)
    await new Promise((resolve) => setImmediate(resolve))
    for (const graph of graphs) graph[Symbol.dispose]()
    await run
    expect(disposable.memory).toEqual({ buffers: 0, contexts: 0, objects: 0 })
    disposable[Symbol.dispose]()
  })

  it.runIf(process.platform === 'linux')('does not leak memory over many builds and runs', async () => {
    const round = async (): Promise<void> => {
      for (let i = 0; i < 15; i++) {
        // A small result, so that JavaScript garbage is not measured.
        using graph = buildGraph(backend, (g) => ({ y: g.meanRows(g.meanRows(productChain(1)(g).y)) }))
        await graph.run(chainInputs)
      }
    }
    await round()
    // Fifteen leaked graphs with 4 MB of working memory each would be 60 MB in every round.
    const growths: number[] = []
    while (growths.length < 6 && !growths.some((growth) => growth < 20e6)) {
      const before = process.memoryUsage.rss()
      await round()
      growths.push(process.memoryUsage.rss() - before)
    }
    expect(Math.min(...growths)).toBeLessThan(20e6)
  })
})

describe('a parallel backend', () => {
  it.each([{ threads: 2 }, { threads: 1, parallelThreads: 1 }])(
    'computes at the same time as the main backend and stops independently ($threads and $parallelThreads threads)',
    async (threads) => {
      using main = await loadBackend({ device: 'cpu', ...threads })
      const parallel = main.parallel()
      expect(parallel).not.toBe(main)
      expect(parallel).toBe(main.parallel())
      expect(parallel.threads).toBe(1)
      using long = buildGraph(parallel, productChain(400))
      using short = buildGraph(main, (g) => ({ y: g.sqr(g.input('x', 'f32', [1000])) }))
      const inputs = { x: new Float32Array(1000).fill(3) }
      const expected = new Float32Array(1000).fill(9)
      const controller = new AbortController()
      let ended = false
      const running = long.run(chainInputs, { signal: controller.signal }).finally(() => (ended = true))
      const outcome = running.then(
        () => 'computed',
        (error: Error) => error.message,
      )
      for (let i = 0; i < 3; i++) expect((await short.run(inputs)).y).toEqual(expected)
      expect(ended).toBe(false)
      controller.abort(new Error('enough'))
      expect(await outcome).toBe('enough')
      expect((await short.run(inputs)).y).toEqual(expected)
    },
  )

  it('computes on all threads on request while the main backend waits, and in parallel again afterwards', async () => {
    using main = await loadBackend({ device: 'cpu', threads: 2 })
    const parallel = main.parallel()
    using long = buildGraph(parallel, productChain(12))
    using short = buildGraph(main, (g) => ({ y: g.sqr(g.input('x', 'f32', [1000])) }))
    const inputs = { x: new Float32Array(1000).fill(3) }
    const expected = await long.run(chainInputs)
    for (const useAllThreads of [true, false, true]) {
      const order: string[] = []
      const running = long.run(chainInputs, { useAllThreads: () => useAllThreads }).finally(() => order.push('long'))
      const waiting = short.run(inputs).finally(() => order.push('short'))
      expect((await running).y).toEqual(expected.y)
      expect((await waiting).y[0]).toBe(9)
      expect(order).toEqual(useAllThreads ? ['long', 'short'] : ['short', 'long'])
    }
    const controller = new AbortController()
    const aborted = long.run(chainInputs, { useAllThreads: () => true, signal: controller.signal })
    await new Promise((resolve) => setImmediate(resolve))
    controller.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    expect((await short.run(inputs)).y[0]).toBe(9)
  })

  it('counts its memory in the main backend, and is disposed with it', async () => {
    const main = await loadBackend({ device: 'cpu', threads: 2 })
    const parallel = main.parallel()
    const graph = buildGraph(parallel, (g) => ({ y: g.sqr(g.input('x', 'f32', [1000])) }))
    expect(main.memory.buffers).toBeGreaterThan(4000)
    const run = graph.run({ x: new Float32Array(1000) })
    expect(() => main[Symbol.dispose]()).toThrow(/while computations run/)
    await run
    graph[Symbol.dispose]()
    expect(main.memory).toEqual({ buffers: 0, contexts: 0, objects: 0 })
    main[Symbol.dispose]()
    expect(parallel.disposed).toBe(true)
  })

  it('is the main backend itself when there is one thread', async () => {
    using main = await loadBackend({ device: 'cpu', threads: 1 })
    expect(main.parallel()).toBe(main)
  })
})
