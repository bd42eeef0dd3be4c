/** The turns, scrolled to the newest unless the user scrolled up; or the welcome page when there is none. */
import { useEffect, useRef, useState, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import type { AssistantTurn } from '../../state/conversation.ts'
import { useStore } from '../../state/store.ts'
import { AssistantTurnView } from './assistant-turn.tsx'
import { CodeDialog } from './code-dialog.tsx'
import { UserTurnView } from './user-turn.tsx'
import { Welcome } from './welcome.tsx'

/** Announces the newest reply's state to screen readers, once, not word by word. */
function Announcer(): ReactElement {
  const { t } = useTranslation()
  const last = useStore((state) => state.conversation.turns.at(-1))
  const running = useStore((state) => state.running?.turnId)
  // Only replies made while the page is open are announced.
  const announced = useRef<string>(undefined)
  if (running !== undefined) announced.current = running
  const text =
    last?.role !== 'assistant' || last.id !== announced.current
      ? ''
      : last.status === 'done'
        ? `${t('turn.assistant')}: ${last.text}`
        : last.status === 'stopped'
          ? t('turn.stopped')
          : last.status === 'failed'
            ? ''
            : t('turn.waiting')
  return (
    <div role="status" className="sr-only">
      {text}
    </div>
  )
}

export function ConversationView({ onOpenSettings }: { onOpenSettings: () => void }): ReactElement {
  const { t } = useTranslation()
  const conversation = useStore((state) => state.conversation)
  const [code, setCode] = useState<AssistantTurn>()
  const scroller = useRef<HTMLDivElement>(null)
  const column = useRef<HTMLDivElement>(null)
  const follow = useRef(true)
  const lastTop = useRef(0)
  const empty = conversation.turns.length === 0

  // Images and players get their height after the turn is rendered, so the column's size is observed, not the turns.
  useEffect(() => {
    const element = scroller.current
    if (element === null || column.current === null) return undefined
    const toEnd = (): void => {
      if (follow.current) element.scrollTop = empty ? 0 : element.scrollHeight
    }
    follow.current = true
    toEnd()
    const observer = new ResizeObserver(toEnd)
    observer.observe(column.current)
    observer.observe(element)
    return () => observer.disconnect()
  }, [conversation.id, conversation.turns.length, empty])

  return (
    <div
      ref={scroller}
      className="conversation"
      tabIndex={-1}
      onScroll={(event) => {
        const { scrollTop, scrollHeight, clientHeight } = event.currentTarget
        // Only scrolling up means that the user wants to stay; growth of the page does not.
        if (scrollTop < lastTop.current) follow.current = false
        if (scrollHeight - scrollTop - clientHeight < 80) follow.current = true
        lastTop.current = scrollTop
      }}
    >
      <div ref={column} className="column">
        <h1 className="sr-only">{t('app.title')}</h1>
        {conversation.turns.length === 0 ? <Welcome /> : null}
        {conversation.turns.map((turn) =>
          turn.role === 'user' ? (
            <UserTurnView key={turn.id} turn={turn} media={conversation.media} />
          ) : (
            <AssistantTurnView key={turn.id} turn={turn} onShowCode={setCode} onOpenSettings={onOpenSettings} />
          ),
        )}
      </div>
      <Announcer />
      <CodeDialog turn={code} media={conversation.media} onClose={() => setCode(undefined)} />
    </div>
  )
}
