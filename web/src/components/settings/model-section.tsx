/** Which model answers, and its limits as the server lists them. */
import { Collapsible } from '@base-ui/react/collapsible'
import { ChevronRight } from 'lucide-react'
import type { ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { rawByteLimit, thinkingReason, thinks } from '../../api/rules.ts'
import type { ModelListing } from '../../api/types.ts'
import { formatBytes, formatLimit } from '../../i18n/format.ts'
import { useStore } from '../../state/store.ts'
import { SelectField } from '../ui/field.tsx'
import { useReason } from '../use-reason.ts'

export function ModelSection({ model }: { model: ModelListing }): ReactElement {
  const { t, i18n } = useTranslation()
  const say = useReason()
  const models = useStore((state) => state.models)
  const settings = useStore((state) => state.settings)
  const setSettings = useStore((state) => state.setSettings)
  const limits = thinks(model, settings) ? (model.limits.thinking ?? model.limits.normal) : model.limits.normal
  const number = new Intl.NumberFormat(i18n.language)
  const tokens = (count: number): string => t('settings.tokens', { amount: number.format(count) })
  // Models without a loaded checkpoint are left out, but for the chosen one.
  const offered = models.filter((item) => item.served_by !== null || item.id === model.id)
  const noThinking = say(thinkingReason(model))
  const bytes = (value: number): string => formatBytes(value, i18n.language)
  const { image, audio, video } = model.media
  const sent = bytes(rawByteLimit(model))
  const rows: [string, string][] = [
    [t('settings.context'), tokens(limits.context_length)],
    [t('settings.maxInput'), tokens(limits.max_input)],
    [t('settings.maxOutput'), tokens(limits.max_output)],
  ]
  if (limits.max_reasoning !== undefined) rows.push([t('settings.maxReasoning'), tokens(limits.max_reasoning)])
  if (noThinking !== undefined) rows.push([t('settings.thinking'), noThinking])
  rows.push(
    [t('composer.image'), t('composer.limits.image', { bytes: sent, side: image.min_side_over })],
    [
      t('composer.audio'),
      t('composer.limits.audio', { bytes: sent, duration: formatLimit(audio.max_seconds, i18n.language) }),
    ],
    [
      t('composer.video'),
      t('composer.limits.video', { bytes: sent, duration: formatLimit(video.max_seconds, i18n.language) }),
    ],
    [t('composer.frames'), t('composer.limits.frames', { min: video.min_frames, max: video.max_frames })],
    [t('composer.link'), t('composer.limits.link', { audio: bytes(audio.max_bytes), video: bytes(video.max_bytes) })],
  )
  if (model.served_by) {
    rows.push([t('settings.checkpoint'), `${model.served_by.checkpoint} (${model.served_by.weights})`])
    rows.push([t('settings.checkpointContext'), tokens(model.served_by.context_length)])
    rows.push([t('settings.device'), model.served_by.device])
  }
  return (
    <section className="section">
      <SelectField
        label={t('settings.model')}
        value={settings.model}
        choices={offered.map((item) => ({
          value: item.id,
          label: item.id,
          note: item.served_by
            ? t('settings.servedBy', { checkpoint: item.served_by.checkpoint })
            : t('settings.notServed'),
        }))}
        onChange={(value) => setSettings({ model: value })}
      />
      <Collapsible.Root>
        <Collapsible.Trigger className="fold">
          <ChevronRight size={15} className="chevron" aria-hidden="true" />
          {t('settings.limits')}
          <span className="fold-note">
            {model.served_by
              ? t('settings.servedBy', { checkpoint: model.served_by.checkpoint })
              : t('settings.notServed')}
          </span>
        </Collapsible.Trigger>
        <Collapsible.Panel>
          <dl className="facts">
            {rows.map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
        </Collapsible.Panel>
      </Collapsible.Root>
    </section>
  )
}
