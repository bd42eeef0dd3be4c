/** The figures of a reply: times, tokens by modality, what it would cost. A line, and all of it in a popover. */
import { Popover } from '@base-ui/react/popover'
import type { ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { costOf } from '../../api/cost.ts'
import { SPEECH_RATE } from '../../audio/speech-player.ts'
import { formatLength, formatMilliseconds, formatMoney } from '../../i18n/format.ts'
import type { AssistantTurn } from '../../state/conversation.ts'
import { useStore } from '../../state/store.ts'

function byModality(details: Record<string, number | undefined> | undefined, t: (key: string) => string): string[] {
  return Object.entries(details ?? {})
    .filter(([, amount]) => amount !== undefined && amount > 0)
    .map(([name, amount]) => `${amount} ${t(`metrics.${name.replace('_tokens', '')}`)}`)
}

export function MetricsLine({ turn }: { turn: AssistantTurn }): ReactElement | null {
  const { t, i18n } = useTranslation()
  const prices = useStore((state) => state.models.find((model) => model.id === turn.model)?.prices)
  const ms = (value: number): string => formatMilliseconds(value, i18n.language)
  const { firstReasoning, firstText, firstAudio, total } = turn.metrics
  const firstToken = Math.min(firstReasoning ?? Infinity, firstText ?? Infinity)
  const { usage } = turn
  const cost = usage && costOf(usage, prices)
  const input = usage ? byModality(usage.prompt_tokens_details, t) : []
  const output = usage ? byModality(usage.completion_tokens_details, t) : []
  const items: string[] = []
  if (firstToken !== Infinity) items.push(t('metrics.firstToken', { ms: ms(firstToken) }))
  if (firstAudio !== undefined) items.push(t('metrics.firstAudio', { ms: ms(firstAudio) }))
  if (total !== undefined && turn.status !== 'failed') items.push(t('metrics.total', { ms: ms(total) }))
  if (usage) items.push(t('metrics.tokens', { input: input.join(' + '), output: output.join(' + ') }))
  if (cost) items.push(formatMoney(cost.total, cost.currency, i18n.language))
  if (items.length === 0) return null

  const rows: [string, string][] = [[t('metrics.model'), turn.model]]
  if (turn.voice !== undefined) rows.push([t('metrics.voice'), turn.voice])
  if (usage) {
    rows.push([t('metrics.prompt'), `${usage.prompt_tokens} (${input.join(', ')})`])
    rows.push([t('metrics.completion'), `${usage.completion_tokens} (${output.join(', ')})`])
    const said =
      (usage.completion_tokens_details?.text_tokens ?? 0) + (usage.completion_tokens_details?.reasoning_tokens ?? 0)
    if (total !== undefined && firstToken < total && said > 1)
      rows.push(['', t('metrics.speed', { rate: ((said / (total - firstToken)) * 1000).toFixed(1) })])
  }
  if (turn.pcm) rows.push([t('metrics.audio'), formatLength(turn.pcm.length / SPEECH_RATE, i18n.language)])
  if (turn.finishReason !== undefined) rows.push([t('metrics.finish'), turn.finishReason])
  if (turn.requestId !== undefined) rows.push([t('metrics.request'), turn.requestId])
  return (
    <Popover.Root>
      <Popover.Trigger className="metrics">
        <span className="sr-only">{t('metrics.details')}: </span>
        {items.map((item) => (
          <span key={item}>{item} </span>
        ))}
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Positioner className="layer" sideOffset={6} align="start">
          <Popover.Popup className="popup popover">
            <Popover.Title className="popover-title">{t('metrics.details')}</Popover.Title>
            <dl className="facts">
              {rows.map(([name, value]) => (
                <div key={`${name}${value}`}>
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
