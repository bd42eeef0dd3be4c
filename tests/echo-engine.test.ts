/** The example engine of docs/adding-an-engine.md is the one that passes the suite here. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { describeEngine } from '../src/contract/testing/engine-suite.ts'
import { EchoEngine } from '../testing/echo-engine.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

describeEngine('echo', {
  create: async () => new EchoEngine(),
  model: 'echo',
  long: { text: 'word '.repeat(200) },
})

it('is the engine of the documentation page', () => {
  const [engine, suite] = [...read('docs/adding-an-engine.md').matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code)
  expect(engine?.replace('omniserve/contract', '../src/contract/index.ts')).toBe(read('testing/echo-engine.ts'))
  const call = suite?.slice(suite.indexOf('describeEngine('))
  expect(read('tests/echo-engine.test.ts')).toContain(call)
})
