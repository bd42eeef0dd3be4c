/** The models of one region, looked up by name. */
import { FAMILIES, type Family } from './families.ts'
import {
  type ApiModel,
  type ModeLimits,
  MODELS,
  REALTIME_MODELS,
  type RealtimeModel,
  type RegionName,
} from './models.ts'
import { type Prices, pricesOf } from './prices.ts'

/** A model with the data of its family and region. */
export interface CatalogueModel extends ApiModel {
  readonly rules: Family
  readonly prices: Prices | undefined
}

export interface Catalogue {
  readonly region: RegionName
  readonly models: readonly CatalogueModel[]
  /** By id or by a snapshot's other name. */
  find(name: string): CatalogueModel | undefined
  /** Whether the hosted service has this model, but not on this wire. */
  isOnOtherWire(name: string): boolean
  readonly realtime: readonly CatalogueRealtimeModel[]
}

/** A realtime model with the chat model it has the abilities of. */
export interface CatalogueRealtimeModel extends Omit<RealtimeModel, 'chat'> {
  readonly chat: CatalogueModel
}

/** The limits of a mode. Do not call it for the thinking mode of a model without one. */
export function limitsOf(model: ApiModel, thinking: boolean): ModeLimits {
  if (!thinking) return model.normal
  if (model.thinking === undefined) throw new Error(`${model.id} has no thinking mode`)
  return model.thinking
}

/**
 * `aliases` re-points stable names, such as `qwen3-omni-flash` at `qwen3-omni-flash-2025-12-01` as the hosted service
 * did in 2026. @throws when either name is not in the region.
 */
export function createCatalogue(region: RegionName, aliases: Readonly<Record<string, string>> = {}): Catalogue {
  const listed = MODELS.filter((model) => model.regions.includes(region))
  const unknownAlias = (alias: string, name: string): Error => {
    const known = listed.map(({ id }) => id)
    return new Error(`alias ${alias}: ${name} is no model of region ${region}. Models: ${known.join(', ')}`)
  }
  const models = listed.map((model): CatalogueModel => {
    const target = aliases[model.id]
    const source = target === undefined ? model : listed.find((other) => other.id === target)
    if (source === undefined) {
      throw unknownAlias(`${model.id}=${target}`, target ?? '')
    }
    const pointed: ApiModel =
      source === model
        ? model
        : { ...source, id: model.id, kind: model.kind, alsoKnownAs: model.alsoKnownAs, sameAs: source.id }
    return { ...pointed, rules: FAMILIES[pointed.family], prices: pricesOf(region, pointed.family) }
  })
  const names = new Map<string, CatalogueModel>()
  for (const model of models) for (const name of [model.id, ...model.alsoKnownAs]) names.set(name, model)
  for (const name of Object.keys(aliases)) {
    if (!names.has(name)) throw unknownAlias(name, name)
  }
  const realtime = REALTIME_MODELS.flatMap(({ chat, ...model }): CatalogueRealtimeModel[] => {
    const found = names.get(chat)
    return found === undefined ? [] : [{ ...model, chat: found }]
  })
  return {
    region,
    models,
    find: (name) => names.get(name),
    isOnOtherWire: (name) => REALTIME_MODELS.some(({ id }) => id === name),
    realtime,
  }
}
