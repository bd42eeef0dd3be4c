/** Labelled controls of the settings: switch, slider, number, select. */
import { NumberField } from '@base-ui/react/number-field'
import { Select } from '@base-ui/react/select'
import { Slider } from '@base-ui/react/slider'
import { Switch } from '@base-ui/react/switch'
import { Check, ChevronsUpDown, Minus, Plus, RotateCcw } from 'lucide-react'
import { useId, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { IconButton } from './button.tsx'

interface SwitchFieldProps {
  label: string
  help?: string | undefined
  checked: boolean
  onChange: (checked: boolean) => void
}

export function SwitchField({ label, help, checked, onChange }: SwitchFieldProps): ReactElement {
  const id = useId()
  return (
    <div className="field">
      <div className="field-row">
        <span id={`${id}-label`} className="field-label">
          {label}
        </span>
        <Switch.Root
          className="switch"
          checked={checked}
          onCheckedChange={(next) => onChange(next)}
          aria-labelledby={`${id}-label`}
          aria-describedby={help === undefined ? undefined : `${id}-note`}
        >
          <Switch.Thumb className="switch-thumb" />
        </Switch.Root>
      </div>
      {help === undefined ? null : (
        <p id={`${id}-note`} className="help">
          {help}
        </p>
      )}
    </div>
  )
}

interface NumericProps {
  label: string
  /** Null: the default, which is not sent. */
  value: number | null
  fallback: number | null
  min: number
  max: number
  step: number
  onChange: (value: number | null) => void
  help?: string | undefined
}

function ResetButton({ label, value, onChange }: Pick<NumericProps, 'label' | 'value' | 'onChange'>): ReactElement {
  const { t } = useTranslation()
  if (value === null) return <span className="badge">{t('settings.default')}</span>
  return (
    <IconButton label={t('settings.resetOne', { name: label })} className="icon-small" onClick={() => onChange(null)}>
      <RotateCcw size={13} />
    </IconButton>
  )
}

export function SliderField({ label, value, fallback, min, max, step, onChange }: NumericProps): ReactElement {
  const shown = value ?? fallback ?? min
  return (
    <Slider.Root
      className="field"
      value={shown}
      min={min}
      max={max}
      step={step}
      onValueChange={(next) => onChange(next)}
    >
      <div className="field-row">
        <Slider.Label className="field-label">{label}</Slider.Label>
        <span className="field-value">
          <Slider.Value className="number" />
          <ResetButton label={label} value={value} onChange={onChange} />
        </span>
      </div>
      <Slider.Control className="slider">
        <Slider.Track className="slider-track">
          <Slider.Indicator className="slider-indicator" />
          <Slider.Thumb className="slider-thumb" />
        </Slider.Track>
      </Slider.Control>
    </Slider.Root>
  )
}

export function NumberInput({ label, value, fallback, min, max, step, onChange, help }: NumericProps): ReactElement {
  const { t } = useTranslation()
  const id = useId()
  return (
    <NumberField.Root
      id={id}
      className="field"
      value={value}
      min={min}
      max={max}
      step={step}
      onValueChange={(next) => onChange(next)}
    >
      <div className="field-row">
        <label htmlFor={id} className="field-label">
          {label}
        </label>
        <ResetButton label={label} value={value} onChange={onChange} />
      </div>
      <NumberField.Group className="number-group">
        <NumberField.Decrement className="number-step" aria-label={`${t('settings.decrease')}: ${label}`}>
          <Minus size={14} />
        </NumberField.Decrement>
        <NumberField.Input
          className="input number-input"
          placeholder={fallback === null ? '' : String(fallback)}
          aria-describedby={help === undefined ? undefined : `${id}-note`}
        />
        <NumberField.Increment className="number-step" aria-label={`${t('settings.increase')}: ${label}`}>
          <Plus size={14} />
        </NumberField.Increment>
      </NumberField.Group>
      {help === undefined ? null : (
        <p id={`${id}-note`} className="help">
          {help}
        </p>
      )}
    </NumberField.Root>
  )
}

interface Choice<Value extends string> {
  value: Value
  label: string
  note?: string | undefined
  disabled?: boolean
}

interface SelectFieldProps<Value extends string> {
  label: string
  value: Value
  choices: readonly Choice<Value>[]
  onChange: (value: Value) => void
}

export function SelectField<Value extends string>({
  label,
  value,
  choices,
  onChange,
}: SelectFieldProps<Value>): ReactElement {
  return (
    <Select.Root
      items={choices.map((choice) => ({ value: choice.value, label: choice.label }))}
      value={value}
      onValueChange={(next) => {
        if (next !== null) onChange(next)
      }}
    >
      <div className="field">
        <Select.Label className="field-label">{label}</Select.Label>
        <Select.Trigger className="input select-trigger">
          <Select.Value className="select-value" />
          <Select.Icon className="select-icon">
            <ChevronsUpDown size={15} />
          </Select.Icon>
        </Select.Trigger>
      </div>
      <Select.Portal>
        <Select.Positioner className="layer" alignItemWithTrigger={false} sideOffset={4}>
          <Select.Popup className="popup">
            <Select.List className="popup-list">
              {choices.map((choice) => (
                <Select.Item
                  key={choice.value}
                  value={choice.value}
                  disabled={choice.disabled ?? false}
                  className="option"
                >
                  <Select.ItemIndicator className="option-check" keepMounted>
                    <Check size={15} />
                  </Select.ItemIndicator>
                  <span className="option-body">
                    <Select.ItemText className="option-title">{choice.label}</Select.ItemText>
                    {choice.note === undefined ? null : <span className="option-note">{choice.note}</span>}
                  </span>
                </Select.Item>
              ))}
            </Select.List>
          </Select.Popup>
        </Select.Positioner>
      </Select.Portal>
    </Select.Root>
  )
}
