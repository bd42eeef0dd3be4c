/**
 * Which checkpoint answers for which API model, separately for its thinking mode.
 *
 * In: a way to load engines by the name their checkpoint was given under (`--model`, `--bind`). Out: lookups, and the state of each
 * checkpoint, from the moment loading begins.
 */
import type { Engine, EngineModel, EngineStatus } from '../contract/index.ts'

export interface BoundModel {
  readonly engine: Engine
  readonly model: EngineModel
}

export interface CheckpointState extends EngineStatus {
  /** The name it is served under. */
  readonly checkpoint: string
}

export interface EngineHostOptions {
  /** Engines by the checkpoint name of the settings. Each one's first model is what answers. Called once. */
  readonly load: () => Promise<ReadonlyMap<string, Engine>>
  /** The checkpoint of API models that are not bound. */
  readonly model: string
  /** `API_MODEL` or `API_MODEL:thinking`, to a checkpoint name. */
  readonly bind: Readonly<Record<string, string>>
}

export class EngineHost {
  readonly #options: EngineHostOptions
  #byName: ReadonlyMap<string, BoundModel> = new Map()
  #engines: ReadonlySet<Engine> = new Set()
  #loading = true
  /**
   * Resolves once all are loaded. Rejects with the loader's error, or when a name of the settings has no engine, or an engine has no
   * model.
   */
  readonly ready: Promise<void>

  constructor(options: EngineHostOptions) {
    this.#options = options
    this.ready = this.#load()
    // Whoever waits for it gets the error; nobody may.
    this.ready.catch(() => undefined)
  }

  async #load(): Promise<void> {
    const { load, model, bind } = this.#options
    const engines = await load()
    this.#engines = new Set(engines.values())
    const byName = new Map<string, BoundModel>()
    for (const [name, engine] of engines) {
      const models = await engine.models()
      const first = models.find((candidate) => candidate.id === name) ?? models[0]
      if (first === undefined) throw new Error(`the engine for ${name} has no model`)
      byName.set(name, { engine, model: first })
    }
    for (const name of [model, ...Object.values(bind)]) {
      if (!byName.has(name)) throw new Error(`checkpoint ${name} is named in the settings but not loaded`)
    }
    this.#byName = byName
    this.#loading = false
  }

  /** Whether checkpoints are still being loaded: nothing resolves until then. */
  get loading(): boolean {
    return this.#loading
  }

  /** Checkpoint names of the settings, each once, without folders: these are shown to callers. */
  get names(): readonly string[] {
    const { model, bind } = this.#options
    return [...new Set([model, ...Object.values(bind)])].map((name) => name.split(/[\\/]/).findLast(Boolean) ?? name)
  }

  /** The name that a checkpoint was given under, without folders. */
  nameOf(bound: BoundModel): string | undefined {
    const name = [...this.#byName].find(([, other]) => other === bound)?.[0]
    return name?.split(/[\\/]/).findLast(Boolean)
  }

  get loaded(): readonly BoundModel[] {
    return [...this.#byName.values()]
  }

  /** The checkpoint for an API model's mode; undefined while it is being loaded. */
  resolve(apiModel: string, thinking: boolean): BoundModel | undefined {
    const { bind, model } = this.#options
    return this.#byName.get((thinking ? bind[`${apiModel}:thinking`] : undefined) ?? bind[apiModel] ?? model)
  }

  /** One for each checkpoint. */
  checkpoints(): readonly CheckpointState[] {
    if (this.#loading) {
      return this.names.map((name) => ({ checkpoint: name, ready: false, active: 0, waiting: 0, reason: 'loading' }))
    }
    const first = new Map(this.loaded.map(({ engine, model }) => [engine, model.id]))
    return [...first].map(([engine, checkpoint]) => ({ checkpoint, ...engine.status() }))
  }

  /** All together: ready when at least one checkpoint can answer. */
  status(): EngineStatus {
    const all = this.checkpoints()
    const ready = all.some((state) => state.ready)
    const reason = all.find((state) => !state.ready)?.reason
    return {
      ready,
      active: all.reduce((sum, state) => sum + state.active, 0),
      waiting: all.reduce((sum, state) => sum + state.waiting, 0),
      ...(ready || reason === undefined ? {} : { reason }),
    }
  }

  /** Waits for loading to end, and closes what was loaded. */
  async close(): Promise<void> {
    await this.ready.catch(() => undefined)
    await Promise.all([...this.#engines].map((engine) => engine.close()))
  }
}
