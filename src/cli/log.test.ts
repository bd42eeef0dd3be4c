import { PassThrough } from 'node:stream'
import { describe, expect, it, vi } from 'vitest'
import { createLog, logLine } from './log.ts'

function sink(isTTY: boolean) {
  const stream = new PassThrough()
  return {
    stream: Object.assign(stream, { isTTY }) as unknown as NodeJS.WriteStream,
    text: () => String(stream.read()),
  }
}

describe('the log', () => {
  it('is readable text on a terminal', () => {
    vi.stubEnv('NO_COLOR', '1')
    const { stream, text } = sink(true)
    const log = createLog({ logLevel: 'info', logFormat: 'auto' }, stream)
    log.debug('not shown')
    log.info(
      { model: 'qwen3-omni-flash', seconds: 1.23456, usage: { prompt_tokens: 25 }, who: 'a b' },
      'chat completion',
    )
    log.warn('careful')
    expect(text()).toMatch(
      /^\d\d:\d\d:\d\d info  chat completion  model=qwen3-omni-flash seconds=1\.23 usage\.prompt_tokens=25 who="a b"\n\d\d:\d\d:\d\d warn  careful\n$/,
    )
  })

  it('has the stack of an error below the line', () => {
    const { stream, text } = sink(false)
    createLog({ logLevel: 'error', logFormat: 'text' }, stream).error({ err: new Error('it broke'), code: 7 }, 'failed')
    expect(text()).toMatch(/error failed  code=7\n    Error: it broke\n    at /)
  })

  it('does not change lines that are not JSON', () => {
    expect(logLine('plain words\n')).toBe('plain words')
  })
})
