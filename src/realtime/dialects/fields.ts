/** Validates fields of client events. Each {@link SessionFault} names the field and the allowed values. */
import { z } from 'zod'
import type { ToolChoice, ToolDefinition } from '../../contract/index.ts'
import { didYouMean } from '../../protocol/index.ts'
import type { TurnDetection } from '../config.ts'
import { SessionFault } from '../fault.ts'
import { samplesOf, type SessionModel } from './dialect.ts'

export type Json = Readonly<Record<string, unknown>>

/** A nested object; undefined when absent. */
export function objectAt(value: Json, key: string, param: string): Json | undefined {
  const found = value[key]
  if (found === undefined || found === null) return undefined
  if (typeof found !== 'object' || Array.isArray(found)) throw wrong(param, 'an object')
  return found as Json
}

/** Validates a value. @throws SessionFault naming the field */
export function valueOf<T>(schema: z.ZodType<T>, value: unknown, param: string, expects: string): T {
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw wrong(param, expects)
  return parsed.data
}

export function textAt(value: Json, key: string, param: string): string {
  return valueOf(z.string(), value[key], param, 'a string')
}

/** Validates an optional value. Undefined when it is absent or null. @throws SessionFault naming the field */
export function optional<T>(schema: z.ZodType<T>, value: unknown, param: string, expects: string): T | undefined {
  return value === undefined || value === null ? undefined : valueOf(schema, value, param, expects)
}

export function wrong(param: string, expects: string): SessionFault {
  return new SessionFault(`Invalid value: '${param}' should be ${expects}.`, { param })
}

export function unknownEvent(type: unknown, known: readonly string[]): SessionFault {
  if (typeof type !== 'string') return new SessionFault("The event has no 'type'.", { param: 'type' })
  const name = type.slice(0, 80)
  return new SessionFault(
    `Invalid event type: '${name}'.${didYouMean(name, known)} Supported are: ${known.join(', ')}.`,
    { param: 'type' },
  )
}

/** Samples of a Base64 field of 16-bit little-endian mono PCM, in [-1, 1]. @throws SessionFault naming the field */
export function audioAt(value: Json, key: string, param: string): Float32Array {
  const text = textAt(value, key, param)
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(text)) throw wrong(param, 'Base64 of 16-bit little-endian mono PCM')
  const bytes = Buffer.from(text, 'base64')
  if (bytes.length % 2 === 1)
    throw new SessionFault(`Invalid value: '${param}' has ${bytes.length} bytes; 16-bit samples take two bytes each.`, {
      param,
    })
  return samplesOf(bytes)
}

/** The model's spelling of a voice name. @throws SessionFault that lists the voices and, as hosted, closes with 1007 */
export function voiceOf(voice: string, model: SessionModel, param: string): string {
  const found =
    model.voices.find((name) => name === voice) ??
    model.voices.find((name) => name.toLowerCase() === voice.toLowerCase())
  if (found !== undefined) return found
  const name = voice.slice(0, 40)
  throw new SessionFault(
    `<400> InternalError.Algo.InvalidParameter: Voice '${name}' is not supported.${didYouMean(name, model.voices)} ${model.name} has ${model.voices.join(', ')}.`,
    { param, close: 1007 },
  )
}

const detectionTypes: ReadonlyMap<string, TurnDetection['type']> = new Map([
  ['server_vad', 'server'],
  ['semantic_vad', 'semantic'],
])

const eagernesses = ['low', 'medium', 'high', 'auto'] as const
/** Milliseconds. */
const eagerSilence = { low: 1000, medium: 500, high: 300, auto: 500 } as const

