/**
 * The documentation's form (AGENTS.md, "Words"): terms, line lengths, tables, links, and that every setting is
 * described.
 */
import { existsSync, globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { SETTINGS } from '../src/config/settings.ts'

const root = path.join(import.meta.dirname, '..')
const pages = globSync(
  [
    '*.md',
    'docs/**/*.md',
    'bench/*.md',
    'examples/*.md',
    'reference/README.md',
    'reference/*/README.md',
    'testdata/*/README.md',
    'models/*/*.md',
  ],
  { cwd: root },
)

/** Words with an established term in their place, and marks of history. */
const UNWANTED =
  /\b(front door|doors?|rooms?|pictures?|clips?|told|heard|doomed|house|figures?|gives way|nobody has|goes on where)\b/i

/** Chinese characters take two columns. */
function widthOf(line: string): number {
  return Array.from(line).reduce((sum, character) => sum + (/[\u2e80-\uffef]/.test(character) ? 2 : 1), 0)
}

/** Lines of prose: without code blocks, inline code, quotations and targets of links. */
function proseOf(text: string): string {
  return text
    .replaceAll(/^( *)```[\s\S]*?^\1```$/gm, '')
    .replaceAll(/`[^`]*`/g, '')
    .replaceAll(/"[^"\n]*"/g, '')
    .replaceAll(/\]\([^)]*\)/g, ']')
}

const read = (page: string): string => readFileSync(path.join(root, page), 'utf8')
const english = pages.filter((page) => !page.endsWith('.zh.md'))

/** The anchor that GitHub gives a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(/\s/g, '-')
}

describe('documentation', () => {
  it.each(english)('%s has lines under 121 columns', (page) => {
    const long = read(page)
      .split('\n')
      .filter((line) => widthOf(line) > 120)
    expect(long).toEqual([])
  })

  it.each(pages)('%s has tables of at most four columns', (page) => {
    const wide = [...read(page).matchAll(/^\|(?: *:?-+:? *\|){5,}$/gm)].map(([line]) => line)
    expect(wide).toEqual([])
  })

  it.each(english)('%s uses the established terms', (page) => {
    const found = proseOf(read(page))
      .split('\n')
      .filter((line) => UNWANTED.test(line))
    expect(found).toEqual([])
  })

  it.each(pages)('%s has no broken links', (page) => {
    const broken = [...read(page).matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !/^[a-z]+:/.test(target))
      .filter((target) => {
        const [file = '', anchor] = target.split('#')
        const linked = file === '' ? page : path.join(path.dirname(page), file)
        if (!existsSync(path.join(root, linked))) return true
        if (anchor === undefined) return false
        return ![...read(linked).matchAll(/^#+ (.+)$/gm)].some(([, heading = '']) => anchorOf(heading) === anchor)
      })
    expect(broken).toEqual([])
  })

  it('describes every setting with its default', () => {
    const page = read('docs/configuration.md').replaceAll(/\n +/g, ' ')
    for (const { flags, fallback } of Object.values(SETTINGS)) {
      const entry = page.split('\n').find((line) => line.startsWith(`- \`${flags}\``))
      const shown = typeof fallback === 'object' || fallback === '' ? 'none' : `\`${String(fallback)}\``
      expect(entry, flags).toContain(`Default: ${shown}.`)
    }
  })
})
