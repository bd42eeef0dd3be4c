/** The menu of what can be added to a message. What must wait for the next message is disabled, with the reason. */
import { Menu } from '@base-ui/react/menu'
import { AudioLines, Camera, Clapperboard, Film, Image, Link2, Plus } from 'lucide-react'
import { useRef, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { rawByteLimit } from '../../api/rules.ts'
import type { ModelListing } from '../../api/types.ts'
import { formatBytes, formatLimit } from '../../i18n/format.ts'
import { ACCEPT } from '../../media/probe.ts'
import type { MediaKind } from '../../state/conversation.ts'
import { attachReasonNow, useStore } from '../../state/store.ts'
import { useReason } from '../use-reason.ts'

interface AttachMenuProps {
  model: ModelListing
  onFiles: (files: FileList) => void
  onCamera: () => void
  onFrames: () => void
  onLink: () => void
}

export function AttachMenu({ model, onFiles, onCamera, onFrames, onLink }: AttachMenuProps): ReactElement {
  const { t, i18n } = useTranslation()
  const say = useReason()
  const state = useStore()
  const picker = useRef<HTMLInputElement>(null)
  const bytes = (value: number): string => formatBytes(value, i18n.language)
  const sent = bytes(rawByteLimit(model))
  const { image, audio, video } = model.media
  const pick = (kind: 'image' | 'audio' | 'video'): void => {
    if (picker.current === null) return
    picker.current.accept = ACCEPT[kind]
    picker.current.multiple = kind === 'image'
    picker.current.click()
  }
  const item = (
    key: 'image' | 'audio' | 'video' | 'frames' | 'link' | 'camera',
    kind: MediaKind,
    icon: ReactElement,
    limit: string,
    action: () => void,
  ): ReactElement | null => {
    const why = key === 'link' ? undefined : attachReasonNow(state, kind)
    // Kinds that this model or checkpoint does not support are left out.
    if (why?.key === 'modelNoInput' || why?.key === 'checkpointNoInput') return null
    const reason = say(why)
    return (
      <Menu.Item className="option" disabled={reason !== undefined} onClick={action} key={key}>
        <span className="option-icon" aria-hidden="true">
          {icon}
        </span>
        <span className="option-body">
          <span className="option-title">{t(`composer.${key}`)}</span>
          <span className="option-note">{reason ?? limit}</span>
        </span>
      </Menu.Item>
    )
  }
  const limitOf = (kind: 'audio' | 'video'): string =>
    t(`composer.limits.${kind}`, { bytes: sent, duration: formatLimit(model.media[kind].max_seconds, i18n.language) })
  return (
    <>
      <input
        ref={picker}
        type="file"
        className="off-screen"
        tabIndex={-1}
        aria-hidden="true"
        onChange={(event) => {
          if (event.target.files?.length) onFiles(event.target.files)
          event.target.value = ''
        }}
      />
      <Menu.Root>
        <Menu.Trigger className="icon-button" aria-label={t('composer.attach')}>
          <Plus size={20} />
        </Menu.Trigger>
        <Menu.Portal>
          <Menu.Positioner className="layer" side="top" align="start" sideOffset={8}>
            <Menu.Popup className="popup popup-list menu">
              {item(
                'image',
                'image',
                <Image size={18} />,
                t('composer.limits.image', { bytes: sent, side: image.min_side_over }),
                () => pick('image'),
              )}
              {item('audio', 'audio', <AudioLines size={18} />, limitOf('audio'), () => pick('audio'))}
              {item('video', 'video', <Clapperboard size={18} />, limitOf('video'), () => pick('video'))}
              {item(
                'frames',
                'frames',
                <Film size={18} />,
                t('composer.limits.frames', { min: video.min_frames, max: video.max_frames }),
                onFrames,
              )}
              {item('camera', 'image', <Camera size={18} />, t('composer.limits.camera'), onCamera)}
              {item(
                'link',
                'image',
                <Link2 size={18} />,
                t('composer.limits.link', { audio: bytes(audio.max_bytes), video: bytes(video.max_bytes) }),
                onLink,
              )}
            </Menu.Popup>
          </Menu.Positioner>
        </Menu.Portal>
      </Menu.Root>
    </>
  )
}
