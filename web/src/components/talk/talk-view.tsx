/** A spoken conversation, in place of the written one: state, levels, captions of both sides, and a few buttons. */
import { Camera, CameraOff, Hand, Mic, MicOff, PhoneOff, RotateCcw } from 'lucide-react'
import { useEffect, useRef, useState, useSyncExternalStore, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { RecorderError } from '../../audio/recorder.ts'
import { currentModel, useStore } from '../../state/store.ts'
import type { TalkSession } from '../../talk/talk-session.ts'
import { statusOf, type Caption, type TalkProblem } from '../../talk/talk-state.ts'
import { Button, IconButton } from '../ui/button.tsx'
import { notify } from '../ui/toasts.tsx'
import { TalkLevels } from './talk-levels.tsx'

const DEVICE_PROBLEMS = new Set(['insecure', 'denied', 'missing', 'busy', 'failed'])

function useProblemText(): (problem: TalkProblem) => string {
  const { t } = useTranslation()
  return ({ key, message }) => t(DEVICE_PROBLEMS.has(key) ? `problem.${key}` : `talk.${key}`, { message })
}

function Captions({ captions }: { captions: readonly Caption[] }): ReactElement {
  const { t } = useTranslation()
  const list = useRef<HTMLOListElement>(null)
  useEffect(() => {
    const element = list.current
    if (element === null) return undefined
    const toEnd = (): void => element.scrollTo({ top: element.scrollHeight })
    toEnd()
    const observer = new ResizeObserver(toEnd)
    observer.observe(element)
    return () => observer.disconnect()
  }, [captions])
  return (
    <ol ref={list} className="talk-captions" aria-label={t('talk.captions')} tabIndex={0}>
      {captions.map(({ id, speaker, text, open, interrupted }) => (
        <li key={id} className="talk-caption" data-speaker={speaker}>
          <span className="talk-speaker">{t(`talk.${speaker}`)}</span>
          <p>
            {text === '' && !open && speaker === 'you' ? <span className="help">{t('talk.noTranscript')}</span> : text}
            {open && text === '' ? (
              <span className="dots" aria-hidden="true">
                <i />
                <i />
                <i />
              </span>
            ) : null}
            {interrupted ? (
              <>
                {' '}
                <span className="badge">{t('talk.interrupted')}</span>
              </>
            ) : null}
          </p>
        </li>
      ))}
    </ol>
  )
}

/** Keeps a phone's screen on during a conversation. */
function useWakeLock(active: boolean): void {
  useEffect(() => {
    if (!active || navigator.wakeLock === undefined) return undefined
    let lock: WakeLockSentinel | undefined
    let left = false
    const keep = (): void => {
      // The browser takes it away with the page's visibility.
      if (document.visibilityState !== 'visible') return
      navigator.wakeLock.request('screen').then(
        (given) => {
          lock = given
          return left ? given.release() : undefined
        },
        () => {},
      )
    }
    keep()
    document.addEventListener('visibilitychange', keep)
    return () => {
      left = true
      document.removeEventListener('visibilitychange', keep)
      void lock?.release()
    }
  }, [active])
}

function CameraPreview({ stream }: { stream: MediaStream }): ReactElement {
  const { t } = useTranslation()
  const video = useRef<HTMLVideoElement>(null)
  useEffect(() => {
    if (video.current !== null) video.current.srcObject = stream
  }, [stream])
  return (
    <figure className="talk-camera">
      <video ref={video} autoPlay muted playsInline aria-label={t('camera.preview')} />
      <figcaption className="help">{t('talk.cameraNote')}</figcaption>
    </figure>
  )
}

export function TalkView({ session }: { session: TalkSession }): ReactElement {
  const { t } = useTranslation()
  const problemText = useProblemText()
  const state = useSyncExternalStore(session.subscribe, session.getState)
  const { startTalk, closeTalk } = useStore.getState()
  const sees = useStore((all) => currentModel(all)?.served_by?.input_modalities.includes('image') ?? false)
  const [cameraBusy, setCameraBusy] = useState(false)
  const status = statusOf(state)
  const live = state.phase === 'live'
  const camera = session.cameraStream
  useWakeLock(live)

  // Leaving the page ends the session.
  useEffect(() => {
    const leave = (): void => session.end()
    addEventListener('pagehide', leave)
    return () => removeEventListener('pagehide', leave)
  }, [session])

  const toggleCamera = async (): Promise<void> => {
    setCameraBusy(true)
    try {
      await session.setCamera(camera === undefined, () => notify(t('talk.cameraGone'), 'problem'))
    } catch (error) {
      const key = error instanceof RecorderError ? error.reason : 'failed'
      const message = problemText({ key, message: error instanceof Error ? error.message : String(error) })
      notify(t('talk.cameraFailed', { message }), 'problem')
    }
    setCameraBusy(false)
  }
  return (
    <section className="talk" aria-label={t('talk.title')}>
      <h1 className="sr-only">{t('talk.title')}</h1>
      <div className="talk-stage">
        <TalkLevels session={session} status={status} />
        {camera === undefined ? null : <CameraPreview stream={camera} />}
      </div>
      {state.problem === undefined ? null : (
        <p className="talk-problem" role="alert">
          {problemText(state.problem)}
        </p>
      )}
      {state.captions.length > 0 ? (
        <Captions captions={state.captions} />
      ) : (
        <p className="talk-intro help">{status === 'ended' ? null : t('talk.intro')}</p>
      )}
      <div className="talk-controls">
        {state.phase === 'ended' ? (
          <>
            <Button variant="primary" onClick={startTalk}>
              <RotateCcw size={16} />
              {t('talk.again')}
            </Button>
            <Button onClick={closeTalk}>{t('app.close')}</Button>
          </>
        ) : (
          <>
            <IconButton
              label={state.muted ? t('talk.unmute') : t('talk.mute')}
              className="talk-button"
              aria-pressed={state.muted}
              disabled={!live}
              onClick={() => session.setMuted(!state.muted)}
            >
              {state.muted ? <MicOff size={20} /> : <Mic size={20} />}
            </IconButton>
            {sees ? (
              <IconButton
                label={camera === undefined ? t('talk.cameraOn') : t('talk.cameraOff')}
                className="talk-button"
                aria-pressed={camera !== undefined}
                disabled={!live || cameraBusy}
                onClick={() => void toggleCamera()}
              >
                {camera === undefined ? <Camera size={20} /> : <CameraOff size={20} />}
              </IconButton>
            ) : null}
            {status === 'speaking' || status === 'thinking' ? (
              <IconButton label={t('talk.interrupt')} className="talk-button" onClick={() => session.interrupt()}>
                <Hand size={20} />
              </IconButton>
            ) : null}
            <Button className="talk-end" onClick={closeTalk}>
              <PhoneOff size={18} />
              {t('talk.end')}
            </Button>
          </>
        )}
      </div>
    </section>
  )
}
