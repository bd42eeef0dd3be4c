/** A file waiting in the message: preview, name, size, its problem and the fix, remove. */
import { AudioLines, Clapperboard, Link2, X } from 'lucide-react'
import { useState, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { mediaReason, rawByteLimit } from '../../api/rules.ts'
import type { ModelListing } from '../../api/types.ts'
import { formatBytes, formatClock } from '../../i18n/format.ts'
import { shrinkMedia } from '../../media/shrink.ts'
import type { Media } from '../../state/conversation.ts'
import { useStore } from '../../state/store.ts'
import { useBlobUrl } from '../turns/media-view.tsx'
import { Button, IconButton } from '../ui/button.tsx'
import { notify } from '../ui/toasts.tsx'
import { useReason } from '../use-reason.ts'

interface MediaChipProps {
  media: Media
  model: ModelListing
  onFrames: (media: Media) => void
}

export function MediaChip({ media, model, onFrames }: MediaChipProps): ReactElement {
  const { t, i18n } = useTranslation()
  const say = useReason()
  const detach = useStore((state) => state.detach)
  const replaceMedia = useStore((state) => state.replaceMedia)
  const [shrinking, setShrinking] = useState(false)
  const { source, kind } = media
  const blob = source.type === 'blob' ? source.blob : source.type === 'frames' ? source.frames[0] : undefined
  const url = useBlobUrl(blob)
  const reason = mediaReason(model, media)
  const facts: string[] = []
  if (source.type === 'frames') facts.push(t('composer.frameCount', { count: source.frames.length }))
  if (source.type === 'url') facts.push(t('composer.byLink'))
  if (media.width !== undefined && kind === 'image') facts.push(`${media.width}×${media.height}`)
  if (media.duration !== undefined) facts.push(formatClock(media.duration))
  if (source.type === 'blob') {
    const size = formatBytes(source.blob.size, i18n.language)
    const before = media.shrunkFrom
    facts.push(
      before === undefined || before <= source.blob.size
        ? size
        : t('composer.shrunk', { before: formatBytes(before, i18n.language), size }),
    )
  }
  const shrink = async (): Promise<void> => {
    setShrinking(true)
    try {
      replaceMedia(media.id, await shrinkMedia(media, rawByteLimit(model)))
    } catch (error) {
      setShrinking(false)
      notify(t('problem.shrink', { message: error instanceof Error ? error.message : String(error) }), 'problem')
    }
  }
  const preview =
    source.type === 'url' ? (
      <Link2 size={20} />
    ) : kind === 'image' || kind === 'frames' ? (
      <img src={url} alt="" />
    ) : kind === 'video' ? (
      <Clapperboard size={20} />
    ) : (
      <AudioLines size={20} />
    )
  return (
    <li className="chip" data-problem={reason !== undefined || undefined}>
      <span className="chip-preview" aria-hidden="true">
        {preview}
      </span>
      <span className="chip-text">
        <span className="chip-name">{media.name}</span>
        <span className="chip-facts">{facts.join(' · ')}</span>
      </span>
      <IconButton
        label={t('composer.remove', { name: media.name })}
        className="icon-small"
        onClick={() => detach(media.id)}
      >
        <X size={15} />
      </IconButton>
      {reason === undefined ? null : (
        <span className="chip-problem" role="alert">
          {say(reason)}
          {reason.key === 'tooManyBytes' && kind !== 'video' ? (
            <Button disabled={shrinking} onClick={() => void shrink()}>
              {shrinking ? t('composer.shrinking') : t('composer.shrink')}
            </Button>
          ) : null}
          {kind === 'video' && source.type === 'blob' ? (
            <Button onClick={() => onFrames(media)}>{t('composer.toFrames')}</Button>
          ) : null}
        </span>
      )}
    </li>
  )
}
