/**
 * Which loaded checkpoint answers for which API model, separately for its thinking mode.
 *
 * In: engines by the name their checkpoint was given under (`--model`, `--bind`). Out: lookups, and a status of all.
 */
import type { Engine, EngineModel, EngineStatus } from '../contract/index.ts'

export interface BoundModel {
  readonly engine: Engine
  readonly model: EngineModel
}

export interface EngineHost {
  /** The checkpoint for an API model's mode; undefined when none is bound. */
  resolve(apiModel: string, thinking: boolean): BoundModel | undefined
  readonly loaded: readonly BoundModel[]
  status(): EngineStatus
  close(): Promise<void>
}

export interface EngineHostOptions {
  /** Engines by the checkpoint name of the settings. Each one's first model is what answers. */
  readonly engines: ReadonlyMap<string, Engine>
  /** The checkpoint of API models that are not bound. */
  readonly model: string
  /** `API_MODEL` or `API_MODEL:thinking`, to a checkpoint name. */
  readonly bind: Readonly<Record<string, string>>
}

/** @throws Error when a name of the settings has no engine, or an engine has no model. */
export async function createEngineHost(options: EngineHostOptions): Promise<EngineHost> {
  const byName = new Map<string, BoundModel>()
  for (const [name, engine] of options.engines) {
    const models = await engine.models()
    const model = models.find((candidate) => candidate.id === name) ?? models[0]
    if (model === undefined) throw new Error(`the engine for ${name} has no model`)
    byName.set(name, { engine, model })
  }
  for (const name of [options.model, ...Object.values(options.bind)]) {
    if (!byName.has(name)) throw new Error(`checkpoint ${name} is named in the settings but not loaded`)
  }
  const engines = new Set(options.engines.values())
  return {
    resolve(apiModel, thinking) {
      const name =
        (thinking ? options.bind[`${apiModel}:thinking`] : undefined) ?? options.bind[apiModel] ?? options.model
      return byName.get(name)
    },
    loaded: [...byName.values()],
    status() {
      const all = [...engines].map((engine) => engine.status())
      const reason = all.find((status) => !status.ready)?.reason
      return {
        ready: all.every((status) => status.ready),
        active: all.reduce((sum, status) => sum + status.active, 0),
        waiting: all.reduce((sum, status) => sum + status.waiting, 0),
        ...(reason === undefined ? {} : { reason }),
      }
    },
    async close() {
      await Promise.all([...engines].map((engine) => engine.close()))
    },
  }
}
