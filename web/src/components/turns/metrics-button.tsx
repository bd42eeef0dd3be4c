/** The (i) of a reply: times, tokens by modality, and the hosted service's price. */
import { Popover } from '@base-ui/react/popover'
import { Info } from 'lucide-react'
import type { ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { costOf } from '../../api/cost.ts'
import { SPEECH_RATE } from '../../audio/speech-player.ts'
import { formatLength, formatMilliseconds, formatMoney } from '../../i18n/format.ts'
import type { AssistantTurn } from '../../state/conversation.ts'
import { useStore } from '../../state/store.ts'

function byModality(details: Record<string, number | undefined> | undefined, t: (key: string) => string): string {
  return Object.entries(details ?? {})
    .filter(([, amount]) => amount !== undefined && amount > 0)
    .map(([name, amount]) => `${amount} ${t(`metrics.${name.replace('_tokens', '')}`)}`)
    .join(', ')
}

export function MetricsButton({ turn }: { turn: AssistantTurn }): ReactElement {
  const { t, i18n } = useTranslation()
  const prices = useStore((state) => state.models.find((model) => model.id === turn.model)?.prices)
  const ms = (value: number): string => formatMilliseconds(value, i18n.language)
  const { firstReasoning, firstText, firstAudio, total } = turn.metrics
  const firstToken = Math.min(firstReasoning ?? Infinity, firstText ?? Infinity)
  const { usage } = turn
  const cost = usage && costOf(usage, prices)

  const rows: [string, string][] = []
  if (firstToken !== Infinity) rows.push([t('metrics.firstToken'), ms(firstToken)])
  if (firstAudio !== undefined) rows.push([t('metrics.firstAudio'), ms(firstAudio)])
  if (total !== undefined && turn.status !== 'failed') rows.push([t('metrics.total'), ms(total)])
  if (usage) {
    const { completion_tokens_details: made } = usage
    const written = (made?.text_tokens ?? 0) + (made?.reasoning_tokens ?? 0)
    if (total !== undefined && firstToken < total && written > 1) {
      const perSecond = ((written / (total - firstToken)) * 1000).toFixed(1)
      rows.push([t('metrics.speed'), t('metrics.rate', { rate: perSecond })])
    }
    rows.push([t('metrics.prompt'), byModality(usage.prompt_tokens_details, t) || String(usage.prompt_tokens)])
    rows.push([t('metrics.completion'), byModality(made, t) || String(usage.completion_tokens)])
  }
  if (turn.pcm) rows.push([t('metrics.speech'), formatLength(turn.pcm.length / SPEECH_RATE, i18n.language)])
  rows.push([t('metrics.model'), turn.model])
  if (turn.voice !== undefined) rows.push([t('metrics.voice'), turn.voice])
  if (turn.finishReason !== undefined) rows.push([t('metrics.finish'), turn.finishReason])
  if (turn.requestId !== undefined) rows.push([t('metrics.request'), turn.requestId])
  if (cost) rows.push([t('metrics.cost'), formatMoney(cost.total, cost.currency, i18n.language)])
  return (
    <Popover.Root>
      <Popover.Trigger className="icon-button" aria-label={t('metrics.details')} title={t('metrics.details')}>
        <Info size={15} />
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Positioner className="layer" sideOffset={6} align="start">
          <Popover.Popup className="popup popover metrics">
            <Popover.Title className="popover-title">{t('metrics.details')}</Popover.Title>
            <dl className="facts">
              {rows.map(([name, value]) => (
                <div key={name}>
                  <dt>{name}</dt>
                  <dd>{value}</dd>
                </div>
              ))}
            </dl>
            {cost ? <p className="help">{t('metrics.costNote')}</p> : null}
          </Popover.Popup>
        </Popover.Positioner>
      </Popover.Portal>
    </Popover.Root>
  )
}
