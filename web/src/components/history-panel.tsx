/** Conversations kept in this browser: open, search, rename, delete, begin a new one. */
import { AlertDialog } from '@base-ui/react/alert-dialog'
import { MessageSquarePlus, Pencil, Search, Trash2 } from 'lucide-react'
import { useState, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import type { ConversationSummary } from '../state/history.ts'
import { useStore } from '../state/store.ts'
import { Button, IconButton } from './ui/button.tsx'

interface RowProps {
  summary: ConversationSummary
  current: boolean
  onOpen: () => void
  onDelete: () => void
}

function Row({ summary, current, onOpen, onDelete }: RowProps): ReactElement {
  const { t, i18n } = useTranslation()
  const rename = useStore((state) => state.renameChat)
  const [name, setName] = useState<string>()
  const title = summary.title || t('history.untitled')
  const day = new Intl.DateTimeFormat(i18n.language, { dateStyle: 'medium', timeStyle: 'short' })
  const apply = (): void => {
    if (name !== undefined && name.trim() !== summary.title) void rename(summary.id, name.trim())
    setName(undefined)
  }
  if (name !== undefined) {
    return (
      <li className="history-item">
        <input
          className="input history-rename"
          aria-label={t('history.name')}
          value={name}
          maxLength={200}
          // The user asked to rename just now.
          // oxlint-disable-next-line jsx-a11y/no-autofocus
          autoFocus
          onFocus={(event) => event.target.select()}
          onChange={(event) => setName(event.target.value)}
          onBlur={apply}
          onKeyDown={(event) => {
            if (event.nativeEvent.isComposing) return
            if (event.key === 'Enter') apply()
            if (event.key !== 'Escape') return
            // Escape restores the name, and closes nothing else on the page.
            event.preventDefault()
            event.stopPropagation()
            setName(undefined)
          }}
        />
      </li>
    )
  }
  return (
    <li className="history-item" data-current={current || undefined}>
      <button type="button" className="history-open" aria-current={current ? 'page' : undefined} onClick={onOpen}>
        <span className="history-title">{title}</span>
        <span className="history-time">{day.format(summary.updatedAt)}</span>
      </button>
      <span className="history-actions">
        <IconButton
          label={t('history.rename', { title })}
          className="icon-small"
          onClick={() => setName(summary.title)}
        >
          <Pencil size={14} />
        </IconButton>
        <IconButton label={t('history.delete', { title })} className="icon-small" onClick={onDelete}>
          <Trash2 size={14} />
        </IconButton>
      </span>
    </li>
  )
}

/** A short list needs no search. */
const SEARCHABLE = 4

export function HistoryPanel({ onDone }: { onDone: () => void }): ReactElement {
  const { t } = useTranslation()
  const summaries = useStore((state) => state.summaries)
  const current = useStore((state) => state.conversation.id)
  const works = useStore((state) => state.historyWorks)
  const { newChat, openChat, deleteChat } = useStore.getState()
  const [deleting, setDeleting] = useState<ConversationSummary>()
  const [query, setQuery] = useState('')
  const wanted = query.trim().toLowerCase()
  const shown = summaries.filter(({ title, text }) => `${title.toLowerCase()}\n${text ?? ''}`.includes(wanted))
  return (
    <div className="history">
      <Button
        className="new-chat"
        onClick={() => {
          newChat()
          onDone()
        }}
      >
        <MessageSquarePlus size={17} />
        {t('history.new')}
      </Button>
      {works ? null : <p className="note">{t('history.off')}</p>}
      {summaries.length === 0 && works ? <p className="help history-empty">{t('history.empty')}</p> : null}
      {summaries.length >= SEARCHABLE ? (
        <div className="history-search">
          <Search size={15} aria-hidden="true" />
          <input
            type="search"
            className="input"
            aria-label={t('history.search')}
            placeholder={t('history.search')}
            value={query}
            onChange={(event) => setQuery(event.target.value)}
          />
        </div>
      ) : null}
      {shown.length === 0 && summaries.length > 0 ? (
        <p className="help history-empty" role="status">
          {t('history.none')}
        </p>
      ) : null}
      <ul className="history-list">
        {shown.map((summary) => (
          <Row
            key={summary.id}
            summary={summary}
            current={summary.id === current}
            onOpen={() => {
              void openChat(summary.id)
              onDone()
            }}
            onDelete={() => setDeleting(summary)}
          />
        ))}
      </ul>
      <AlertDialog.Root open={deleting !== undefined} onOpenChange={(open) => open || setDeleting(undefined)}>
        <AlertDialog.Portal>
          <AlertDialog.Backdrop className="backdrop" />
          <AlertDialog.Popup className="dialog">
            <AlertDialog.Title className="dialog-title">{t('history.confirmTitle')}</AlertDialog.Title>
            <AlertDialog.Description className="dialog-description">
              {t('history.confirmText', { title: deleting?.title || t('history.untitled') })}
            </AlertDialog.Description>
            <div className="row row-end">
              <AlertDialog.Close className="button button-plain">{t('app.cancel')}</AlertDialog.Close>
              <AlertDialog.Close
                className="button button-danger"
                onClick={() => {
                  if (deleting) void deleteChat(deleting.id)
                }}
              >
                {t('app.delete')}
              </AlertDialog.Close>
            </div>
          </AlertDialog.Popup>
        </AlertDialog.Portal>
      </AlertDialog.Root>
    </div>
  )
}
