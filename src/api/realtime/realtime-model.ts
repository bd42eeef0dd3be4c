/** The model of a realtime session: one of the realtime catalogue, a chat model, or a loaded checkpoint. */
import type { CatalogueModel } from '../../catalogue/index.ts'
import { didYouMean, errors } from '../../protocol/index.ts'
import { modelOfCheckpoint } from '../checkpoint-model.ts'
import type { BoundModel } from '../engine-host.ts'
import type { Services } from '../services.ts'

/** Most turns of a conversation if the catalogue has no value. */
const TURNS = 8

export interface RealtimeTarget {
  /** As requested. */
  readonly name: string
  readonly chat: CatalogueModel
  readonly defaultVoice: string
  readonly turns: number
  readonly bound: BoundModel
}

/**
 * `checkpoints`: names of loaded checkpoints are accepted too. @throws ApiError 404 that lists the names, 400 without
 * one
 */
export function realtimeTarget(services: Services, name: string | undefined, checkpoints: boolean): RealtimeTarget {
  const { catalogue, host } = services
  if (name === undefined || name === '') throw errors.modelMissing()
  const target = findRealtimeTarget(services, name, checkpoints)
  if (target !== undefined) return target
  const known = [...catalogue.realtime.map(({ id }) => id), ...(checkpoints ? host.names : [])]
  const shown = name.slice(0, 200)
  throw errors.listedModelUnknown(shown, `${didYouMean(shown, known)} Realtime models: ${known.join(', ')}.`)
}

/** As {@link realtimeTarget}; undefined for an unknown name. */
export function findRealtimeTarget(services: Services, name: string, checkpoints: boolean): RealtimeTarget | undefined {
  const { catalogue, host } = services
  const listed = catalogue.realtime.find(({ id }) => id === name)
  const chat = listed?.chat ?? catalogue.find(name) ?? (checkpoints ? modelOfCheckpoint(services, name) : undefined)
  if (chat === undefined) return undefined
  const bound = host.resolve(chat.id, false)
  if (bound === undefined) throw errors.unavailable(`No checkpoint is bound to ${chat.id}.`)
  return {
    name,
    // The catalogue has list prices of the chat models only.
    chat: { ...chat, prices: undefined },
    defaultVoice: listed?.defaultVoice ?? chat.defaultVoice,
    turns: listed?.turns ?? TURNS,
    bound,
  }
}
