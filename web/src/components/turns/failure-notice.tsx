/** A failure as the API gave it, with what to do about it. */
import { RotateCcw, TriangleAlert } from 'lucide-react'
import type { ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { adviceKey, isFault, type Failure } from '../../api/errors.ts'
import { Button } from '../ui/button.tsx'

interface FailureNoticeProps {
  failure: Failure
  onRetry?: (() => void) | undefined
  onOpenSettings?: (() => void) | undefined
}

export function FailureNotice({ failure, onRetry, onOpenSettings }: FailureNoticeProps): ReactElement {
  const { t } = useTranslation()
  const advice = adviceKey(failure)
  const facts: [string, string | number | undefined][] = [
    [t('failure.status'), failure.status],
    [t('failure.code'), failure.code],
    [t('failure.param'), failure.param],
    [t('failure.request'), failure.requestId],
  ]
  const title =
    failure.kind === 'api' ? t(isFault(failure) ? 'failure.fault' : 'failure.title') : t(`failure.${failure.kind}`)
  return (
    <div className="failure" role="alert">
      <p className="failure-title">
        <TriangleAlert size={16} aria-hidden="true" />
        {title}
      </p>
      {failure.message === '' ? null : <p className="failure-message">{failure.message}</p>}
      <p>{t(`advice.${advice}`)}</p>
      <dl className="facts facts-inline">
        {facts.map(([name, value]) =>
          value === undefined ? null : (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ),
        )}
      </dl>
      <div className="row">
        {onRetry === undefined ? null : (
          <Button onClick={onRetry}>
            <RotateCcw size={15} />
            {t('failure.retry')}
          </Button>
        )}
        {onOpenSettings !== undefined && (advice === 'key' || advice === 'model' || advice === 'voice') ? (
          <Button onClick={onOpenSettings}>{t('failure.openSettings')}</Button>
        ) : null}
      </div>
    </div>
  )
}
