/**
 * Asks for the server's API key; Enter applies it. Shown where a request was refused for lack of one, and in the
 * settings.
 */
import { useEffect, useId, useRef, useState, type FormEvent, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { useStore } from '../state/store.ts'
import { Button } from './ui/button.tsx'

interface KeyFormProps {
  help?: string
  /** Focused when it appears. */
  focused?: boolean
  /** Called when the server has accepted the key. */
  onAccepted?: (() => void) | undefined
}

export function KeyForm({ help, focused = false, onAccepted }: KeyFormProps): ReactElement {
  const { t } = useTranslation()
  const id = useId()
  const current = useStore((state) => state.settings.apiKey)
  const apply = useStore((state) => state.useKey)
  const [key, setKey] = useState(current)
  const [busy, setBusy] = useState(false)
  const box = useRef<HTMLInputElement>(null)
  useEffect(() => {
    if (focused) box.current?.focus()
  }, [focused])
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault()
    setBusy(true)
    const accepted = await apply(key.trim())
    setBusy(false)
    if (accepted) onAccepted?.()
  }
  return (
    <form className="field" onSubmit={(event) => void submit(event)}>
      <label htmlFor={id} className="field-label">
        {t('settings.apiKey')}
      </label>
      <div className="key-row">
        <input
          ref={box}
          id={id}
          className="input"
          type="password"
          autoComplete="off"
          value={key}
          aria-describedby={help === undefined ? undefined : `${id}-note`}
          onChange={(event) => setKey(event.target.value)}
        />
        <Button type="submit" variant="primary" disabled={busy || key.trim() === current}>
          {t('settings.apiKeyApply')}
        </Button>
      </div>
      {help === undefined ? null : (
        <p id={`${id}-note`} className="help">
          {help}
        </p>
      )}
    </form>
  )
}
