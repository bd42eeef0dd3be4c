/**
 * Which checkpoint answers for which API model, separately for its thinking mode.
 *
 * In: a way to load engines by the name their checkpoint was given under (`--model`, `--bind`). Out: lookups, and the
 * state of each checkpoint, from the moment loading begins.
 */
import type { Engine, EngineModel, EngineStatus } from '../contract/index.ts'
import { ClusterEngine } from '../engines/remote/pool/cluster-engine.ts'

export interface BoundModel {
  readonly engine: Engine
  readonly model: EngineModel
}

export interface CheckpointState extends EngineStatus {
  /** The name it is served under. */
  readonly checkpoint: string
}

export interface Bindings {
  /** Each one's first model, or that of its name, answers. */
  readonly engines: ReadonlyMap<string, Engine>
  /** The engine of API models that are not bound; undefined when they are not served. */
  readonly model: string | undefined
  /** `API_MODEL` or `API_MODEL:thinking`, to an engine's name. */
  readonly bind: Readonly<Record<string, string>>
}

export interface EngineHostOptions {
  /** Checkpoint or pool names of the settings that are being loaded. */
  readonly names: readonly string[]
  /** Called once. */
  readonly load: () => Promise<Bindings>
}

export class EngineHost {
  readonly #options: EngineHostOptions
  #bindings: Bindings | undefined
  #byName: ReadonlyMap<string, BoundModel> = new Map()
  /**
   * Resolves once all are loaded. Rejects with the loader's error, or when a name of the settings has no engine, or an
   * engine has no model.
   */
  readonly ready: Promise<void>
  /** Every engine that was ever bound, to be closed at the end. */
  readonly #engines = new Set<Engine>()

  constructor(options: EngineHostOptions) {
    this.#options = options
    this.ready = options.load().then((bindings) => this.rebind(bindings))
    // A caller that waits for it gets the error; there may be none.
    this.ready.catch(() => undefined)
  }

  /** Other engines, or other bindings, from the next request on. */
  async rebind(bindings: Bindings): Promise<void> {
    const { engines, model, bind } = bindings
    for (const engine of engines.values()) this.#engines.add(engine)
    const byName = new Map<string, BoundModel>()
    for (const [name, engine] of engines) byName.set(name, await boundModel(name, engine))
    for (const name of [...(model === undefined ? [] : [model]), ...Object.values(bind)]) {
      if (!byName.has(name)) throw new Error(`checkpoint ${name} is named in the settings but not loaded`)
    }
    this.#byName = byName
    this.#bindings = bindings
  }

  /** Whether checkpoints are still being loaded: nothing resolves until then. */
  get loading(): boolean {
    return this.#bindings === undefined
  }

  /** Checkpoint names of the settings, each once, without folders: callers see these. */
  get names(): readonly string[] {
    return [...new Set(this.#options.names)].map((name) => name.split(/[\\/]/).findLast(Boolean) ?? name)
  }

  /** The name of a checkpoint in the settings, without folders. */
  nameOf(bound: BoundModel): string | undefined {
    const name = [...this.#byName].find(([, other]) => other === bound)?.[0]
    return name?.split(/[\\/]/).findLast(Boolean)
  }

  get loaded(): readonly BoundModel[] {
    return [...this.#byName.values()]
  }

  /** The checkpoint for an API model's mode; undefined while it is being loaded. */
  resolve(apiModel: string, thinking: boolean): BoundModel | undefined {
    if (!this.#bindings) return undefined
    const { bind, model } = this.#bindings
    const name = (thinking ? bind[`${apiModel}:thinking`] : undefined) ?? bind[apiModel] ?? model
    return name === undefined ? undefined : this.#byName.get(name)
  }

  /** One for each checkpoint. */
  checkpoints(): readonly CheckpointState[] {
    if (this.loading) {
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

  /** Waits for the end of loading, and closes all loaded engines. */
  async close(): Promise<void> {
    await this.ready.catch(() => undefined)
    await Promise.all([...this.#engines].map((engine) => engine.close()))
  }
}

async function boundModel(name: string, engine: Engine): Promise<BoundModel> {
  if (engine instanceof ClusterEngine) {
    return {
      engine,
      // Replicas may be added and removed, and their capabilities are known only once they are up.
      get model() {
        return engine.model
      },
    }
  }
  const models = await engine.models()
  const first = models.find((candidate) => candidate.id === name) ?? models[0]
  if (first === undefined) throw new Error(`the engine for ${name} has no model`)
  return { engine, model: first }
}
