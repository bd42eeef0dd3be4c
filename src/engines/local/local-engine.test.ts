import { describe, expect, it, vi } from 'vitest'
import { describeEngine } from '../../contract/testing/engine-suite.ts'
import { makeRequest, readReply } from '../../../testing/requests.ts'
import { until } from '../../../testing/until.ts'
import type { RequestMetrics } from '../../runtime/request-metrics.ts'
import { Exchange, fullCredit } from './exchange.ts'
import { createLocalEngine, type LocalEngine, type LocalEngineOptions } from './local-engine.ts'
import { mapVoices, nativeVoices } from './voices.ts'

const processEntry = new URL('../../../testing/fake-process.ts', import.meta.url)

const create = (options: Partial<LocalEngineOptions> = {}): Promise<LocalEngine> =>
  createLocalEngine({
    checkpoint: 'fake/fake-omni',
    processEntry,
    voices: nativeVoices,
    maxConcurrent: 4,
    maxWaiting: 2,
    restartPause: [20, 200],
    ...options,
  })

describeEngine<LocalEngine>('local process around the fake model', {
  create: () => create(),
  model: 'fake-omni',
  voice: 'Ethan',
  long: { text: 'Please tell me a rather long story.' },
  slots: 6,
  nativeBytes: async (engine) => (await engine.inspect()).nativeBytes,
  crash: (engine) => process.kill(engine.processId!, 'SIGKILL'),
  samples: true,
})

describe('local engine', () => {
  it('says why a checkpoint cannot be loaded', async () => {
    await expect(create({ checkpoint: 'missing' })).rejects.toMatchObject({
      code: 'bad_checkpoint',
      message: 'There is no checkpoint in missing.',
    })
  })

  it('passes on the last words of a process that dies while loading', async () => {
    await expect(create({ checkpoint: 'dies' })).rejects.toThrow(
      /SIGABRT.*GGML_ASSERT\(ggml_can_mul_mat\(a, b\)\) failed/,
    )
  })

  it('gives up loading when its signal fires', async () => {
    const reason = new Error('never mind')
    await expect(create({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })

  it('lets the process run ahead of a slow reader by its buffers and no more', async () => {
    const engine = await create()
    const arrived = vi.spyOn(Exchange.prototype, 'push')
    try {
      const slow = engine
        .generate(makeRequest({ text: 'x'.repeat(100), maxTokens: 1500 }), new AbortController().signal)
        [Symbol.asyncIterator]()
      await slow.next()
      const ofSlow = arrived.mock.contexts[0]
      const count = (): number => arrived.mock.contexts.filter((one) => one === ofSlow).length
      await until(() => count() >= fullCredit)
      // The process makes many more steps for another reply, and sends nothing more of the one that is not read.
      expect((await readReply(engine, makeRequest({ text: 'y', maxTokens: 20 }))).usage.textTokens).toBe(20)
      expect(count()).toBe(fullCredit)
      await slow.return?.()
    } finally {
      arrived.mockRestore()
      await engine.close()
    }
  })

  it('finishes replies when a terminal interrupts the whole process group', async () => {
    const engine = await create()
    try {
      const reply = readReply(engine, makeRequest({ maxTokens: 60 }))
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.kill(engine.processId!, signal)
      expect((await reply).usage.textTokens).toBe(60)
    } finally {
      await engine.close()
    }
  })

  it('restarts a process that hangs', async () => {
    const lines: string[] = []
    const engine = await create({ hangMilliseconds: 2500, onLog: (line) => lines.push(line) })
    try {
      process.kill(engine.processId!, 'SIGSTOP')
      await expect(readReply(engine, makeRequest())).rejects.toMatchObject({ code: 'engine_crashed' })
      expect(lines.join('\n')).toContain('hung')
      await until(() => engine.status().ready)
      expect(engine.restarts).toBeGreaterThanOrEqual(1)
      expect((await readReply(engine, makeRequest())).reason).toBe('length')
    } finally {
      await engine.close()
    }
  })

  it('reports costs, and leaves no process behind', async () => {
    const metrics: RequestMetrics[] = []
    const engine = await create({ onMetrics: (one) => metrics.push(one) })
    const pid = engine.processId!
    await readReply(engine, makeRequest({ id: 'measured', voice: 'Ethan', maxTokens: 8 }))
    await engine.close()
    expect(metrics).toMatchObject([{ id: 'measured', outcome: 'length', textTokens: 8 }])
    expect(metrics[0]!.firstAudioMs).toBeGreaterThan(0)
    expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  })
})

describe('voices', () => {
  const mapping = mapVoices([
    { name: 'Cherry', sex: 'female' },
    { name: 'Ethan', sex: 'male' },
    { name: 'Ryan', sex: 'male' },
    { name: 'Sunny' },
  ])

  it('keeps native ones and gives the others a stand-in of their sex', () => {
    expect(mapping(['aiden', 'chelsie', 'ethan'])).toEqual([
      { name: 'Cherry', speaker: 'chelsie', native: false },
      { name: 'Ethan', speaker: 'ethan', native: true },
      { name: 'Ryan', speaker: expect.stringMatching(/^(aiden|ethan)$/), native: false },
      { name: 'Sunny', speaker: expect.any(String), native: false },
      { name: 'Aiden', speaker: 'aiden', native: true },
      { name: 'Chelsie', speaker: 'chelsie', native: true },
    ])
  })

  it('has none without speakers, and lets the first speaker stand in where no list is given', async () => {
    expect(mapping([])).toEqual([])
    const { voices: _, ...open } = { voices: undefined }
    const engine = await createLocalEngine({ checkpoint: 'fake-omni', processEntry, ...open })
    try {
      const reply = await readReply(engine, makeRequest({ voice: 'Cherry', maxTokens: 6 }))
      expect(reply.pcm.length).toBeGreaterThan(0)
    } finally {
      await engine.close()
    }
  })
})
