/** Conversations kept in this browser: open, delete, begin a new one. */
import { AlertDialog } from '@base-ui/react/alert-dialog'
import { MessageSquarePlus, Trash2 } from 'lucide-react'
import { useState, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import type { ConversationSummary } from '../state/history.ts'
import { useStore } from '../state/store.ts'
import { Button, IconButton } from './ui/button.tsx'

export function HistoryPanel({ onDone }: { onDone: () => void }): ReactElement {
  const { t, i18n } = useTranslation()
  const summaries = useStore((state) => state.summaries)
  const current = useStore((state) => state.conversation.id)
  const works = useStore((state) => state.historyWorks)
  const { newChat, openChat, deleteChat } = useStore.getState()
  const [doomed, setDoomed] = useState<ConversationSummary>()
  const title = (summary: ConversationSummary): string => summary.title || t('history.untitled')
  const day = new Intl.DateTimeFormat(i18n.language, { dateStyle: 'medium', timeStyle: 'short' })
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
      <ul className="history-list">
        {summaries.map((summary) => (
          <li key={summary.id} className="history-item" data-current={summary.id === current || undefined}>
            <button
              type="button"
              className="history-open"
              aria-current={summary.id === current ? 'page' : undefined}
              onClick={() => {
                void openChat(summary.id)
                onDone()
              }}
            >
              <span className="history-title">{title(summary)}</span>
              <span className="history-time">{day.format(summary.updatedAt)}</span>
            </button>
            <IconButton
              label={t('history.delete', { title: title(summary) })}
              className="icon-small history-delete"
              onClick={() => setDoomed(summary)}
            >
              <Trash2 size={14} />
            </IconButton>
          </li>
        ))}
      </ul>
      <AlertDialog.Root open={doomed !== undefined} onOpenChange={(open) => open || setDoomed(undefined)}>
        <AlertDialog.Portal>
          <AlertDialog.Backdrop className="backdrop" />
          <AlertDialog.Popup className="dialog">
            <AlertDialog.Title className="dialog-title">{t('history.confirmTitle')}</AlertDialog.Title>
            <AlertDialog.Description className="dialog-description">
              {t('history.confirmText', { title: doomed ? title(doomed) : '' })}
            </AlertDialog.Description>
            <div className="row row-end">
              <AlertDialog.Close className="button button-plain">{t('app.cancel')}</AlertDialog.Close>
              <AlertDialog.Close
                className="button button-danger"
                onClick={() => {
                  if (doomed) void deleteChat(doomed.id)
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
