import { describe, expect, it } from 'vitest'
import { DEEPEST, MOST_VALUES, structureFault } from './json-structure.ts'

const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)

describe('structureFault', () => {
  it('lets requests through, whatever their strings hold', () => {
    const body = { messages: [{ role: 'user', content: '[{"\\'.repeat(MOST_VALUES) }], stop: ['"', '\\', '\\"', ''] }
    expect(structureFault(JSON.stringify(body))).toBeUndefined()
    expect(structureFault(nested(DEEPEST))).toBeUndefined()
    expect(structureFault(`[${'0,'.repeat(MOST_VALUES - 1)}0]`)).toBeUndefined()
  })

  it('refuses what is too deep or too many', () => {
    expect(structureFault(nested(DEEPEST + 1))).toContain('nested more than 64 deep')
    expect(structureFault('{"a":'.repeat(1e6))).toContain('nested more than 64 deep')
    expect(structureFault(`[${'0,'.repeat(MOST_VALUES)}0]`)).toContain('more than 100000 values')
    expect(structureFault(`[${'{},'.repeat(1e6)}0]`)).toContain('more than 100000 values')
  })

  it('ends on texts that are no JSON', () => {
    for (const text of ['', '"', '"\\', '"\\"', ']]]]', '{{{', '\\"[', 'null'])
      expect(structureFault(text)).toBeUndefined()
  })

  // A time that grew with the square of the length would exceed the test's own limit.
  it('takes 60 MB of string, quotes and escapes in its stride', () => {
    for (const string of ['A'.repeat(6e7), '\\"'.repeat(3e7), '\\\\'.repeat(3e7)]) {
      expect(structureFault(`{"a":"${string}"}`)).toBeUndefined()
    }
  })
})
