/** Picks a video and extracts evenly spaced frames from it. */
import { Progress } from '@base-ui/react/progress'
import { Clapperboard } from 'lucide-react'
import { useEffect, useRef, useState, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import type { ModelListing } from '../../api/types.ts'
import { extractFrames, frameTimes } from '../../media/frames.ts'
import { ACCEPT, durationOf } from '../../media/probe.ts'
import type { Media } from '../../state/conversation.ts'
import { FrameStrip } from '../turns/media-view.tsx'
import { Button } from '../ui/button.tsx'
import { SliderField } from '../ui/field.tsx'
import { Modal } from '../ui/modal.tsx'
import { newId } from '../../state/new-id.ts'

interface FramesDialogProps {
  /** Open with a video, or `'pick'` to choose one. */
  video: { blob: Blob; name: string } | 'pick' | undefined
  model: ModelListing
  onClose: () => void
  onMedia: (media: Media) => void
}

function FramesView({ video: given, model, onMedia }: Omit<FramesDialogProps, 'onClose'>): ReactElement {
  const { t } = useTranslation()
  const picker = useRef<HTMLInputElement>(null)
  const [video, setVideo] = useState(given === 'pick' ? undefined : given)
  const [duration, setDuration] = useState<number>()
  const [count, setCount] = useState<number | null>(null)
  const [done, setDone] = useState(0)
  const [frames, setFrames] = useState<Blob[]>()
  const [failed, setFailed] = useState(false)
  const { min_frames: min, max_frames: max } = model.media.video
  // Two a second, as the service samples videos, within the model's limits and at a reasonable size.
  const usual = Math.max(min, Math.min(max, 32, Math.round((duration ?? 4) * 2)))
  const wanted = count ?? usual

  useEffect(() => {
    if (video === undefined) return undefined
    let left = false
    setFailed(false)
    void durationOf('video', video.blob).then((seconds) => {
      if (left) return
      if (seconds === undefined) setFailed(true)
      else setDuration(seconds)
    })
    return () => {
      left = true
    }
  }, [video])

  useEffect(() => {
    if (video === undefined || duration === undefined) return undefined
    const abort = new AbortController()
    setFrames(undefined)
    setDone(0)
    const timer = setTimeout(() => {
      extractFrames(video.blob, frameTimes(duration, wanted), setDone, abort.signal).then(setFrames, () => {
        if (!abort.signal.aborted) setFailed(true)
      })
    }, 250)
    return () => {
      clearTimeout(timer)
      abort.abort(new Error('replaced'))
    }
  }, [video, duration, wanted])

  return (
    <>
      <input
        ref={picker}
        type="file"
        className="off-screen"
        tabIndex={-1}
        aria-hidden="true"
        accept={ACCEPT.video}
        onChange={(event) => {
          const file = event.target.files?.[0]
          if (file) setVideo({ blob: file, name: file.name })
        }}
      />
      <div className="row">
        <Button onClick={() => picker.current?.click()}>
          <Clapperboard size={16} />
          {t('frames.choose')}
        </Button>
        <span className="help">{video?.name}</span>
      </div>
      {failed ? (
        <p className="note" role="alert">
          {t('frames.failed')}
        </p>
      ) : null}
      {duration === undefined || failed || video === undefined ? null : (
        <>
          <SliderField
            label={t('frames.count')}
            value={count}
            fallback={usual}
            min={min}
            max={max}
            step={1}
            onChange={setCount}
          />
          {frames === undefined ? (
            <Progress.Root className="progress" value={done} max={wanted} aria-label={t('frames.working')}>
              <Progress.Track className="progress-track">
                <Progress.Indicator className="progress-indicator" />
              </Progress.Track>
            </Progress.Root>
          ) : (
            <FrameStrip frames={frames} name={video.name} />
          )}
          <div className="row row-end">
            <Button
              variant="primary"
              disabled={frames === undefined}
              onClick={() => {
                if (frames === undefined) return
                onMedia({
                  id: newId(),
                  kind: 'frames',
                  name: video.name,
                  source: {
                    type: 'frames',
                    frames,
                    fps: Math.max(0.1, Math.min(10, Number((wanted / duration).toFixed(2)))),
                  },
                  duration,
                })
              }}
            >
              {t('frames.add', { count: wanted })}
            </Button>
          </div>
        </>
      )}
    </>
  )
}

export function FramesDialog({ onClose, ...rest }: FramesDialogProps): ReactElement {
  const { t } = useTranslation()
  return (
    <Modal
      open={rest.video !== undefined}
      onOpenChange={onClose}
      title={t('frames.title')}
      description={t('frames.text')}
    >
      {rest.video === undefined ? null : <FramesView {...rest} />}
    </Modal>
  )
}
