/** A user's message: files and text, with edit, copy and delete. */
import { Copy, Pencil, Trash2 } from 'lucide-react'
import { useState, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import type { Media, UserTurn } from '../../state/conversation.ts'
import { useStore } from '../../state/store.ts'
import { Button, IconButton } from '../ui/button.tsx'
import { useCopy } from '../use-copy.ts'
import { MediaView } from './media-view.tsx'

/** Longer texts are folded. Characters, and lines. */
const LONG = { characters: 1200, lines: 16 }

function Bubble({ text }: { text: string }): ReactElement {
  const { t } = useTranslation()
  const [open, setOpen] = useState(false)
  const long = text.length > LONG.characters || text.split('\n').length > LONG.lines
  return (
    <div className="bubble">
      <p className={long && !open ? 'bubble-folded' : undefined}>{text}</p>
      {long ? (
        <button type="button" className="bubble-more" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? t('turn.showLess') : t('turn.showAll')}
        </button>
      ) : null}
    </div>
  )
}

export function UserTurnView({ turn, media }: { turn: UserTurn; media: Record<string, Media> }): ReactElement {
  const { t } = useTranslation()
  const copy = useCopy()
  const busy = useStore((state) => state.running !== undefined)
  const edit = useStore((state) => state.edit)
  const deleteTurn = useStore((state) => state.deleteTurn)
  const [draft, setDraft] = useState<string>()
  const files = turn.mediaIds.map((id) => media[id]).filter((item) => item !== undefined)
  const reason = busy ? t('reason.busy') : undefined
  const submit = (): void => {
    if (draft === undefined || (draft.trim() === '' && files.length === 0)) return
    setDraft(undefined)
    void edit(turn.id, draft.trim())
  }
  return (
    <article className="turn turn-user" aria-label={t('turn.you')}>
      {files.length > 0 ? (
        <div className="turn-media">
          {files.map((item) => (
            <MediaView key={item.id} media={item} />
          ))}
        </div>
      ) : null}
      {draft === undefined ? (
        <div className="bubble-row">
          {turn.text === '' && turn.transcript === undefined ? null : (
            <Bubble text={turn.text || (turn.transcript ?? '')} />
          )}
          <div className="actions">
            <IconButton label={t('turn.edit')} reason={reason} onClick={() => setDraft(turn.text)}>
              <Pencil size={15} />
            </IconButton>
            <IconButton label={t('turn.copy')} onClick={() => copy(turn.text || (turn.transcript ?? ''))}>
              <Copy size={15} />
            </IconButton>
            <IconButton label={t('turn.delete')} reason={reason} onClick={() => deleteTurn(turn.id)}>
              <Trash2 size={15} />
            </IconButton>
          </div>
        </div>
      ) : (
        <div className="editor">
          <textarea
            className="input"
            aria-label={t('turn.edit')}
            value={draft}
            rows={Math.min(12, Math.max(3, draft.split('\n').length))}
            // The user asked to edit just now.
            // oxlint-disable-next-line jsx-a11y/no-autofocus
            autoFocus
            onFocus={(event) => {
              const end = event.target.value.length
              event.target.setSelectionRange(end, end)
            }}
            onChange={(event) => setDraft(event.target.value)}
            onKeyDown={(event) => {
              if (event.key === 'Escape') setDraft(undefined)
              if (event.key === 'Enter' && !event.shiftKey && !event.nativeEvent.isComposing) {
                event.preventDefault()
                submit()
              }
            }}
          />
          <div className="row row-end">
            <Button onClick={() => setDraft(undefined)}>{t('app.cancel')}</Button>
            <Button variant="primary" onClick={submit}>
              {t('turn.save')}
            </Button>
          </div>
        </div>
      )}
    </article>
  )
}
