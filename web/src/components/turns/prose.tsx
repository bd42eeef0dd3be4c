/** Markdown, whose renderer is loaded after the first paint; until then the plain text. */
import { lazy, Suspense, type ReactElement } from 'react'

const load = (): Promise<{ default: typeof import('./markdown.tsx').Markdown }> =>
  import('./markdown.tsx').then(({ Markdown }) => ({ default: Markdown }))

const Markdown = lazy(load)
// Loaded as soon as the page is drawn: a reply that is drawn again moves what is below it, perhaps under a click.
const idle = globalThis.requestIdleCallback ?? ((work: () => void) => setTimeout(work, 100))
idle(() => void load().catch(() => {}))

export function Prose({ text }: { text: string }): ReactElement {
  return (
    <Suspense fallback={<div className="prose prose-plain">{text}</div>}>
      <Markdown text={text} />
    </Suspense>
  )
}
