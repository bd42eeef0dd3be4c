/**
 * Import directions (docs/architecture.md): which folder of `src/` may import which. `contract` and `protocol` import
 * none.
 */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'

const source = join(import.meta.dirname, '..', 'src')

/** Folder to the folders it may import, as on the architecture page. */
const ALLOWED = readAllowed(readFileSync(join(import.meta.dirname, '../docs/architecture.md'), 'utf8'))

function readAllowed(page: string): Record<string, readonly string[]> {
  const section = page.split('## Import directions')[1]?.split('\n## ')[0] ?? ''
  const rows = section.split(/\n- /).slice(1)
  return Object.fromEntries(
    rows.map((row) => {
      const [folder = '', ...allowed] = [...row.matchAll(/`(\w+)`/g)].map(([, name = '']) => name)
      return [folder, allowed]
    }),
  )
}

function importsOf(file: string): string[] {
  const found = readFileSync(join(source, file), 'utf8').matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)
  return [...found].map(([, path]) => relative(source, join(source, dirname(file), path ?? '')))
}

const files = globSync('**/*.ts', { cwd: source }).filter((file) => !file.endsWith('.test.ts') && file.includes('/'))

describe('import directions', () => {
  it('lists every folder', () => {
    expect(new Set(files.map((file) => file.split('/')[0]))).toEqual(new Set(Object.keys(ALLOWED)))
  })

  it.each(Object.keys(ALLOWED))('%s imports only allowed folders', (folder) => {
    const allowed = new Set([folder, ...(ALLOWED[folder] ?? [])])
    const wrong = files
      .filter((file) => file.startsWith(`${folder}/`))
      .flatMap((file) => importsOf(file).map((path) => ({ file, path })))
      .filter(({ path }) => !allowed.has(path.split('/')[0] ?? ''))
    expect(wrong).toEqual([])
  })
})
