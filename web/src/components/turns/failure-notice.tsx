/** A failure: first what happened and the fix, then the server's message. */
import { KeyRound, RotateCcw, TriangleAlert } from 'lucide-react'
import type { ReactElement, ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { adviceKey, type Failure } from '../../api/errors.ts'
import { useStore } from '../../state/store.ts'
import { KeyForm } from '../key-form.tsx'
import { Button } from '../ui/button.tsx'

interface FailureNoticeProps {
  failure: Failure
  onRetry?: (() => void) | undefined
  onOpenSettings?: (() => void) | undefined
}

/** A command-line option stays on one line. */
function unbroken(text: string): ReactNode[] {
  return text.split(/(--[\w-]+)/).map((piece) =>
    piece.startsWith('--') ? (
      <span key={piece} className="option">
        {piece}
      </span>
    ) : (
      piece
    ),
  )
}

export function FailureNotice({ failure, onRetry, onOpenSettings }: FailureNoticeProps): ReactElement {
  const { t } = useTranslation()
  const hasKey = useStore((state) => state.settings.apiKey !== '')
  const advice = adviceKey(failure)
  if (advice === 'key') {
    return (
      <div className="failure failure-key" role="alert">
        <p className="failure-title">
          <KeyRound size={16} aria-hidden="true" />
          {t(hasKey ? 'failure.wrongKey.title' : 'failure.key.title')}
        </p>
        <p>{t(hasKey ? 'failure.wrongKey.text' : 'failure.key.text')}</p>
        <KeyForm focused onAccepted={onRetry} />
      </div>
    )
  }
  const facts: [string, string | number | undefined][] = [
    [t('failure.status'), failure.status],
    [t('failure.code'), failure.code],
    [t('failure.param'), failure.param],
    [t('failure.requestId'), failure.requestId],
  ]
  const known = facts.filter(([, value]) => value !== undefined)
  return (
    <div className="failure" role="alert">
      <p className="failure-title">
        <TriangleAlert size={16} aria-hidden="true" />
        {t(`failure.${advice}.title`)}
      </p>
      <p>{unbroken(t(`failure.${advice}.text`))}</p>
      {failure.message === '' && known.length === 0 ? null : (
        <div className="failure-said">
          {failure.message === '' ? null : (
            <p>
              {t('failure.said')} <span className="failure-message">{failure.message}</span>
            </p>
          )}
          <dl className="facts facts-inline">
            {known.map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
        </div>
      )}
      <div className="row">
        {onRetry === undefined ? null : (
          <Button onClick={onRetry}>
            <RotateCcw size={15} />
            {t('failure.retry')}
          </Button>
        )}
        {onOpenSettings !== undefined && (advice === 'model' || advice === 'voice') ? (
          <Button onClick={onOpenSettings}>{t('failure.openSettings')}</Button>
        ) : null}
      </div>
    </div>
  )
}
