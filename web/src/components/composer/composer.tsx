/** The message box: text, files (picked, pasted, dropped), microphone, camera, send and stop. */
import { ArrowUp, AudioLines, Coins, Mic, Square } from 'lucide-react'
import { useEffect, useRef, useState, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { mediaReason, modelReason, rawByteLimit } from '../../api/rules.ts'
import { RECORDING_RATE, type Recording } from '../../audio/recorder.ts'
import type { Media } from '../../state/conversation.ts'
import { attachReasonNow, currentModel, useStore } from '../../state/store.ts'
import { toFailure } from '../../api/errors.ts'
import { formatMoney } from '../../i18n/format.ts'
import { Button, IconButton } from '../ui/button.tsx'
import { notify } from '../ui/toasts.tsx'
import { useMediaQuery } from '../use-media-query.ts'
import { useReason } from '../use-reason.ts'
import { AttachMenu } from './attach-menu.tsx'
import { CameraDialog } from './camera-dialog.tsx'
import { FramesDialog } from './frames-dialog.tsx'
import { LinkDialog } from './link-dialog.tsx'
import { MediaChip } from './media-chip.tsx'
import { RecorderBar } from './recorder-bar.tsx'
import { useAddMedia } from './use-add-media.ts'
import { useDropZone } from './use-drop-zone.ts'
import { newId } from '../../state/new-id.ts'

type Overlay = 'camera' | 'link' | { video: { blob: Blob; name: string } | 'pick'; replaces?: string }

export function Composer(): ReactElement {
  const { t, i18n } = useTranslation()
  const say = useReason()
  const state = useStore()
  const model = currentModel(state)
  const { draftText, draftMedia, running } = state
  const { addFiles, addMedia } = useAddMedia()
  const dropping = useDropZone((files) => void addFiles(files))
  const box = useRef<HTMLTextAreaElement>(null)
  const [overlay, setOverlay] = useState<Overlay>()
  const [recording, setRecording] = useState(false)
  const narrow = useMediaQuery('(max-width: 600px)')

  // The box grows with its text.
  useEffect(() => {
    const element = box.current
    if (element === null) return
    element.style.height = 'auto'
    element.style.height = `${Math.min(element.scrollHeight, 220)}px`
  }, [draftText, recording, narrow])

  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.key !== 'Escape' || event.defaultPrevented || useStore.getState().running === undefined) return
      // Escape closes an open menu before it stops the reply.
      if (document.querySelector('[role="dialog"], [role="alertdialog"], [role="menu"], [role="listbox"]') === null)
        useStore.getState().stop()
    }
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  }, [])

  const unfit = model !== undefined && draftMedia.some((media) => mediaReason(model, media) !== undefined)
  const noModel = model === undefined ? t('composer.noModel') : say(modelReason(model))
  const hears = model?.served_by?.input_modalities.includes('audio') ?? false
  const empty = draftText.trim() === '' && draftMedia.length === 0
  const audioReason = say(attachReasonNow(state, 'audio'))
  const submit = (): void => {
    if (!running && !empty && !unfit && noModel === undefined) void state.send()
  }
  const onRecording = (result: Recording | undefined): void => {
    setRecording(false)
    if (result === undefined || result.duration < 0.1) return
    if (result.peak < 0.002) notify(t('recorder.silent'), 'problem')
    addMedia({
      id: newId(),
      kind: 'audio',
      name: `${t('recorder.name', { time: new Date().toLocaleTimeString(i18n.language) })}.wav`,
      source: { type: 'blob', blob: result.blob },
      duration: result.duration,
    })
    box.current?.focus()
  }
  const onMedia = (media: Media): void => {
    const replaces = typeof overlay === 'object' ? overlay.replaces : undefined
    if (replaces !== undefined) state.replaceMedia(replaces, media)
    else addMedia(media)
    setOverlay(undefined)
  }
  const count = async (): Promise<void> => {
    try {
      const { usage, cost, limits } = await state.countDraft()
      const counted = t('composer.counted', { tokens: usage.prompt_tokens, limit: limits.max_input })
      notify(cost ? `${counted} · ${formatMoney(cost.total, cost.currency, i18n.language)}` : counted)
    } catch (error) {
      notify(t('problem.count', { message: toFailure(error).message || t('failure.network') }), 'problem')
    }
  }
  // A recording must fit the API as a WAV file.
  const longest = model
    ? Math.floor(Math.min(model.media.audio.max_seconds, rawByteLimit(model) / (RECORDING_RATE * 2)))
    : 60

  return (
    <div className="composer-area">
      {dropping ? (
        <div className="drop" aria-hidden="true">
          {t('composer.drop')}
        </div>
      ) : null}
      <form
        id="composer"
        tabIndex={-1}
        className="composer"
        onSubmit={(event) => {
          event.preventDefault()
          submit()
        }}
      >
        {draftMedia.length > 0 && model ? (
          <ul className="chips" aria-label={t('composer.attached')}>
            {draftMedia.map((media) => (
              <MediaChip
                key={media.id}
                media={media}
                model={model}
                onFrames={(item) => {
                  if (item.source.type === 'blob')
                    setOverlay({ video: { blob: item.source.blob, name: item.name }, replaces: item.id })
                }}
              />
            ))}
          </ul>
        ) : null}
        {recording ? (
          <RecorderBar longest={longest} onDone={onRecording} />
        ) : (
          <>
            <textarea
              ref={box}
              id="message"
              className="composer-text"
              rows={1}
              aria-label={t('composer.label')}
              aria-describedby="composer-hint"
              placeholder={narrow ? t('composer.placeholderShort') : t('composer.placeholder')}
              value={draftText}
              onChange={(event) => state.setDraftText(event.target.value)}
              onKeyDown={(event) => {
                if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return
                event.preventDefault()
                submit()
              }}
              onPaste={(event) => {
                const files = [...event.clipboardData.files]
                if (files.length === 0) return
                event.preventDefault()
                void addFiles(files)
              }}
            />
            <div className="composer-bar">
              {model ? (
                <AttachMenu
                  model={model}
                  onFiles={(files) => void addFiles([...files])}
                  onCamera={() => setOverlay('camera')}
                  onFrames={() => setOverlay({ video: 'pick' })}
                  onLink={() => setOverlay('link')}
                />
              ) : null}
              {hears ? (
                <IconButton label={t('composer.record')} reason={audioReason} onClick={() => setRecording(true)}>
                  <Mic size={19} />
                </IconButton>
              ) : null}
              {empty || model === undefined || unfit ? null : (
                <IconButton label={t('composer.count')} onClick={() => void count()}>
                  <Coins size={18} />
                </IconButton>
              )}
              {empty && !running && hears ? (
                <Button className="talk-open" onClick={() => state.startTalk()}>
                  <AudioLines size={17} />
                  {t('talk.open')}
                </Button>
              ) : null}
              <span id="composer-hint" className="hint">
                {noModel ?? t('composer.hint')}
              </span>
              {running ? (
                <IconButton label={t('composer.stop')} className="send send-stop" onClick={() => state.stop()}>
                  <Square size={15} fill="currentColor" />
                </IconButton>
              ) : (
                <IconButton
                  label={t('composer.send')}
                  type="submit"
                  className="send"
                  disabled={empty || unfit}
                  reason={noModel}
                  onClick={(event) => {
                    event.preventDefault()
                    submit()
                  }}
                >
                  <ArrowUp size={19} />
                </IconButton>
              )}
            </div>
          </>
        )}
      </form>
      {model ? (
        <>
          <CameraDialog
            open={overlay === 'camera'}
            minFrames={model.media.video.min_frames}
            maxFrames={model.media.video.max_frames}
            onClose={() => setOverlay(undefined)}
            onMedia={onMedia}
          />
          <FramesDialog
            video={typeof overlay === 'object' ? overlay.video : undefined}
            model={model}
            onClose={() => setOverlay(undefined)}
            onMedia={onMedia}
          />
          <LinkDialog open={overlay === 'link'} onClose={() => setOverlay(undefined)} onMedia={onMedia} />
        </>
      ) : null}
    </div>
  )
}
