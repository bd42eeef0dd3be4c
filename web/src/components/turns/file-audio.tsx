/**
 * An audio file of a message, in the same player as the replies' speech. What the browser cannot decode is only named.
 */
import { useEffect, useState, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { decodeSpeech } from '../../audio/decode.ts'
import { downloadBlob } from '../copy-text.ts'
import { AudioBar } from './audio-bar.tsx'

interface FileAudioProps {
  id: string
  /** Empty for speech of a spoken conversation. */
  name: string
  blob: Blob
}

export function FileAudio({ id, name, blob }: FileAudioProps): ReactElement {
  const { t } = useTranslation()
  const [pcm, setPcm] = useState<Int16Array>()
  const [failed, setFailed] = useState(false)
  useEffect(() => {
    let left = false
    decodeSpeech(blob).then(
      (decoded) => left || setPcm(decoded),
      () => left || setFailed(true),
    )
    return () => {
      left = true
    }
  }, [blob])
  return (
    <figure className="media-audio">
      {failed ? (
        <p className="note">{t('speech.cannotPlay')}</p>
      ) : (
        // The waveform is known at once or never, so the player is recreated with it.
        <AudioBar
          key={pcm === undefined ? 'waiting' : 'ready'}
          id={id}
          label={name || t('speech.yours')}
          pcm={pcm}
          save={() => downloadBlob(blob, name || 'speech.wav')}
        />
      )}
      {name === '' ? null : <figcaption>{name}</figcaption>}
    </figure>
  )
}
