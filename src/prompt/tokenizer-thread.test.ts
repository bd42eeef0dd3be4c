import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { createTokenizer } from './tokenizer.ts'

const folder = new URL('../../testdata/checkpoints/tiny-moe/', import.meta.url)
const tokenizer = createTokenizer(JSON.parse(await readFile(new URL('tokenizer.json', folder), 'utf8')) as object)
const unbroken = (length: number): string =>
  Array.from({ length }, (_, index) => String.fromCharCode(97 + ((index * index) % 26))).join('')

it('keeps the process alive only while it works', async () => {
  const ports = (): number => process.getActiveResourcesInfo().filter((name) => name === 'MessagePort').length
  const before = ports()
  const working = tokenizer.encodeMarkupLater(unbroken(20_000))
  expect(ports()).toBeGreaterThan(before)
  await working
  expect(ports()).toBe(before)
})

it('gives long texts the ids that short ones get, markup included', async () => {
  const text = `<|im_start|>${unbroken(20_000)} and words<|im_end|>`
  const ids = await tokenizer.encodeMarkupLater(text)
  expect([...ids]).toEqual(tokenizer.encodeMarkup(text))
})

it('lets others go on meanwhile', async () => {
  const order: string[] = []
  const long = tokenizer.encodeMarkupLater(unbroken(60_000)).then(() => order.push('long'))
  await tokenizer.encodeMarkupLater('short').then(() => order.push('short'))
  await new Promise<void>((resolve) => void setImmediate(resolve)).then(() => order.push('event loop'))
  await long
  expect(order).toEqual(['short', 'event loop', 'long'])
})

it('gives up a text that is no longer wanted, and takes the next', async () => {
  const stop = new AbortController()
  const given = tokenizer.encodeMarkupLater(unbroken(300_000), undefined, stop.signal)
  const queued = tokenizer.encodeMarkupLater(unbroken(300_001), undefined, stop.signal)
  const next = tokenizer.encodeMarkupLater(`${unbroken(17_000)}<|im_end|>`)
  stop.abort(new Error('gone'))
  await expect(given).rejects.toThrow('gone')
  await expect(queued).rejects.toThrow('gone')
  expect([...(await next)].at(-1)).toBe(tokenizer.idOf('<|im_end|>'))
})
