/** All request settings, without those that this model and checkpoint do not support; and the page's own choices. */
import { Collapsible } from '@base-ui/react/collapsible'
import { Radio } from '@base-ui/react/radio'
import { RadioGroup } from '@base-ui/react/radio-group'
import { ChevronRight, RotateCcw } from 'lucide-react'
import { useId, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { speaks, speechReason, systemReason, thinkingReason, thinks } from '../../api/rules.ts'
import type { ModelListing } from '../../api/types.ts'
import { LANGUAGES, setLanguage, type LanguageCode } from '../../i18n/index.ts'
import { currentModel, useStore } from '../../state/store.ts'
import { KeyForm } from '../key-form.tsx'
import { THEMES, useTheme } from '../use-theme.ts'
import { Button } from '../ui/button.tsx'
import { NumberInput, SelectField, SliderField, SwitchField } from '../ui/field.tsx'
import { useReason } from '../use-reason.ts'
import { ModelSection } from './model-section.tsx'
import { VoicePicker } from './voice-picker.tsx'

function OutputSection({ model }: { model: ModelListing }): ReactElement {
  const { t } = useTranslation()
  const say = useReason()
  const id = useId()
  const settings = useStore((state) => state.settings)
  const set = useStore((state) => state.setSettings)
  const voices = useStore((state) => state.voices.find((entry) => entry.model === model.id)?.voices)
  const noSpeech = say(speechReason(model, settings))
  const spoken = speaks(model, settings)
  return (
    <section className="section">
      <div className="field">
        <span id={`${id}-label`} className="field-label">
          {t('settings.output')}
        </span>
        {noSpeech === undefined ? (
          <RadioGroup
            className="segments"
            aria-labelledby={`${id}-label`}
            value={spoken ? 'speech' : 'text'}
            onValueChange={(value) => set({ speech: value === 'speech' })}
          >
            <Radio.Root value="text" className="segment">
              {t('settings.textOnly')}
            </Radio.Root>
            <Radio.Root value="speech" className="segment">
              {t('settings.speech')}
            </Radio.Root>
          </RadioGroup>
        ) : (
          <p className="help">{noSpeech}</p>
        )}
      </div>
      {spoken ? (
        <>
          <VoicePicker
            voices={voices ?? []}
            checkpoint={model.served_by}
            value={settings.voice}
            onChange={(voice) => set({ voice })}
          />
          <SwitchField
            label={t('settings.autoplay')}
            checked={settings.autoplay}
            onChange={(autoplay) => set({ autoplay })}
          />
        </>
      ) : null}
    </section>
  )
}

function ThinkingSection({ model }: { model: ModelListing }): ReactElement | null {
  const { t } = useTranslation()
  const settings = useStore((state) => state.settings)
  const set = useStore((state) => state.setSettings)
  if (thinkingReason(model) !== undefined) return null
  const max = model.limits.thinking?.max_reasoning ?? 1
  const active = thinks(model, settings)
  return (
    <section className="section">
      <SwitchField
        label={t('settings.thinking')}
        help={t('settings.thinkingHelp')}
        checked={active}
        onChange={(thinking) => set({ thinking })}
      />
      {active ? (
        <NumberInput
          label={t('settings.budget')}
          value={settings.thinkingBudget}
          fallback={max}
          min={1}
          max={max}
          step={256}
          help={t('settings.budgetHelp', { max })}
          onChange={(thinkingBudget) => set({ thinkingBudget })}
        />
      ) : null}
    </section>
  )
}

function SystemSection({ model }: { model: ModelListing }): ReactElement {
  const { t } = useTranslation()
  const say = useReason()
  const id = useId()
  const settings = useStore((state) => state.settings)
  const set = useStore((state) => state.setSettings)
  const reason = say(systemReason(model, settings))
  return (
    <section className="section">
      <div className="field">
        {reason === undefined ? (
          <label htmlFor={id} className="field-label">
            {t('settings.system')}
          </label>
        ) : (
          <span className="field-label">{t('settings.system')}</span>
        )}
        {reason === undefined ? (
          <textarea
            id={id}
            className="input"
            rows={3}
            placeholder={t('settings.systemPlaceholder')}
            value={settings.system}
            onChange={(event) => set({ system: event.target.value })}
          />
        ) : (
          <p className="help">{reason}</p>
        )}
      </div>
    </section>
  )
}

function SamplingSection({ model }: { model: ModelListing }): ReactElement {
  const { t } = useTranslation()
  const id = useId()
  const settings = useStore((state) => state.settings)
  const set = useStore((state) => state.setSettings)
  const { defaults } = model
  const limit = thinks(model, settings) ? (model.limits.thinking?.max_output ?? 1) : model.limits.normal.max_output
  const maxOutput = Math.min(limit, model.served_by?.max_output ?? limit)
  return (
    <section className="section">
      <Collapsible.Root>
        <Collapsible.Trigger className="fold">
          <ChevronRight size={15} className="chevron" aria-hidden="true" />
          {t('settings.sampling')}
        </Collapsible.Trigger>
        <Collapsible.Panel className="fold-panel">
          <SliderField
            label={t('settings.temperature')}
            value={settings.temperature}
            fallback={defaults.temperature}
            min={0}
            max={1.99}
            step={0.01}
            onChange={(temperature) => set({ temperature })}
          />
          <SliderField
            label={t('settings.topP')}
            value={settings.topP}
            fallback={defaults.top_p}
            min={0.01}
            max={1}
            step={0.01}
            onChange={(topP) => set({ topP })}
          />
          <SliderField
            label={t('settings.topK')}
            value={settings.topK}
            fallback={defaults.top_k}
            min={1}
            max={100}
            step={1}
            onChange={(topK) => set({ topK })}
          />
          <SliderField
            label={t('settings.presencePenalty')}
            value={settings.presencePenalty}
            fallback={defaults.presence_penalty}
            min={-2}
            max={2}
            step={0.1}
            onChange={(presencePenalty) => set({ presencePenalty })}
          />
          <SliderField
            label={t('settings.repetitionPenalty')}
            value={settings.repetitionPenalty}
            fallback={defaults.repetition_penalty}
            min={0.5}
            max={2}
            step={0.01}
            onChange={(repetitionPenalty) => set({ repetitionPenalty })}
          />
          <NumberInput
            label={t('settings.seed')}
            value={settings.seed}
            fallback={defaults.seed}
            min={0}
            max={2 ** 31 - 1}
            step={1}
            onChange={(seed) => set({ seed })}
          />
          <NumberInput
            label={t('settings.maxTokens')}
            value={settings.maxTokens}
            fallback={maxOutput}
            min={1}
            max={maxOutput}
            step={64}
            onChange={(maxTokens) => set({ maxTokens })}
          />
          <div className="field">
            <label htmlFor={id} className="field-label">
              {t('settings.stop')}
            </label>
            <textarea
              id={id}
              className="input"
              rows={2}
              aria-describedby={`${id}-note`}
              value={settings.stop.join('\n')}
              onChange={(event) => set({ stop: event.target.value.split('\n') })}
              onBlur={() => set({ stop: settings.stop.filter((text) => text !== '') })}
            />
            <p id={`${id}-note`} className="help">
              {t('settings.stopHelp')}
            </p>
          </div>
          <Button
            onClick={() =>
              set({
                temperature: null,
                topP: null,
                topK: null,
                presencePenalty: null,
                repetitionPenalty: null,
                seed: null,
                maxTokens: null,
                stop: [],
              })
            }
          >
            <RotateCcw size={15} />
            {t('settings.reset')}
          </Button>
        </Collapsible.Panel>
      </Collapsible.Root>
    </section>
  )
}

function PageSection(): ReactElement {
  const { t, i18n } = useTranslation()
  const [theme, setTheme] = useTheme()
  return (
    <section className="section">
      <h2 className="section-title">{t('settings.page')}</h2>
      <SelectField
        label={t('settings.language')}
        value={i18n.language as LanguageCode}
        choices={LANGUAGES.map(({ code, name }) => ({ value: code, label: name }))}
        onChange={(code) => void setLanguage(code)}
      />
      <SelectField
        label={t('settings.theme')}
        value={theme}
        choices={THEMES.map((value) => ({
          value,
          label: t(`settings.theme${value[0]!.toUpperCase()}${value.slice(1)}`),
        }))}
        onChange={setTheme}
      />
      <KeyForm help={t('settings.apiKeyHelp')} />
      <a className="text-link" href="/reference" target="_blank" rel="noopener">
        {t('settings.reference')}
      </a>
    </section>
  )
}

export function SettingsPanel(): ReactElement {
  const model = useStore(currentModel)
  return (
    <div className="settings">
      {model === undefined ? null : (
        <>
          <ModelSection model={model} />
          <OutputSection model={model} />
          <ThinkingSection model={model} />
          <SystemSection model={model} />
          <SamplingSection model={model} />
        </>
      )}
      <PageSection />
    </div>
  )
}
