/** The playground stays light: everything it is built into, in all languages, under 300 kB gzipped. The reference is apart. */
import { expect, it } from 'vitest'
import { bundleFiles } from '../../bench/web-bundle.ts'
import { playgroundIsBuilt } from './playground-server.ts'

it.skipIf(!playgroundIsBuilt)('weighs under 300 kB gzipped', () => {
  const files = bundleFiles().filter(({ name }) => !/reference/.test(name))
  expect(files.reduce((total, file) => total + file.gzipped, 0)).toBeLessThan(300_000)
  expect(files.map(({ name }) => name)).toContain('index.html')
})
