/** Turns a rule's reason into a sentence of the page's language. */
import { useTranslation } from 'react-i18next'
import type { Reason } from '../api/rules.ts'
import { formatBytes } from '../i18n/format.ts'

export function useReason(): (reason: Reason | undefined) => string | undefined {
  const { t, i18n } = useTranslation()
  return (reason) => {
    if (reason === undefined) return undefined
    const values = { ...reason.values }
    if (reason.key === 'tooManyBytes') {
      values.size = formatBytes(Number(values.size), i18n.language)
      values.limit = formatBytes(Number(values.limit), i18n.language)
    }
    return t(`reason.${reason.key}`, values)
  }
}
