/** Picks a voice: name, description, languages, and its speaker here. Searchable. */
import { Combobox } from '@base-ui/react/combobox'
import { Check, ChevronsUpDown } from 'lucide-react'
import { useId, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { spokenLanguages } from '../../api/spoken-languages.ts'
import type { ModelListing, VoiceListing } from '../../api/types.ts'

interface VoicePickerProps {
  voices: readonly VoiceListing[]
  checkpoint: ModelListing['served_by']
  value: string
  onChange: (name: string) => void
}

/** Names of the languages this checkpoint speaks, in the page's language: `Chinese (Cantonese), English`. */
function languagesOf(
  voice: VoiceListing,
  spoken: readonly string[],
  language: string,
  dialect: (name: string) => string,
): string {
  const names = new Intl.DisplayNames([language], { type: 'language' })
  return spoken
    .map((code) => (code === 'zh' && voice.dialect !== undefined ? dialect(voice.dialect) : (names.of(code) ?? code)))
    .join(language.startsWith('zh') ? '、' : ', ')
}

export function VoicePicker({ voices, checkpoint, value, onChange }: VoicePickerProps): ReactElement {
  const { t, i18n } = useTranslation()
  const id = useId()
  const selected = voices.find((voice) => voice.name === value) ?? null
  const languages = (voice: VoiceListing): string =>
    languagesOf(voice, spokenLanguages(voice, checkpoint), i18n.language, (name) =>
      t(`dialect.${name}`, { defaultValue: name }),
    )
  const about = (voice: VoiceListing): string => t(`voice.${voice.name}`, { defaultValue: voice.description })
  const localName = (voice: VoiceListing): string => t(`voiceName.${voice.name}`, { defaultValue: voice.display_name })
  const contains = (voice: VoiceListing, query: string): boolean =>
    [voice.name, localName(voice), about(voice), languages(voice)]
      .join(' ')
      .toLowerCase()
      .includes(query.trim().toLowerCase())
  return (
    <div className="field">
      <Combobox.Root
        items={voices}
        value={selected}
        onValueChange={(voice) => {
          if (voice !== null) onChange(voice.name)
        }}
        itemToStringLabel={(voice: VoiceListing) => voice.name}
        filter={contains}
        autoHighlight
      >
        <Combobox.Label className="field-label">{t('settings.voice')}</Combobox.Label>
        <Combobox.Trigger className="input select-trigger" aria-describedby={`${id}-note`}>
          <span className="select-value">
            {value} <span className="voice-local">{selected === null ? null : localName(selected)}</span>
          </span>
          <Combobox.Icon className="select-icon">
            <ChevronsUpDown size={15} />
          </Combobox.Icon>
        </Combobox.Trigger>
        <Combobox.Portal>
          <Combobox.Positioner className="layer" sideOffset={4} align="end">
            <Combobox.Popup className="popup voice-popup" aria-label={t('settings.voice')}>
              <div className="popup-search">
                <Combobox.Input
                  className="input"
                  aria-label={t('settings.searchVoice')}
                  placeholder={t('settings.searchVoice')}
                />
              </div>
              <Combobox.Empty className="popup-empty">{t('settings.noVoice')}</Combobox.Empty>
              <Combobox.List className="popup-list">
                {(voice: VoiceListing) => (
                  <Combobox.Item key={voice.name} value={voice} className="option">
                    <Combobox.ItemIndicator className="option-check" keepMounted>
                      <Check size={15} />
                    </Combobox.ItemIndicator>
                    <span className="option-body">
                      <span className="option-title">
                        {voice.name} <span className="voice-local">{localName(voice)}</span>
                        {voice.native === false ? (
                          <span className="badge">
                            {t('settings.standInBadge', { speaker: voice.spoken_by ?? '?' })}
                          </span>
                        ) : null}
                      </span>
                      <span className="option-note">{about(voice)}</span>
                      <span className="option-note option-faint">{languages(voice)}</span>
                    </span>
                  </Combobox.Item>
                )}
              </Combobox.List>
            </Combobox.Popup>
          </Combobox.Positioner>
        </Combobox.Portal>
      </Combobox.Root>
      {selected === null ? null : (
        <p id={`${id}-note`} className="help lines">
          <span>{about(selected)}</span>
          <span>{t('settings.speaks', { languages: languages(selected) })}</span>
          {selected.native === false ? (
            <span>
              {t('settings.standIn', { speaker: selected.spoken_by ?? '?', checkpoint: checkpoint?.checkpoint })}
            </span>
          ) : null}
        </p>
      )}
    </div>
  )
}
