/** Fixtures are committed, so they stay small: under 28 MB in all. */
import { readdirSync, statSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const testdata = fileURLToPath(new URL('../testdata', import.meta.url))

it('fixtures are under 28 MB in total', () => {
  const files = readdirSync(testdata, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const bytes = files.reduce((sum, { parentPath, name }) => sum + statSync(path.join(parentPath, name)).size, 0)
  expect(files.length).toBeGreaterThan(50)
  expect(bytes).toBeLessThan(28e6)
})