/** Settings of turn detection over `base`, which has the dialect's defaults or the current values. */
export function turnDetectionOf(given: Json, base: TurnDetection, param: string): TurnDetection {
  const type = optional(z.string(), given['type'], `${param}.type`, 'server_vad or semantic_vad')
  const kind = type === undefined ? base.type : detectionTypes.get(type)
  if (kind === undefined) throw wrong(`${param}.type`, 'server_vad or semantic_vad')
  const number = (key: string, least: number, most: number): number | undefined =>
    optional(z.number().min(least).max(most), given[key], `${param}.${key}`, `a number from ${least} to ${most}`)
  const flag = (key: string): boolean | undefined =>
    optional(z.boolean(), given[key], `${param}.${key}`, 'true or false')
  if (given['idle_timeout_ms'] != null) throw wrong(`${param}.idle_timeout_ms`, 'absent: it is not supported')
  const silence = number('silence_duration_ms', 200, 6000)
  const words = optional(z.enum(eagernesses), given['eagerness'], `${param}.eagerness`, 'low, medium, high or auto')
  if (words !== undefined && kind !== 'semantic')
    throw wrong(`${param}.eagerness`, 'absent: it belongs to semantic_vad')
  // A silence in milliseconds overrides eagerness.
  const eagerness = words ?? (kind === 'semantic' && silence === undefined ? base.eagerness : undefined)
  return {
    type: kind,
    ...(eagerness !== undefined && { eagerness }),
    threshold: number('threshold', -1, 1) ?? base.threshold,
    prefixPaddingMs: number('prefix_padding_ms', 0, 10_000) ?? base.prefixPaddingMs,
    silenceMs: silence ?? (words === undefined ? base.silenceMs : eagerSilence[words]),
    createResponse: flag('create_response') ?? base.createResponse,
    interruptResponse: flag('interrupt_response') ?? base.interruptResponse,
  }
}

const toolSchema = z.object({
  type: z.literal('function'),
  // The same rule as in the chat endpoints.
  name: z.string().regex(/^[\w-]{1,64}$/),
  description: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish(),
})

/** Tools in the nested or the flat form. @throws SessionFault if the checkpoint does not support tools */
export function toolsOf(given: unknown, model: SessionModel, param: string): readonly ToolDefinition[] {
  const list = valueOf(z.array(z.unknown()), given, param, 'a list')
  if (list.length > 0 && !model.tools)
    throw new SessionFault(
      `The tool call is not supported: the checkpoint '${model.checkpoint}' loaded here has no tools in its chat template.`,
      { param },
    )
  return list.map((entry, index) => {
    const nested = z
      .object({ type: z.literal('function'), function: z.record(z.string(), z.unknown()) })
      .safeParse(entry)
    const flat = nested.success ? { type: 'function', ...nested.data.function } : entry
    const tool = valueOf(
      toolSchema,
      flat,
      `${param}.${index}`,
      'a function as {type, name, description, parameters}, with a name of up to 64 letters, digits, _ and -',
    )
    return {
      name: tool.name,
      ...(tool.description ? { description: tool.description } : {}),
      ...(tool.parameters ? { parameters: tool.parameters } : {}),
    }
  })
}

export function toolChoiceOf(given: unknown, param: string): ToolChoice {
  const expects = 'auto, none, required, or {"type": "function", "name": NAME}'
  if (given === 'auto' || given === 'none' || given === 'required') return given
  const flat = z.object({ type: z.literal('function'), name: z.string() }).safeParse(given)
  if (flat.success) return { name: flat.data.name }
  const nested = z.object({ type: z.literal('function'), function: z.object({ name: z.string() }) }).safeParse(given)
  if (nested.success) return { name: nested.data.function.name }
  throw wrong(param, expects)
}

/** @throws SessionFault if the choice names a tool that is not among `tools` */
export function checkToolChoice(choice: ToolChoice, tools: readonly ToolDefinition[], param: string): void {
  if (typeof choice === 'string' || tools.length === 0 || tools.some(({ name }) => name === choice.name)) return
  const names = tools.map(({ name }) => name)
  const name = choice.name.slice(0, 80)
  throw new SessionFault(
    `Invalid value: '${param}' names the tool '${name}'.${didYouMean(name, names)} The tools are: ${names.join(', ')}.`,
    { param },
  )
}

/** A token limit: a number, or `inf` for no limit (undefined). @throws SessionFault */
export function maxTokensOf(given: unknown, param: string): number | undefined {
  if (given === 'inf') return undefined
  return valueOf(z.int().min(1), given, param, 'a whole number from 1, or "inf"')
}
