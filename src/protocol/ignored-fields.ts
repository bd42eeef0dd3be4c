/** Fields of a request that have no effect here, for the warnings of a reply. */
import { type ChatCompletionRequest, mergeExtraBody } from './request.ts'

/** About the caller's own bookkeeping: no reply depends on them. */
const BOOKKEEPING = new Set(['metadata', 'store', 'service_tier', 'safety_identifier', 'prompt_cache_key'])
const MOST = 8

/**
 * Paths, with dots, of at most eight fields that the schema does not have, or has only to tolerate them. Values that
 * ask for nothing (null, false, 0, empty) do not count.
 * @param json the body that was passed to `parseChatRequest`
 */
export function ignoredFields(json: unknown, request: ChatCompletionRequest): readonly string[] {
  const found: string[] = []
  const body = mergeExtraBody(json as Record<string, unknown>)
  if (request.frequency_penalty) found.push('frequency_penalty')
  for (const key of BOOKKEEPING) delete body[key]
  collect(body, request, '', found)
  return found
}

/** As {@link ignoredFields}, of a body and what a schema without fields to tolerate made of it. */
export function unknownFields(json: unknown, request: object): readonly string[] {
  const found: string[] = []
  collect(json, request, '', found)
  return found
}

function collect(given: unknown, kept: unknown, path: string, found: string[]): void {
  if (given === kept || typeof given !== 'object' || given === null || typeof kept !== 'object' || kept === null) return
  for (const [key, value] of Object.entries(given)) {
    if (found.length >= MOST) return
    const name = path + key.slice(0, 40).toWellFormed()
    if (Object.hasOwn(kept, key)) collect(value, (kept as Record<string, unknown>)[key], `${name}.`, found)
    else if (asksForSomething(value)) found.push(name)
  }
}

function asksForSomething(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0
  return Boolean(value)
}
