/** The encoder process with long speech, so that writing to it waits most of the time. */
import { expect, it, onTestFinished } from 'vitest'
import { encodeSpeech, SPEECH_RATE } from './encode-speech.ts'

it('encoding long speech removes its listeners', async () => {
  const warnings: string[] = []
  const warn = ({ message }: Error): void => void warnings.push(message)
  process.on('warning', warn)
  onTestFinished(() => void process.off('warning', warn))
  const second = Int16Array.from({ length: SPEECH_RATE }, (_, index) => Math.round(8000 * Math.sin(index / 9)))
  async function* speech(): AsyncGenerator<Int16Array, void, undefined> {
    for (let count = 0; count < 60; count += 1) yield second
  }
  let bytes = 0
  for await (const piece of encodeSpeech(speech(), 'mp3', new AbortController().signal)) bytes += piece.length
  expect(bytes).toBeGreaterThan(60 * 1000)
  expect(warnings).toEqual([])
})
