/** The first page of an empty conversation: the loaded checkpoint, how to load more, examples. */
import type { ReactElement } from 'react'
import { Calculator, Copy, Hand, Languages, Shapes } from 'lucide-react'
import { useTranslation } from 'react-i18next'
import { drawExample } from '../../media/example-image.ts'
import { currentModel, useStore } from '../../state/store.ts'
import { IconButton } from '../ui/button.tsx'
import { useCopy } from '../use-copy.ts'

/** In lines that fit the card. In Chinese, from the hub in China. */
const commandsFrom = (source: string): string => `npx omniserve pull \\
  ${source}Qwen/Qwen3-Omni-30B-A3B-Instruct
npx omniserve convert \\
  Qwen/Qwen3-Omni-30B-A3B-Instruct \\
  --output qwen3-omni.gguf
npx omniserve serve \\
  --model qwen3-omni.gguf`

const STARTERS = [
  { key: 'hello', icon: Hand, image: false },
  { key: 'image', icon: Shapes, image: true },
  { key: 'sum', icon: Calculator, image: false },
  { key: 'chinese', icon: Languages, image: false },
] as const

export function Welcome(): ReactElement {
  const { t, i18n } = useTranslation()
  const served = useStore((state) => currentModel(state)?.served_by)
  const setDraftText = useStore((state) => state.setDraftText)
  const attach = useStore((state) => state.attach)
  const send = useStore((state) => state.send)
  const kind = served?.checkpoint === 'nano' ? 'nano' : served?.checkpoint === 'tiny-random' ? 'random' : 'other'
  const unknown = useStore((state) => state.catalogue === 'failed')
  const copy = useCopy()
  const commands = commandsFrom(i18n.language.startsWith('zh') ? 'modelscope:' : '')
  const start = async (key: (typeof STARTERS)[number]['key'], image: boolean): Promise<void> => {
    if (image) attach(await drawExample())
    setDraftText(t(`welcome.try.${key}.text`))
    await send()
  }
  return (
    <section className="welcome">
      <img src="/favicon.svg" alt="" width={52} height={52} className="welcome-mark" />
      <h2>{t('welcome.title')}</h2>
      <p className="lead">{t('welcome.lead')}</p>
      {unknown ? null : (
        <>
          <h3 className="sr-only">{t('welcome.tryTitle')}</h3>
          <div className="starters">
            {STARTERS.map(({ key, icon: Icon, image }) => (
              <button
                key={key}
                type="button"
                className="starter"
                disabled={!served}
                onClick={() => void start(key, image)}
              >
                <Icon size={18} aria-hidden="true" />
                <span className="starter-title">{t(`welcome.try.${key}.title`)}</span>
                <span className="starter-text">{t(`welcome.try.${key}.text`)}</span>
              </button>
            ))}
          </div>
          <p className="help welcome-or">{t('welcome.or')}</p>
          <div className="cards">
            {served ? (
              <div className="card">
                <h3>{t(`welcome.${kind}Title`, { checkpoint: served.checkpoint })}</h3>
                {kind === 'other' ? null : <p>{t(`welcome.${kind}`)}</p>}
                <p className="help">{t('welcome.other', { ...served })}</p>
              </div>
            ) : null}
            <div className="card">
              <h3>{t('welcome.realTitle')}</h3>
              <p>{t('welcome.real')}</p>
              <div className="commands">
                <pre tabIndex={0}>{commands}</pre>
                <IconButton className="icon-small" label={t('welcome.copyCommands')} onClick={() => copy(commands)}>
                  <Copy size={15} />
                </IconButton>
              </div>
              <p className="help">{t('welcome.realNote')}</p>
            </div>
          </div>
        </>
      )}
    </section>
  )
}
