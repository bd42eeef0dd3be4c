/** A reply's request as curl, Python and Node. */
import { Tabs } from '@base-ui/react/tabs'
import { Copy, Download } from 'lucide-react'
import { useEffect, useState, type ReactElement } from 'react'
import { useTranslation } from 'react-i18next'
import { BASE_PATH } from '../../api/client.ts'
import { inlineMedia } from '../../api/request.ts'
import type { ChatRequest } from '../../api/types.ts'
import { abbreviate, snippet, type SnippetLanguage } from '../../snippets/snippets.ts'
import type { AssistantTurn, Media } from '../../state/conversation.ts'
import { downloadBlob } from '../copy-text.ts'
import { Button } from '../ui/button.tsx'
import { Modal } from '../ui/modal.tsx'
import { useCopy } from '../use-copy.ts'

const LANGUAGES: { id: SnippetLanguage; name: string; file: string }[] = [
  { id: 'curl', name: 'curl', file: 'ask.sh' },
  { id: 'python', name: 'Python', file: 'ask.py' },
  { id: 'node', name: 'Node', file: 'ask.mjs' },
]

interface CodeDialogProps {
  turn: AssistantTurn | undefined
  media: Record<string, Media>
  onClose: () => void
}

export function CodeDialog({ turn, media, onClose }: CodeDialogProps): ReactElement {
  const { t } = useTranslation()
  const copy = useCopy()
  const [request, setRequest] = useState<ChatRequest>()
  const [gone, setGone] = useState(false)
  useEffect(() => {
    let current = true
    setRequest(undefined)
    setGone(false)
    if (turn !== undefined) {
      inlineMedia(turn.request, media).then(
        (value) => current && setRequest(value),
        () => current && setGone(true),
      )
    }
    return () => {
      current = false
    }
  }, [turn, media])
  const baseUrl = location.origin + BASE_PATH
  return (
    <Modal open={turn !== undefined} onOpenChange={onClose} title={t('code.title')} description={t('code.text')} wide>
      {gone ? <p className="note">{t('code.gone')}</p> : null}
      {request === undefined ? null : (
        <Tabs.Root defaultValue="curl">
          <Tabs.List className="tabs">
            {LANGUAGES.map(({ id, name }) => (
              <Tabs.Tab key={id} value={id} className="tab">
                {name}
              </Tabs.Tab>
            ))}
          </Tabs.List>
          {LANGUAGES.map(({ id, file }) => {
            const text = snippet(id, request, baseUrl)
            return (
              <Tabs.Panel key={id} value={id}>
                <pre className="code" tabIndex={0}>
                  {abbreviate(text)}
                </pre>
                <div className="row row-end">
                  <span className="help grow">{t('code.key')}</span>
                  <Button onClick={() => downloadBlob(new Blob([text], { type: 'text/plain' }), file)}>
                    <Download size={15} />
                    {t('code.download')}
                  </Button>
                  <Button variant="primary" onClick={() => copy(text)}>
                    <Copy size={15} />
                    {t('code.copy')}
                  </Button>
                </div>
              </Tabs.Panel>
            )
          })}
        </Tabs.Root>
      )}
    </Modal>
  )
}
