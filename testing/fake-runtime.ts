/** Runtimes over fake models, for tests: started with defaults, and checked for leaks. */

import { MemoryBudget } from '../src/models/memory-budget.ts'
import { Runtime, type RuntimeOptions } from '../src/runtime/runtime.ts'
import {
  createFakeModel,
  fakeIds,
  type FakeModel,
  type FakeModelOptions,
  fakePrepare,
  fakeTokenizer,
} from './fake-model.ts'

export interface StartedRuntime {
  readonly runtime: Runtime
  readonly model: FakeModel
}

export class FakeRuntimes {
  readonly #live: StartedRuntime[] = []

  start(model: FakeModelOptions = {}, options: Partial<RuntimeOptions> = {}): StartedRuntime {
    const budget = model.budget ?? (model.memoryTokens === undefined ? undefined : new MemoryBudget(model.memoryTokens))
    const fake = createFakeModel({ ...model, ...(budget && { budget }) })
    const runtime = new Runtime({
      model: fake,
      tokenizer: fakeTokenizer,
      prepare: fakePrepare,
      endTokenIds: [fakeIds.imEnd],
      thinking: true,
      ...(budget && { budget }),
      ...options,
    })
    const started = { runtime, model: fake }
    this.#live.push(started)
    return started
  }

  /** Closes all; returns what each still holds. */
  async close(): Promise<{ sequences: number; streams: number }[]> {
    const started = this.#live.splice(0)
    for (const { runtime } of started) await runtime.close()
    return started.map(({ model }) => model.alive())
  }
}
