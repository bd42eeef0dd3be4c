/** Loudness of both sides, many times a second: a ring around the state, and a meter for each side. */
import { useEffect, useRef, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import type { TalkSession } from '../../talk/talk-session.ts'
import type { TalkStatus } from '../../talk/talk-state.ts'

/** Approximate perceived loudness: half the height is a hundredth of the power. */
const shown = (level: number): number => Math.min(1, Math.sqrt(level))

export function TalkLevels({ session, status }: { session: TalkSession; status: TalkStatus }): ReactElement {
  const { t } = useTranslation()
  const root = useRef<HTMLDivElement>(null)
  const meters = useRef<Record<'you' | 'model', HTMLDivElement | null>>({ you: null, model: null })
  useEffect(() => {
    let frame = 0
    const draw = (): void => {
      const { you, model } = session.levels()
      root.current?.style.setProperty('--you', shown(you).toFixed(3))
      root.current?.style.setProperty('--model', shown(model).toFixed(3))
      meters.current.you?.setAttribute('aria-valuenow', String(Math.round(shown(you) * 100)))
      meters.current.model?.setAttribute('aria-valuenow', String(Math.round(shown(model) * 100)))
      frame = requestAnimationFrame(draw)
    }
    draw()
    return () => cancelAnimationFrame(frame)
  }, [session])
  const meter = (side: 'you' | 'model', label: string): ReactElement => (
    <div
      ref={(element) => {
        meters.current[side] = element
      }}
      className="talk-meter"
      data-side={side}
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={0}
    >
      <i />
    </div>
  )
  return (
    <div ref={root} className="talk-levels" data-status={status}>
      <div className="talk-orb" aria-hidden="true">
        <i className="talk-ring" />
        <i className="talk-core" />
      </div>
      <p className="talk-status">{t(`talk.${status}`)}</p>
      {/* A screen reader that announced every turn would be picked up by the microphone. */}
      <p className="sr-only" role="status">
        {status === 'connecting' || status === 'ended' ? t(`talk.${status}`) : t('talk.listening')}
      </p>
      <div className="talk-meters">
        <span aria-hidden="true">{t('talk.you')}</span>
        {meter('you', t('talk.yourLevel'))}
        <span aria-hidden="true">{t('talk.model')}</span>
        {meter('model', t('talk.modelLevel'))}
      </div>
    </div>
  )
}
