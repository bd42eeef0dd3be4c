/**
 * A server for `wire-api-server.ts` in a process of its own: the API server over the fake engine, or a bare Node `http`
 * handler that writes the same prebuilt chunks. Prints its port; answers `memory` on its standard input with its
 * resident bytes.
 *
 * Usage: node bench/target-server.ts api-server|bare TOKENS DELAY_MS speech|text
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import type { EngineEvent, GenerationRequest } from '../src/contract/index.ts'
import { ChunkWriter } from '../src/api/chat/chunk-writer.ts'
import { fakeEngine, startTestServer } from '../tests/support/server.ts'

const [kind = 'api-server', tokensText = '100', delayText = '0', what = 'text'] = process.argv.slice(2)
const tokens = Number(tokensText)
const delay = Number(delayText)
const speaks = what === 'speech'
const prompt = { total: 1, text: 1, image: 0, audio: 0, video: 0 }
const frame = Int16Array.from({ length: 1920 }, (_, index) => Math.round(Math.sin(index / 9) * 8000))

/** Only emits events, at the pace of the bare handler, so that the API server itself is measured. */
const engine = {
  ...fakeEngine(),
  async *generate(request: GenerationRequest): AsyncGenerator<EngineEvent> {
    yield { type: 'start', prompt }
    for (let token = 0; token < tokens; token += 1) {
      if (delay > 0) await sleep(delay)
      else await setImmediate()
      yield { type: 'text-delta', text: ' word' }
      if (request.speech) yield { type: 'audio-delta', pcm: frame }
    }
    yield { type: 'end', reason: 'stop', usage: { prompt, textTokens: tokens, reasoningTokens: 0, audioTokens: 0 } }
  },
}

/** The chunks of one reply, and whether the engine waits before each. */
async function madeBeforehand(): Promise<{ readonly text: string; readonly waits: boolean }[]> {
  const writer = new ChunkWriter({
    requestId: '00000000-0000-4000-8000-000000000000',
    created: 1,
    model: 'qwen3-omni-flash',
    thinking: false,
    speaks,
    spokenTextIn: 'content',
  })
  const chunks = [{ text: writer.role(), waits: true }]
  const request: GenerationRequest = {
    id: '1',
    model: 'fake-omni',
    messages: [],
    sampling: { temperature: 0, topP: 1, presencePenalty: 0, repetitionPenalty: 1, seed: 1 },
    maxTokens: tokens,
    stop: [],
    ...(speaks ? { speech: { voice: 'Cherry' } } : {}),
  }
  for await (const event of engine.generate(request)) {
    if (event.type === 'text-delta') chunks.push({ text: writer.text(event.text), waits: true })
    if (event.type === 'audio-delta') chunks.push({ text: writer.audio(event.pcm), waits: false })
    if (event.type === 'end') chunks.push({ text: writer.end('stop', undefined), waits: false })
  }
  return chunks
}

async function startBare(): Promise<number> {
  const chunks = await madeBeforehand()
  const server = createServer((request, response) => {
    request.resume()
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    void (async () => {
      for (const { text, waits } of chunks) {
        if (waits && delay > 0) await sleep(delay)
        else if (waits) await setImmediate()
        if (!response.write(text)) await new Promise((resolve) => response.once('drain', resolve))
      }
      response.end()
    })()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

const port =
  kind === 'bare'
    ? await startBare()
    : Number(new URL((await startTestServer({ maxActive: 1000, maxWaiting: 1000 }, engine)).url).port)
process.stdout.write(`${port}\n`)
createInterface({ input: process.stdin }).on('line', () => {
  process.stdout.write(`${process.memoryUsage.rss()} ${process.resourceUsage().maxRSS * 1024}\n`)
})
process.stdin.on('end', () => process.exit(0))
