/** A reply: reasoning (folded), text, speech, failure, and its actions. */
import { Collapsible } from '@base-ui/react/collapsible'
import { ChevronRight, CodeXml, Copy, RotateCcw, Trash2, TriangleAlert } from 'lucide-react'
import type { ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { SPEECH_RATE } from '../../audio/speech-player.ts'
import { encodeWav } from '../../audio/wav.ts'
import { formatMilliseconds } from '../../i18n/format.ts'
import type { AssistantTurn } from '../../state/conversation.ts'
import { useStore } from '../../state/store.ts'
import { downloadBlob } from '../copy-text.ts'
import { IconButton } from '../ui/button.tsx'
import { useCopy } from '../use-copy.ts'
import { FailureNotice } from './failure-notice.tsx'
import { Prose } from './prose.tsx'
import { MetricsButton } from './metrics-button.tsx'
import { AudioBar } from './audio-bar.tsx'

interface AssistantTurnProps {
  turn: AssistantTurn
  onShowCode: (turn: AssistantTurn) => void
  onOpenSettings: () => void
}

export function AssistantTurnView({ turn, onShowCode, onOpenSettings }: AssistantTurnProps): ReactElement {
  const { t, i18n } = useTranslation()
  const copy = useCopy()
  const busy = useStore((state) => state.running !== undefined)
  const retry = useStore((state) => state.retry)
  const deleteTurn = useStore((state) => state.deleteTurn)
  const live = turn.status === 'waiting' || turn.status === 'streaming'
  const reason = busy ? t('reason.busy') : undefined
  const thinking = live && turn.text === '' && turn.reasoning !== ''
  const { firstReasoning, firstText } = turn.metrics
  const thought = firstReasoning !== undefined && firstText !== undefined ? firstText - firstReasoning : undefined
  return (
    <article className="turn turn-assistant" aria-label={t('turn.assistant')} aria-busy={live}>
      {turn.reasoning === '' ? null : (
        <Collapsible.Root className="reasoning">
          <Collapsible.Trigger className="reasoning-trigger">
            <ChevronRight size={15} className="chevron" aria-hidden="true" />
            {thinking ? t('turn.thinking') : t('turn.reasoning')}
            {thought === undefined ? null : <span className="help">{formatMilliseconds(thought, i18n.language)}</span>}
          </Collapsible.Trigger>
          <Collapsible.Panel className="reasoning-panel">
            <Prose text={turn.reasoning} />
          </Collapsible.Panel>
        </Collapsible.Root>
      )}
      {turn.status === 'waiting' || thinking ? (
        <p className="waiting">
          <span className="dots" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
          {turn.status === 'waiting' ? t('turn.waiting') : null}
        </p>
      ) : null}
      {turn.text === '' ? null : <Prose text={turn.text} />}
      {turn.status === 'done' && turn.text === '' && turn.pcm === undefined ? (
        <p className="help">{t('turn.noText')}</p>
      ) : null}
      {turn.pcm !== undefined || turn.metrics.firstAudio !== undefined ? (
        <AudioBar
          key={turn.id}
          id={turn.id}
          label={t('speech.label')}
          pcm={turn.pcm}
          save={(pcm) => downloadBlob(encodeWav(pcm, SPEECH_RATE), `reply-${turn.id.slice(0, 8)}.wav`)}
        />
      ) : null}
      {turn.warnings === undefined ? null : (
        <p className="note note-warning">
          <TriangleAlert size={15} aria-hidden="true" />
          {turn.warnings}
        </p>
      )}
      {turn.status === 'stopped' ? (
        <p className="note">{turn.talk === true ? t('turn.interrupted') : t('turn.stopped')}</p>
      ) : null}
      {turn.finishReason === 'length' ? <p className="note">{t('turn.length')}</p> : null}
      {turn.failure === undefined ? null : (
        <FailureNotice failure={turn.failure} onRetry={() => void retry(turn.id)} onOpenSettings={onOpenSettings} />
      )}
      {live ? null : (
        <div className="turn-foot">
          <div className="actions">
            <MetricsButton turn={turn} />
            <IconButton label={t('turn.retry')} reason={reason} onClick={() => void retry(turn.id)}>
              <RotateCcw size={15} />
            </IconButton>
            {turn.talk === true ? null : (
              <IconButton label={t('turn.code')} onClick={() => onShowCode(turn)}>
                <CodeXml size={15} />
              </IconButton>
            )}
            <IconButton label={t('turn.copy')} onClick={() => copy(turn.text)}>
              <Copy size={15} />
            </IconButton>
            <IconButton label={t('turn.delete')} reason={reason} onClick={() => deleteTurn(turn.id)}>
              <Trash2 size={15} />
            </IconButton>
          </div>
        </div>
      )}
    </article>
  )
}
