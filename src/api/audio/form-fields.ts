/**
 * The fields of a transcription's form.
 *
 * In: the form. Out: texts by field name, the file, and the names of fields without effect. A repeated field, and a
 * file in place of text, are refused by name.
 */
import { errors, transcriptionRequestSchema } from '../../protocol/index.ts'

export interface FormFields {
  readonly fields: Readonly<Record<string, string>>
  readonly file: File | undefined
  readonly ignored: readonly string[]
}

const TEXTS: ReadonlySet<string> = new Set(Object.keys(transcriptionRequestSchema.shape))
/** Lists: their names are sent with and without brackets. */
const LISTS: ReadonlySet<string> = new Set(['include', 'timestamp_granularities'])
const MOST_IGNORED = 8

/** @throws ApiError */
export function formFields(form: FormData): FormFields {
  const fields: Record<string, string> = {}
  const ignored = new Set<string>()
  let file: File | undefined
  for (const [name, value] of form) {
    if (LISTS.has(name.replace(/\[\]$/, ''))) continue
    const known = name === 'file' || TEXTS.has(name)
    if (!known) {
      if (typeof value !== 'string' || value !== '') ignored.add(name.slice(0, 40).toWellFormed())
      continue
    }
    if (form.getAll(name).length > 1) throw errors.givenTwice(name)
    if (name === 'file') {
      if (typeof value === 'string') throw errors.wrongType('text', 'file', name)
      file = value
    } else if (typeof value === 'string') fields[name] = value
    else throw errors.wrongType('a file', 'string', name)
  }
  checkLists(form, fields)
  return { fields, file, ignored: [...ignored].slice(0, MOST_IGNORED) }
}

function checkLists(form: FormData, fields: Readonly<Record<string, string>>): void {
  const format = fields['response_format'] ?? 'json'
  if (fields['stream'] === 'true' && format !== 'json' && format !== 'text')
    throw errors.notSupportedHere('stream', 'it works with response_format json and text.')
  if (form.has('include') || form.has('include[]'))
    throw errors.notSupportedHere('include', 'a transcript has no logprobs.')
  const granularities = [...form.getAll('timestamp_granularities[]'), ...form.getAll('timestamp_granularities')]
  if (granularities.includes('word'))
    throw errors.notSupportedHere('timestamp_granularities', 'of its values, only "segment" is.')
  if (granularities.some((value) => value !== 'segment')) throw errors.notOneOf(['segment'], 'timestamp_granularities')
}
