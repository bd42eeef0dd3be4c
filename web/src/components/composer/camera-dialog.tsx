/** The camera: take a photo, or still frames at two a second. */
import { Camera, Film, SwitchCamera } from 'lucide-react'
import { useEffect, useRef, useState, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { openDevice, RecorderError } from '../../audio/recorder.ts'
import { drawJpeg } from '../../media/frames.ts'
import type { Media } from '../../state/conversation.ts'
import { Button, IconButton } from '../ui/button.tsx'
import { Modal } from '../ui/modal.tsx'
import { notify } from '../ui/toasts.tsx'
import { newId } from '../../state/new-id.ts'

const FPS = 2

interface CameraDialogProps {
  open: boolean
  maxFrames: number
  minFrames: number
  onClose: () => void
  onMedia: (media: Media) => void
}

function name(t: (key: string, values: { time: string }) => string, language: string): string {
  return t('camera.name', { time: new Date().toLocaleTimeString(language) })
}

function CameraView({ maxFrames, minFrames, onClose, onMedia }: Omit<CameraDialogProps, 'open'>): ReactElement {
  const { t, i18n } = useTranslation()
  const video = useRef<HTMLVideoElement>(null)
  const close = useRef(onClose)
  close.current = onClose
  const [facing, setFacing] = useState<'user' | 'environment'>('user')
  const [ready, setReady] = useState(false)
  const [frames, setFrames] = useState<Blob[]>()

  useEffect(() => {
    let left = false
    let stream: MediaStream | undefined
    const release = (): void => stream?.getTracks().forEach((track) => track.stop())
    setReady(false)
    const show = async (): Promise<void> => {
      stream = await openDevice({ video: { facingMode: facing, width: { ideal: 1280 } } })
      if (left) return release()
      if (video.current === null) return undefined
      video.current.srcObject = stream
      return video.current.play()
    }
    show().catch((error: unknown) => {
      // The dialog closed, or the other camera is being opened, before the first frame came.
      if (left || (error instanceof DOMException && error.name === 'AbortError')) return
      const problem = error instanceof RecorderError ? error.reason : 'failed'
      notify(t(`problem.${problem}`, { message: error instanceof Error ? error.message : String(error) }), 'problem')
      close.current()
    })
    return () => {
      left = true
      release()
    }
  }, [facing, t])

  const finish = (taken: Blob[]): void => {
    if (taken.length >= minFrames)
      onMedia({
        id: newId(),
        kind: 'frames',
        name: name(t, i18n.language),
        source: { type: 'frames', frames: taken, fps: FPS },
        duration: taken.length / FPS,
      })
    setFrames(undefined)
  }
  const recording = frames !== undefined
  useEffect(() => {
    if (!recording) return undefined
    const timer = setInterval(() => {
      const element = video.current
      if (element === null) return
      void drawJpeg(element).then(({ blob }) => setFrames((before) => before && [...before, blob]))
    }, 1000 / FPS)
    return () => clearInterval(timer)
  }, [recording])
  useEffect(() => {
    if (frames !== undefined && frames.length >= maxFrames) finish(frames)
  })

  const take = async (): Promise<void> => {
    if (video.current === null) return
    const { blob, width, height } = await drawJpeg(video.current, 1280, 0.9)
    onMedia({
      id: newId(),
      kind: 'image',
      name: `${name(t, i18n.language)}.jpg`,
      source: { type: 'blob', blob },
      width,
      height,
    })
  }
  return (
    <div className="camera">
      <video
        ref={video}
        className="camera-view"
        muted
        playsInline
        aria-label={t('camera.preview')}
        onPlaying={() => setReady(true)}
      />
      {ready ? null : <p className="camera-wait">{t('camera.opening')}</p>}
      <div className="row row-center">
        <Button variant="primary" disabled={!ready || recording} onClick={() => void take()}>
          <Camera size={17} />
          {t('camera.take')}
        </Button>
        <Button disabled={!ready} onClick={() => (frames === undefined ? setFrames([]) : finish(frames))}>
          <Film size={17} />
          {frames === undefined ? t('camera.frames') : t('camera.framesStop', { count: frames.length })}
        </Button>
        <IconButton
          label={t('camera.flip')}
          disabled={recording}
          onClick={() => setFacing(facing === 'user' ? 'environment' : 'user')}
        >
          <SwitchCamera size={18} />
        </IconButton>
      </div>
    </div>
  )
}

export function CameraDialog({ open, ...rest }: CameraDialogProps): ReactElement {
  const { t } = useTranslation()
  return (
    <Modal open={open} onOpenChange={rest.onClose} title={t('camera.title')}>
      {open ? <CameraView {...rest} /> : null}
    </Modal>
  )
}
