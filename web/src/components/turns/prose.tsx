/** Markdown, whose renderer is loaded after the first paint; until then the plain text. */
import { lazy, Suspense, type ReactElement } from 'react'

const load = (): Promise<{ default: typeof import('./markdown.tsx').Markdown }> =>
  import('./markdown.tsx').then(({ Markdown }) => ({ default: Markdown }))

const Markdown = lazy(load)
// Loaded while the user is still reading the page.
setTimeout(() => void load().catch(() => {}), 1500)

export function Prose({ text }: { text: string }): ReactElement {
  return (
    <Suspense fallback={<div className="prose prose-plain">{text}</div>}>
      <Markdown text={text} />
    </Suspense>
  )
}
