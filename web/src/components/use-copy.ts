/** Copies a text, and reports whether it worked. */
import { useTranslation } from 'react-i18next'
import { copyText } from './copy-text.ts'
import { notify } from './ui/toasts.tsx'

export function useCopy(): (text: string) => void {
  const { t } = useTranslation()
  return (text) => {
    void copyText(text).then((done) => notify(done ? t('turn.copied') : t('problem.copy'), done ? 'info' : 'problem'))
  }
}
