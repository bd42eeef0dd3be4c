/** The playground stays small: all built files, in all languages, under 320 kB gzipped. The reference is separate. */
import { expect, it } from 'vitest'
import { bundleFiles } from '../../bench/web-bundle.ts'
import { playgroundIsBuilt } from './playground-server.ts'

it.skipIf(!playgroundIsBuilt)('weighs under 320 kB gzipped', () => {
  const files = bundleFiles().filter(({ name }) => !/reference/.test(name))
  expect(files.reduce((total, file) => total + file.gzipped, 0)).toBeLessThan(320_000)
  expect(files.map(({ name }) => name)).toContain('index.html')
})
