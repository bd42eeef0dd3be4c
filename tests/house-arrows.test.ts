/**
 * The arrows between rooms (docs/house-plan.md): which room may import which. `engines/engine.ts`, the contract, may be imported by every
 * room but `tensor`, `nn` and `protocol`.
 */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'

const source = join(import.meta.dirname, '..', 'src')

/** Room to the rooms it may import. */
const ARROWS: Record<string, readonly string[]> = {
  protocol: [],
  tensor: [],
  catalogue: ['protocol'],
  nn: ['tensor'],
  config: ['protocol', 'catalogue'],
  media: ['protocol'],
  prompt: ['protocol'],
  weights: ['protocol', 'tensor', 'nn'],
  accounting: ['protocol', 'catalogue'],
  models: ['nn', 'tensor', 'weights', 'prompt'],
  runtime: ['models', 'prompt'],
  engines: ['protocol', 'runtime', 'models', 'weights', 'tensor', 'prompt', 'media', 'catalogue'],
  api: ['protocol', 'catalogue', 'accounting', 'media', 'engines', 'config'],
  cli: [
    'protocol',
    'catalogue',
    'accounting',
    'media',
    'engines',
    'config',
    'api',
    'models',
    'weights',
    'tensor',
    'prompt',
  ],
}

const CONTRACT = 'engines/engine.ts'
const WITHOUT_CONTRACT = new Set(['tensor', 'nn', 'protocol'])

function importsOf(file: string): string[] {
  const found = readFileSync(join(source, file), 'utf8').matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)
  return [...found].map(([, path]) => relative(source, join(source, dirname(file), path ?? '')))
}

const files = globSync('**/*.ts', { cwd: source }).filter((file) => !file.endsWith('.test.ts') && file.includes('/'))

describe('arrows between rooms', () => {
  it('knows every room', () => {
    expect(new Set(files.map((file) => file.split('/')[0]))).toEqual(new Set(Object.keys(ARROWS)))
  })

  it.each(Object.keys(ARROWS))('%s imports only what it may', (room) => {
    const allowed = new Set([room, ...(ARROWS[room] ?? [])])
    const wrong = files
      .filter((file) => file.startsWith(`${room}/`))
      .flatMap((file) => importsOf(file).map((path) => ({ file, path })))
      .filter(({ path }) => !allowed.has(path.split('/')[0] ?? ''))
      .filter(({ path }) => path !== CONTRACT || WITHOUT_CONTRACT.has(room))
    expect(wrong).toEqual([])
  })
})
