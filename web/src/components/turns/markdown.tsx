/**
 * A reply's Markdown as page elements. Raw HTML in it is shown as text, never run; images become links, because the
 * page requests nothing from other hosts.
 */
import { Check, Copy } from 'lucide-react'
import { memo, useRef, useState, type ReactElement, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import ReactMarkdown, { type Components } from 'react-markdown'
import remarkGfm from 'remark-gfm'
import { copyText } from '../copy-text.ts'

function CodeBlock({ children }: { children?: ReactNode }): ReactElement {
  const { t } = useTranslation()
  const ref = useRef<HTMLPreElement>(null)
  const [copied, setCopied] = useState(false)
  return (
    <div className="code-block">
      <button
        type="button"
        className="icon-button icon-small code-copy"
        aria-label={copied ? t('turn.copied') : t('code.copy')}
        onClick={() => {
          void copyText(ref.current?.textContent ?? '').then(setCopied)
        }}
      >
        {copied ? <Check size={14} /> : <Copy size={14} />}
      </button>
      {/* Scrolls sideways, so it can be focused. */}
      <pre ref={ref} tabIndex={0}>
        {children}
      </pre>
    </div>
  )
}

const components: Components = {
  pre: ({ children }) => <CodeBlock>{children}</CodeBlock>,
  a: ({ href, children }) => (
    <a href={href} target="_blank" rel="noopener noreferrer">
      {children}
    </a>
  ),
  img: ({ src, alt }) => (
    <a href={typeof src === 'string' ? src : undefined} target="_blank" rel="noopener noreferrer">
      {alt || String(src)}
    </a>
  ),
  table: ({ children }) => (
    <div className="table-scroll" tabIndex={0} role="group">
      <table>{children}</table>
    </div>
  ),
}

const plugins = [remarkGfm]

export const Markdown = memo(function Markdown({ text }: { text: string }): ReactElement {
  return (
    <div className="prose">
      <ReactMarkdown remarkPlugins={plugins} components={components}>
        {text}
      </ReactMarkdown>
    </div>
  )
})
