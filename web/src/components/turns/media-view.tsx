/** An image, audio, video or list of frames, as it was sent. Linked media are not loaded here, only named. */
import { Link2 } from 'lucide-react'
import { useEffect, useState, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import type { Media } from '../../state/conversation.ts'
import { FileAudio } from './file-audio.tsx'

/** An address for a blob that lasts as long as the component. */
export function useBlobUrl(blob: Blob | undefined): string | undefined {
  const [url, setUrl] = useState<string>()
  useEffect(() => {
    if (blob === undefined) {
      setUrl(undefined)
      return undefined
    }
    const made = URL.createObjectURL(blob)
    setUrl(made)
    return () => URL.revokeObjectURL(made)
  }, [blob])
  return url
}

function Frame({ blob, label }: { blob: Blob; label: string }): ReactElement {
  return <img src={useBlobUrl(blob)} alt={label} className="frame" />
}

export function FrameStrip({ frames, name }: { frames: readonly Blob[]; name: string }): ReactElement {
  return (
    <div className="frame-strip" tabIndex={0} role="group" aria-label={name}>
      {frames.map((frame, index) => (
        // Frames have no identity but their position.
        // oxlint-disable-next-line react/no-array-index-key
        <Frame key={index} blob={frame} label={`${name} ${index + 1}`} />
      ))}
    </div>
  )
}

export function MediaView({ media }: { media: Media }): ReactElement {
  const { t } = useTranslation()
  const { source } = media
  const url = useBlobUrl(source.type === 'blob' ? source.blob : undefined)
  if (source.type === 'url') {
    return (
      <a className="media-link" href={source.url} target="_blank" rel="noopener noreferrer">
        <Link2 size={15} aria-hidden="true" />
        {media.name}
        <span className="help">{t(`composer.${media.kind}`)}</span>
      </a>
    )
  }
  if (source.type === 'frames') return <FrameStrip frames={source.frames} name={media.name} />
  switch (media.kind) {
    case 'image':
      return <img src={url} alt={media.name} className="media-image" width={media.width} height={media.height} />
    case 'audio':
      return <FileAudio id={media.id} name={media.name} blob={source.blob} />
    case 'video':
    case 'frames':
      return <video src={url} controls preload="metadata" className="media-video" aria-label={media.name} />
    default:
      return media.kind satisfies never
  }
}
