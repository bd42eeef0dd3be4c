/**
 * A player for either side's audio: play and pause, the waveform with the current position, download. Also while audio
 * is arriving.
 */
import { Download, Pause, Play } from 'lucide-react'
import { useCallback, useEffect, useRef, useState, useSyncExternalStore, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { fitPeaks } from '../../audio/peaks.ts'
import { player, SPEECH_RATE } from '../../audio/speech-player.ts'
import { joinPcm } from '../../../../src/arithmetic/pcm.ts'
import { formatLength } from '../../i18n/format.ts'
import { liveSpeech, outlineOf } from '../../state/live-speech.ts'
import { IconButton } from '../ui/button.tsx'

interface AudioBarProps {
  /** The reply's or the file's. */
  id: string
  /** A label for screen readers: the reply's speech, or the file's name. */
  label: string
  /** 24 kHz mono; undefined while it is arriving. */
  pcm: Int16Array | undefined
  save: (pcm: Int16Array) => void
}

/** Draws bars, those already played in the accent colour. */
function draw(canvas: HTMLCanvasElement, bins: readonly number[], share: number): void {
  const ratio = devicePixelRatio
  const width = Math.round(canvas.clientWidth * ratio)
  const height = Math.round(canvas.clientHeight * ratio)
  if (canvas.width !== width) canvas.width = width
  if (canvas.height !== height) canvas.height = height
  const context = canvas.getContext('2d')
  if (context === null || width === 0) return
  const style = getComputedStyle(canvas)
  const played = style.getPropertyValue('--wave-played')
  const rest = style.getPropertyValue('--wave-rest')
  const step = 3 * ratio
  const columns = Math.max(1, Math.floor(width / step))
  const bars = fitPeaks(bins, columns)
  const wide = bars.length === 0 ? step : Math.min(step * 4, width / bars.length)
  context.clearRect(0, 0, width, height)
  bars.forEach((peak, index) => {
    const tall = Math.max(2 * ratio, Math.sqrt(peak) * height * 0.95)
    context.fillStyle = (index + 0.5) / bars.length <= share ? played : rest
    context.beginPath()
    context.roundRect(index * wide, (height - tall) / 2, Math.max(1, wide - ratio), tall, ratio)
    context.fill()
  })
}

export function AudioBar({ id, label, pcm, save }: AudioBarProps): ReactElement {
  const { t, i18n } = useTranslation()
  const state = useSyncExternalStore(player.subscribe, player.getState)
  const canvas = useRef<HTMLCanvasElement>(null)
  const mine = state.id === id
  const playing = mine && state.status === 'playing'
  /** Seconds into the speech. */
  const [place, setPlace] = useState(0)
  const [total, setTotal] = useState(pcm === undefined ? 0 : pcm.length / SPEECH_RATE)
  const moving = playing || pcm === undefined
  const length = (seconds: number): string => formatLength(seconds, i18n.language, total)

  const paint = useCallback(
    (seconds: number): void => {
      const speech = pcm === undefined ? liveSpeech(id) : undefined
      const samples = pcm?.length ?? speech?.samples ?? 0
      const bins = (pcm === undefined ? speech?.peaks : outlineOf(pcm))?.bins ?? []
      setTotal(samples / SPEECH_RATE)
      if (canvas.current) draw(canvas.current, bins, samples === 0 ? 0 : (seconds * SPEECH_RATE) / samples)
    },
    [id, pcm],
  )

  useEffect(() => {
    if (!moving) return undefined
    let frame = 0
    const step = (): void => {
      const seconds = player.state.id === id ? player.position() : 0
      setPlace(seconds)
      paint(seconds)
      frame = requestAnimationFrame(step)
    }
    step()
    return () => cancelAnimationFrame(frame)
  }, [id, moving, paint])

  // Played to its end, or another speech took over: the next play starts over.
  useEffect(() => {
    if (!mine) setPlace(0)
  }, [mine])

  useEffect(() => {
    if (moving) return undefined
    paint(place)
    const again = (): void => paint(place)
    addEventListener('resize', again)
    const media = matchMedia('(prefers-color-scheme: dark)')
    media.addEventListener('change', again)
    return () => {
      removeEventListener('resize', again)
      media.removeEventListener('change', again)
    }
  }, [moving, place, paint])

  const samplesNow = (): Int16Array => pcm ?? joinPcm(liveSpeech(id)?.pieces ?? [])
  const toggle = (): void => {
    if (!mine) player.play(id, samplesNow(), place >= total - 0.05 ? 0 : place)
    else if (state.status === 'playing') player.pause()
    else player.resume()
  }
  return (
    <div className="speech" role="group" aria-label={label} data-playing={playing || undefined}>
      <IconButton
        label={playing ? t('speech.pause') : t('speech.play')}
        className="speech-play"
        disabled={pcm === undefined && !mine}
        onClick={toggle}
      >
        {playing ? <Pause size={16} fill="currentColor" /> : <Play size={16} fill="currentColor" />}
      </IconButton>
      <div className="wave">
        <canvas ref={canvas} className="wave-canvas" aria-hidden="true" />
        <input
          type="range"
          className="wave-seek"
          aria-label={t('speech.position')}
          aria-valuetext={t('speech.positionText', { now: length(place), total: length(total) })}
          min={0}
          max={Math.max(total, 0.01)}
          step={0.1}
          value={Math.min(place, total)}
          disabled={pcm === undefined}
          onChange={(event) => {
            const seconds = Number(event.target.value)
            setPlace(seconds)
            if (pcm !== undefined && mine) player.play(id, pcm, seconds)
          }}
        />
      </div>
      <span className="number speech-time" aria-hidden="true">
        {mine || place > 0 ? `${length(place)} / ` : ''}
        {length(total)}
      </span>
      {pcm === undefined ? null : (
        <IconButton label={t('speech.download')} onClick={() => save(pcm)}>
          <Download size={16} />
        </IconButton>
      )}
    </div>
  )
}
