/**
 * From the first thing zod finds wrong with a request body to the error the hosted service would answer with.
 *
 * In: the zod error and the body it was found in. Out: an {@link ApiError} naming the dotted field, such as
 * `messages.0.content.1.image_url.url`.
 */
import type { z } from 'zod'
import type { ApiError } from './api-error.ts'
import { errors } from './error-catalogue.ts'

type Issue = z.core.$ZodIssue

/** The error for the first issue, in the order of the schema's keys. */
export function requestIssueToError(error: z.core.$ZodError, body: unknown): ApiError {
  const issue = error.issues[0]
  if (issue === undefined) return errors.bodyInvalid()
  return fromIssue(issue, [], body)
}

function fromIssue(issue: Issue, prefix: readonly PropertyKey[], body: unknown): ApiError {
  const path = [...prefix, ...issue.path]
  const param = path.map(String).join('.')
  const value = valueAt(body, path)
  const last = path.at(-1)

  if (issue.code === 'invalid_union') {
    // A union by a key: `role` or `type` is missing or unknown.
    if ('discriminator' in issue && issue.errors.length === 0) {
      if (value === undefined || value === null) return errors.fieldRequired(param)
      if (last === 'role') return errors.roleUnknown(plain(value), param)
      if (insideRole(body, path) === 'assistant') return errors.assistantTextOnly(parentOf(param))
      return errors.partTypeUnknown(plain(value), param)
    }
    if (last === 'stop') return errors.stopMixed()
    if (last === 'content' && (value === undefined || value === null)) return errors.contentRequired(param)
    if (last === 'content' && !Array.isArray(value)) return errors.wrongType(shown(value), ['string', 'array'], param)
    const branch = closestBranch(issue.errors, value)
    const inner = branch?.[0]
    if (inner !== undefined) return fromIssue(inner, path, body)
    return errors.wrongType(shown(value), 'string', param)
  }

  if (last === 'content' && (value === undefined || value === null)) return errors.contentRequired(param)
  if (value === undefined) return errors.fieldRequired(param)

  switch (issue.code) {
    case 'invalid_type':
      if (isServiceText(issue.message)) return errors.parameterRange(issue.message, param)
      return errors.wrongType(shown(value), jsonType(issue.expected), param)
    case 'too_small':
      if (isServiceText(issue.message)) return errors.parameterRange(issue.message, param)
      if (issue.origin === 'array' || issue.origin === 'string') {
        return last === 'content' ? errors.contentRequired(param) : errors.tooShort(shown(value), param)
      }
      return errors.belowMinimum(shown(value), issue.minimum, param)
    case 'too_big':
      if (isServiceText(issue.message)) return errors.parameterRange(issue.message, param)
      return errors.aboveMaximum(shown(value), issue.maximum, param)
    case 'invalid_value':
      // The literal `type` of a text part: any other value is media where only text is allowed.
      if (last === 'type') {
        const role = insideRole(body, path)
        if (role === 'assistant') return errors.assistantTextOnly(parentOf(param))
        if (role === 'system') return errors.systemTextOnly(parentOf(param))
        return errors.partTypeUnknown(plain(value), param)
      }
      return errors.wrongType(shown(value), 'string', param)
    default:
      return errors.wrongType(shown(value), 'object', param)
  }
}

/** Our schema's own texts are the service's; zod's begin with "Invalid" or "Too". */
function isServiceText(message: string): boolean {
  return !/^(Invalid|Too|Expected|Unrecognized)\b/.test(message)
}

/** Of a union's failed branches, the one meant for what was given: the array's for arrays, and so on. */
function closestBranch(branches: readonly (readonly Issue[])[], value: unknown): readonly Issue[] | undefined {
  const meant = branches.filter((issues) => {
    const first = issues[0]
    return first !== undefined && !(first.code === 'invalid_type' && first.path.length === 0)
  })
  return meant[0] ?? (value === undefined ? branches[0] : branches.at(-1))
}

/** The role of the message that `path` leads into, if any. */
function insideRole(body: unknown, path: readonly PropertyKey[]): unknown {
  if (path[0] !== 'messages' || typeof path[1] !== 'number') return undefined
  return valueAt(body, ['messages', path[1], 'role'])
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  let value = body
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return undefined
    value = (value as Record<PropertyKey, unknown>)[key]
  }
  return value
}

function parentOf(param: string): string {
  return param.slice(0, param.lastIndexOf('.'))
}

function jsonType(expected: string): string {
  switch (expected) {
    case 'int':
      return 'integer'
    case 'record':
      return 'object'
    default:
      return expected
  }
}

/** A value as shown in an error, never long: data URIs and keys do not belong in messages. */
export function shown(value: unknown): string {
  // JSON cannot express the infinity that 1e400 parses to.
  const text = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? 'undefined')
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}

/** As {@link shown}, but a string without its quotes. */
function plain(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, 80) : shown(value)
}
