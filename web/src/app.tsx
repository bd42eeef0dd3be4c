/**
 * The page: conversations, the conversation, settings. Panels are columns on wide screens and sheets on narrow ones.
 */
import { CSPProvider } from '@base-ui/react/csp-provider'
import { Tooltip } from '@base-ui/react/tooltip'
import { Menu, SlidersHorizontal } from 'lucide-react'
import { lazy, Suspense, useEffect, useState, type MouseEvent, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { adviceKey } from './api/errors.ts'
import { Composer } from './components/composer/composer.tsx'
import { HistoryPanel } from './components/history-panel.tsx'
import { SettingsPanel } from './components/settings/settings-panel.tsx'
import { ConversationView } from './components/turns/conversation-view.tsx'
import { FailureNotice } from './components/turns/failure-notice.tsx'
import { IconButton } from './components/ui/button.tsx'
import { Modal } from './components/ui/modal.tsx'
import { Toasts } from './components/ui/toasts.tsx'
import { useMediaQuery } from './components/use-media-query.ts'
import { currentModel, useStore } from './state/store.ts'

function ServerBadge(): ReactElement {
  const { t } = useTranslation()
  const server = useStore((state) => state.server)
  const reason = useStore((state) => state.serverReason)
  const model = useStore(currentModel)
  const catalogue = useStore((state) => state.catalogue)
  const failure = useStore((state) => state.catalogueFailure)
  const served = model?.served_by?.checkpoint
  // Ready is shown only for a server whose models are known.
  const shown =
    server !== 'ready' || catalogue === 'ready'
      ? server
      : catalogue === 'loading'
        ? 'unknown'
        : failure !== undefined && adviceKey(failure) === 'key'
          ? 'locked'
          : 'noModels'
  return (
    <span className="server" data-state={shown} role="status" title={reason || undefined}>
      <span className="server-dot" aria-hidden="true" />
      {shown === 'ready' && model ? (
        <span>
          {model.id}
          {served === undefined ? null : <span className="server-checkpoint"> · {served}</span>}
        </span>
      ) : (
        t(`server.${shown}`)
      )}
    </span>
  )
}

const TalkView = lazy(async () => ({ default: (await import('./components/talk/talk-view.tsx')).TalkView }))

const COLUMN = 'omniserve.settingsColumn'

/** Whether the settings are open next to the conversation: closed at first, then as the user left them. */
function useSettingsColumn(): [boolean, (open: boolean) => void] {
  const [open, setOpen] = useState(() => {
    try {
      return localStorage.getItem(COLUMN) === 'open'
    } catch {
      return false
    }
  })
  const keep = (next: boolean): void => {
    setOpen(next)
    try {
      localStorage.setItem(COLUMN, next ? 'open' : 'closed')
    } catch {
      // Storage blocked: the choice lasts as long as the page.
    }
  }
  return [open, keep]
}

/** The link's target is the form, which always exists; the focus goes to its text box. */
function focusMessage(event: MouseEvent): void {
  const box = document.querySelector<HTMLElement>('#message')
  if (box === null) return
  event.preventDefault()
  box.focus()
}

export function App(): ReactElement {
  const { t } = useTranslation()
  const hasHistoryColumn = useMediaQuery('(min-width: 1000px)')
  const hasSettingsColumn = useMediaQuery('(min-width: 1240px)')
  const [history, setHistory] = useState(false)
  const [settings, setSettings] = useState(false)
  const [settingsColumn, setSettingsColumn] = useSettingsColumn()
  const catalogue = useStore((state) => state.catalogue)
  const failure = useStore((state) => state.catalogueFailure)
  const server = useStore((state) => state.server)
  const busy = useStore((state) => state.running !== undefined)
  const talk = useStore((state) => state.talk)

  useEffect(() => {
    const { refreshCatalogue, checkServer, startHistory } = useStore.getState()
    void startHistory()
    void refreshCatalogue()
    void checkServer()
    const check = (): void => {
      if (document.visibilityState === 'visible') void checkServer()
    }
    document.addEventListener('visibilitychange', check)
    return () => document.removeEventListener('visibilitychange', check)
  }, [])
  // Checked more often while something is wrong.
  useEffect(() => {
    const timer = setInterval(
      () => {
        if (document.visibilityState === 'visible' && !busy) void useStore.getState().checkServer()
      },
      server === 'ready' ? 20_000 : 3000,
    )
    return () => clearInterval(timer)
  }, [server, busy])
  useEffect(() => {
    document.title = t('app.title')
  }, [t])

  const openSettings = (): void => {
    if (hasSettingsColumn) setSettingsColumn(true)
    else setSettings(true)
  }
  return (
    <CSPProvider disableStyleElements>
      <Tooltip.Provider delay={400}>
        <Toasts>
          {talk === undefined ? (
            <a className="skip" href="#composer" onClick={focusMessage}>
              {t('app.skip')}
            </a>
          ) : null}
          <div className="app">
            {hasHistoryColumn ? (
              <nav className="side side-left" aria-label={t('history.title')}>
                <div className="brand">
                  <img src="/favicon.svg" alt="" width={26} height={26} />
                  omniserve
                </div>
                <HistoryPanel onDone={() => {}} />
              </nav>
            ) : (
              <Modal open={history} onOpenChange={setHistory} title={t('history.title')} side="left">
                <HistoryPanel onDone={() => setHistory(false)} />
              </Modal>
            )}
            <main className="main" aria-label={t('app.conversation')}>
              <header className="head">
                {hasHistoryColumn ? null : (
                  <IconButton label={t('app.menu')} onClick={() => setHistory(true)}>
                    <Menu size={20} />
                  </IconButton>
                )}
                <ServerBadge />
                <IconButton
                  label={t('app.settings')}
                  className="head-end"
                  aria-expanded={hasSettingsColumn ? settingsColumn : settings}
                  onClick={() => (hasSettingsColumn ? setSettingsColumn(!settingsColumn) : setSettings(true))}
                >
                  <SlidersHorizontal size={19} />
                </IconButton>
              </header>
              {catalogue === 'failed' && failure !== undefined ? (
                <div className="banner">
                  <FailureNotice
                    failure={failure}
                    onRetry={() => void useStore.getState().refreshCatalogue()}
                    onOpenSettings={openSettings}
                  />
                </div>
              ) : null}
              {talk === undefined ? (
                <>
                  <ConversationView onOpenSettings={openSettings} />
                  <Composer />
                </>
              ) : (
                <Suspense fallback={null}>
                  <TalkView session={talk} />
                </Suspense>
              )}
            </main>
            {hasSettingsColumn ? (
              settingsColumn ? (
                <aside className="side side-right" aria-label={t('app.settings')}>
                  <SettingsPanel />
                </aside>
              ) : null
            ) : (
              <Modal open={settings} onOpenChange={setSettings} title={t('app.settings')} side="right">
                <SettingsPanel />
              </Modal>
            )}
          </div>
        </Toasts>
      </Tooltip.Provider>
    </CSPProvider>
  )
}
