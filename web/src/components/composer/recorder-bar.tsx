/** Replaces the composer while the microphone records: level, time, keep or discard. */
import { Meter } from '@base-ui/react/meter'
import { Check, Trash2 } from 'lucide-react'
import { useEffect, useRef, useState, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { Recorder, RecorderError, type Recording } from '../../audio/recorder.ts'
import { formatClock } from '../../i18n/format.ts'
import { Button, IconButton } from '../ui/button.tsx'
import { notify } from '../ui/toasts.tsx'

interface RecorderBarProps {
  /** Seconds after which the recording ends by itself. */
  longest: number
  /** The recording, or undefined when it was discarded or refused. */
  onDone: (recording: Recording | undefined) => void
}

const BARS = 28

export function RecorderBar({ longest, onDone }: RecorderBarProps): ReactElement {
  const { t } = useTranslation()
  const recorder = useRef<Recorder>(undefined)
  const done = useRef(onDone)
  done.current = onDone
  const [ready, setReady] = useState(false)
  const [seconds, setSeconds] = useState(0)
  const [levels, setLevels] = useState<number[]>(() => Array.from({ length: BARS }, () => 0))

  useEffect(() => {
    let left = false
    let timer: ReturnType<typeof setInterval> | undefined
    Recorder.start().then(
      (started) => {
        if (left) return started.cancel()
        recorder.current = started
        setReady(true)
        timer = setInterval(() => {
          setSeconds(started.seconds)
          setLevels((before) => [...before.slice(1), started.level])
        }, 80)
      },
      (error: unknown) => {
        if (left) return
        const problem = error instanceof RecorderError ? error.reason : 'failed'
        notify(t(`problem.${problem}`, { message: error instanceof Error ? error.message : String(error) }), 'problem')
        done.current(undefined)
      },
    )
    return () => {
      left = true
      clearInterval(timer)
      recorder.current?.cancel()
    }
  }, [t])

  const keep = async (): Promise<void> => {
    const active = recorder.current
    recorder.current = undefined
    if (active !== undefined) done.current(await active.stop())
  }
  useEffect(() => {
    if (seconds < longest || recorder.current === undefined) return
    notify(t('recorder.full'))
    void keep()
  }, [seconds, longest, t])

  const level = levels.at(-1) ?? 0
  return (
    <div className="recorder" role="group" aria-label={t('recorder.recording')}>
      <IconButton label={t('recorder.cancel')} onClick={() => onDone(undefined)}>
        <Trash2 size={18} />
      </IconButton>
      <Meter.Root className="level" value={Math.round(level * 100)} min={0} max={100} aria-label={t('recorder.level')}>
        <Meter.Track className="level-track">
          <Meter.Indicator className="off-screen" />
          {levels.map((value, index) => (
            // Bars have no identity but their position.
            // oxlint-disable-next-line react/no-array-index-key
            <i key={index} style={{ height: `${Math.max(6, Math.min(100, Math.sqrt(value) * 100))}%` }} />
          ))}
        </Meter.Track>
      </Meter.Root>
      <span className="number" role="timer">
        {ready ? formatClock(seconds) : t('recorder.opening')}
      </span>
      <Button variant="primary" disabled={!ready} onClick={() => void keep()}>
        <Check size={16} />
        {t('recorder.stop')}
      </Button>
    </div>
  )
}
