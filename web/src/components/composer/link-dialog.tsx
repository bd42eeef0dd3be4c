/** Adds an image, audio or video by its address; the server fetches it. */
import { useState, type FormEvent, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { kindOf, mediaFromLink } from '../../media/probe.ts'
import type { Media } from '../../state/conversation.ts'
import { attachReasonNow, useStore } from '../../state/store.ts'
import { Button } from '../ui/button.tsx'
import { SelectField } from '../ui/field.tsx'
import { Modal } from '../ui/modal.tsx'
import { useReason } from '../use-reason.ts'

type LinkKind = 'image' | 'audio' | 'video'
const KINDS: readonly LinkKind[] = ['image', 'audio', 'video']

interface LinkDialogProps {
  open: boolean
  onClose: () => void
  onMedia: (media: Media) => void
}

function LinkForm({ onMedia }: Pick<LinkDialogProps, 'onMedia'>): ReactElement {
  const { t } = useTranslation()
  const say = useReason()
  const state = useStore()
  const [url, setUrl] = useState('')
  const [chosen, setChosen] = useState<LinkKind>()
  const [invalid, setInvalid] = useState(false)
  const reasons = Object.fromEntries(KINDS.map((kind) => [kind, say(attachReasonNow(state, kind))]))
  const free = KINDS.find((kind) => reasons[kind] === undefined) ?? 'image'
  const kind = chosen ?? kindOf(url) ?? free
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    const text = url.trim()
    if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return setInvalid(true)
    return onMedia(mediaFromLink(text, kind))
  }
  return (
    <form onSubmit={submit} className="form" noValidate>
      <label className="field">
        <span className="field-label">{t('link.url')}</span>
        <input
          className="input"
          type="url"
          value={url}
          placeholder="https://"
          aria-invalid={invalid}
          aria-describedby="link-problem"
          onChange={(event) => {
            setUrl(event.target.value)
            setInvalid(false)
          }}
        />
      </label>
      {invalid ? (
        <p id="link-problem" className="note" role="alert">
          {t('link.invalid')}
        </p>
      ) : null}
      <SelectField
        label={t('link.kind')}
        value={kind}
        choices={KINDS.map((value) => ({
          value,
          label: t(`composer.${value}`),
          note: reasons[value],
          disabled: reasons[value] !== undefined,
        }))}
        onChange={setChosen}
      />
      <div className="row row-end">
        <Button type="submit" variant="primary">
          {t('link.add')}
        </Button>
      </div>
    </form>
  )
}

export function LinkDialog({ open, onClose, onMedia }: LinkDialogProps): ReactElement {
  const { t } = useTranslation()
  return (
    <Modal open={open} onOpenChange={onClose} title={t('link.title')} description={t('link.text')}>
      {open ? <LinkForm onMedia={onMedia} /> : null}
    </Modal>
  )
}
